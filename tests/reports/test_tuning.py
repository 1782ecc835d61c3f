"""Reports of sweeps: the table, the plot and the front."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reports import dump_json
from reports.tuning import tuning_html, tuning_report
from tests.helpers.pages import parsed


def trial(
    number: int, clean: float | None, certified: float | None, **changes: object
) -> dict[str, Any]:
    plain = {
        "number": number,
        "feasibility_weight": 0.1 * number,
        "slack_weight": 0.0,
        "clean_accuracy": clean,
        "certified_accuracy": certified,
        "empirical_accuracy": clean,
        "mean_gap": 0.5,
        "unstable": 3.0,
        "seconds": 2.0,
        "reason": None,
        "network": f"trial-{number:03d}.onnx",
    }
    return {**plain, **changes}


TRIALS = [
    trial(0, 0.95, 0.50),
    trial(1, 0.90, 0.70),
    trial(2, 0.90, 0.60),
    trial(3, None, None, reason="the loss is <nan>", network=None, mean_gap=float("nan")),
]


def report(
    trials: list[dict[str, Any]], front: list[int], *, complete: bool = True
) -> dict[str, Any]:
    return tuning_report(
        network={"name": "cnn <small>", "sha256": ""},
        dataset={"name": "digits", "splits": {"train": {"count": 9}}},
        settings={"method": "crown-ibp", "epsilon": 0.1, "optimiser": {"kind": "adam"}},
        sweep={"trials": trials, "front": front, "complete": complete},
    )


def test_the_report_is_strict_json() -> None:
    found = report(TRIALS, [1, 0])
    assert json.loads(dump_json(found)) == found
    assert set(found) == {"network", "dataset", "settings", "trials", "front", "complete"}
    assert found["trials"][3]["mean_gap"] is None


def test_the_page_shows_trials_and_the_front() -> None:
    page = tuning_html(report(TRIALS, [1, 0]))
    parser = parsed(page)
    dots = [attributes for name, attributes in parser.tags if name == "circle"]
    assert [dot["class"] for dot in dots] == ["k-clean", "k-accent", "k-faint"]
    x, y = ([float(dot[axis] or "") for dot in dots] for axis in ("cx", "cy"))
    assert x[0] > x[1] == x[2]
    assert y[0] > y[2] > y[1]
    (line,) = [attributes for name, attributes in parser.tags if name == "polyline"]
    assert line["points"] == f"{x[1]},{y[1]} {x[0]},{y[0]}"
    best = [attributes for name, attributes in parser.tags if attributes.get("class") == "best"]
    assert len(best) == 2
    text = " ".join(parser.text)
    for words in ("4 trainings, 2 of them on the front", "the loss is <nan>", "crown-ibp", "λ 0.1"):
        assert words in text
    assert "interrupted" not in text


@pytest.mark.parametrize("trials", [[], [TRIALS[3]]])
def test_a_sweep_without_accuracies_has_no_plot(trials: list[dict[str, Any]]) -> None:
    page = tuning_html(report(trials, [], complete=False))
    assert "svg" not in [name for name, _ in parsed(page).tags]
    assert "The sweep was interrupted." in page


def test_one_trial_alone() -> None:
    parser = parsed(tuning_html(report([trial(0, 1.0, 1.0)], [0])))
    (dot,) = [attributes for name, attributes in parser.tags if name == "circle"]
    assert 0 < float(dot["cx"] or "") < 580
