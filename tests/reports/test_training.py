"""Reports of trainings say what the numbers say."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from typing import Any

import pytest

from reports.training import metrics_csv, training_html, training_report
from reports.training_figures import step_figures
from tests.helpers.pages import parsed
from tests.helpers.training_results import SETTINGS, epoch, result


def report(**arms: dict[str, Any]) -> dict[str, Any]:
    return training_report(
        network={"name": "small <net>"},
        dataset={"name": "digits", "count": 1797},
        settings=SETTINGS,
        arms=arms,
    )


def words_of(page: str) -> str:
    return re.sub(r"[ \n]+", " ", " ".join(parsed(page).text))


def test_a_page_shows_figures_curves_epochs_and_settings() -> None:
    page = training_html(report(candidate=result(6)))
    words = words_of(page)
    assert page.startswith("<!doctype html>")
    assert "small <net>" in words
    assert "λ = 0.5, γ = 0.25" in words
    assert "91.7\u202f%" in words
    for title in ("Accuracy", "Loss", "Bounds", "Unstable neurons", "Schedule"):
        assert title in words
    assert page.count("<svg") == 5
    assert len(re.findall(r"<tr class=\"best\">", page)) == 1
    assert "optimiser.milestones" in words
    assert "0.75, 0.9" in words
    assert "split.share" in words


def test_a_page_stands_alone() -> None:
    page = training_html(report(candidate=result(3)))
    assert "http" not in page
    assert "<script" not in page
    assert "src=" not in page


def test_both_arms_are_drawn_and_named() -> None:
    page = training_html(report(candidate=result(6), baseline=result(4)))
    words = words_of(page)
    assert "certified (baseline)" in words
    assert "baseline: 87.5\u202f%" in words
    assert "baseline: 4 of 4" in words
    lines = [attributes for tag, attributes in parsed(page).tags if tag == "polyline"]
    dashed = [line for line in lines if (line["class"] or "").endswith(" dashed")]
    # Three accuracies, three parts of the loss, bound and gap, unstable neurons.
    assert len(dashed) == 9
    assert len(lines) == 2 * 9 + 2


@pytest.mark.parametrize(
    "arms",
    [
        {},
        {"candidate": result(0, best_epoch=0, stopped="cancelled")},
        {"candidate": result(1)},
        {"candidate": {"history": [epoch(1, mean_bound=math.nan, unstable={}, loss={})]}},
    ],
)
def test_unfinished_trainings_have_a_page(arms: dict[str, Any]) -> None:
    made = report(**arms)
    json.dumps(made, allow_nan=False)
    words = words_of(training_html(made))
    assert "small <net>" in words
    assert "nan" not in words


def test_metrics_as_a_table() -> None:
    step = {"arm": "candidate", "epoch": 1, "epsilon": 0.0, "kappa": 0.0, "metrics": None}
    events = [
        {**step, "step": 1, "loss": {"total": 2.5, "clean": 2.5}},
        {**step, "step": 2, "loss": {"total": math.inf}},
        {**step, "step": 2, "loss": {"total": 1.5}, "metrics": epoch(1)},
    ]
    rows = list(csv.DictReader(io.StringIO(metrics_csv(events))))
    assert [row["step"] for row in rows] == ["1", "2", "2"]
    assert [row["loss_total"] for row in rows] == ["2.5", "", "2.0"]
    assert rows[0]["certified_accuracy"] == ""
    assert rows[2]["certified_accuracy"] == "0.5"
    assert rows[2]["unstable"] == "15.5"
    assert metrics_csv([]).startswith("arm,step,epoch,epsilon,kappa,learning_rate")


def test_single_steps_are_drawn_for_every_arm() -> None:
    steps = [
        {
            "step": n,
            "epsilon": 0.01 * n,
            "kappa": 0.5,
            "loss": {"total": 2.0 / n, "slack": math.nan},
        }
        for n in range(1, 6)
    ]
    loss, schedule = step_figures({"candidate": {"steps": steps}, "baseline": {"steps": steps[:2]}})
    assert [curve.label for curve in loss.chart.curves] == ["total (candidate)", "total (baseline)"]
    assert [curve.dashed for curve in loss.chart.curves] == [False, True]
    assert [curve.last for curve in loss.chart.curves] == ["0.4", "1"]
    assert {curve.label: curve.last for curve in schedule.chart.curves} == {
        "ε": "100\u202f%",
        "κ": "50\u202f%",
    }
    assert {loss.across, schedule.across} == {"step"}
    assert step_figures({}) == []
