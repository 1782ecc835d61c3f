"""`tightrope radius` from files to brackets, on a network worked out by hand."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli import radius as command
from cli.main import main
from solvers.radius import RadiusItem, RadiusStatus
from solvers.results import Evidence
from tests.cli.conftest import Small


def radius(small: Small, *options: str) -> int:
    return main(["radius", str(small.network), "--data", str(small.data), *options])


def test_the_report_brackets_what_is_true(small: Small) -> None:
    out = small.path("out.json")
    assert radius(small, "--quiet", "--json", out) == 0
    report = json.loads(Path(out).read_text())
    assert list(report) == ["network", "region", "settings", "summary", "curve", "items"]
    assert report["region"] == {"norm": "inf", "valid_range": [0.0, 1.0], "max_epsilon": None}
    assert [item["status"] for item in report["items"]] == [
        "bracketed",
        "bracketed",
        "misclassified",
    ]
    for item, truth in zip(report["items"], (0.275, 0.015), strict=False):
        assert item["lower"] <= truth + 1e-6
        assert item["upper"] >= truth - 1e-6
        assert item["upper"] - item["lower"] <= max(1e-4, 0.01 * item["upper"])
        assert item["counterexample"]["y"][0] <= item["counterexample"]["y"][1]
    assert report["items"][2]["upper"] == 0.0
    assert report["summary"]["clean_accuracy"] == pytest.approx(2 / 3)
    assert report["curve"][0]["certified"] == pytest.approx(2 / 3)
    assert report["curve"][-1]["empirical"] == 0.0


def test_the_table_says_it_too(small: Small, capsys: pytest.CaptureFixture[str]) -> None:
    assert radius(small, "--count", "1", "--norm", "1", "--max-epsilon", "0.2") == 0
    captured = capsys.readouterr()
    assert "maximum" in captured.out
    assert "L1 distance" in captured.out
    assert "1 proved to the maximum" in captured.out
    assert captured.err == ""


def test_json_on_standard_output_stands_alone(
    small: Small, capsys: pytest.CaptureFixture[str]
) -> None:
    assert radius(small, "--count", "1", "--json", "-") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["summary"]["count"] == 1
    assert "bracketed" in captured.err


def test_the_page_is_written(small: Small) -> None:
    out = Path(small.path("out.html"))
    assert radius(small, "--quiet", "--html", str(out)) == 0
    assert "Accuracy against radius" in out.read_text()


def fake_items(*, interrupt: bool) -> Any:  # noqa: ANN401
    """Return a stand-in that measures nothing, and may be interrupted after its first item."""

    def items(*_: object, **settings: Any) -> Iterator[RadiusItem]:  # noqa: ANN401
        for index in settings["indices"]:
            if interrupt and index == 1:
                os.kill(os.getpid(), signal.SIGINT)
                assert settings["cancelled"]()
                return
            yield RadiusItem(
                index,
                0,
                0,
                0.25,
                float("inf"),
                RadiusStatus.OPEN,
                Evidence.SOLVER,
                reason="timeout",
            )

    return items


def test_an_interrupt_keeps_what_is_known(
    small: Small, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "radius_items", fake_items(interrupt=True))
    out = Path(small.path("out.json"))
    assert radius(small, "--json", str(out)) == 130
    report = json.loads(out.read_text())
    assert [item["index"] for item in report["items"]] == [0]
    captured = capsys.readouterr()
    assert "what is known by then was kept" in captured.err
    assert "timeout" in captured.out


def test_an_interrupt_before_anything_is_known_writes_nothing(
    small: Small, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def items(*_: object, **__: object) -> Iterator[RadiusItem]:
        os.kill(os.getpid(), signal.SIGINT)
        return iter(())

    monkeypatch.setattr(command, "radius_items", items)
    out = Path(small.path("out.json"))
    assert radius(small, "--json", str(out)) == 130
    assert not out.exists()
    assert "nothing was written" in capsys.readouterr().err


def test_options_reach_the_engine(
    small: Small, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: dict[str, Any] = {}

    def items(_: object, __: object, options: object, **rest: object) -> Iterator[RadiusItem]:
        seen.update(options=options, **rest)
        return iter(())

    monkeypatch.setattr(command, "radius_items", items)
    status = radius(
        small, "--targets", "1", "--timeout", "7", "--seed", "3", "--valid-range", "-1,2",
        "--mean", "0.5", "--std", "0.25", "--device", "cpu", "--tolerance", "0.01",
        "--relative-tolerance", "0", "--norm", "2", "--max-epsilon", "0.5", "--json", "-",
    )  # fmt: skip
    assert status == 0
    options = seen["options"]
    assert (options.targets, options.timeout_seconds, options.seed) == ((1,), 7.0, 3)
    assert (options.valid_range, options.device, options.norm) == ((-1.0, 2.0), "cpu", "2")
    assert (options.tolerance, options.relative_tolerance) == (0.01, 0.0)
    assert (options.max_epsilon, options.normalization.std) == (0.5, (0.25,))
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert settings["normalization"] == {"mean": [0.5], "std": [0.25]}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--valid-range", "none"], "give one"),
        (["--max-epsilon", "0"], "above 0"),
        (["--tolerance", "0", "--relative-tolerance", "0"], "narrow enough"),
        (["--mean", "0.5"], "--std"),
    ],
)
def test_what_cannot_be_used_is_said(
    small: Small, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert radius(small, *options) == 2
    assert words in capsys.readouterr().err
