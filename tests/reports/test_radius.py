"""The report of minimum distortions: its curve, its figures, and its page."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports import accuracy_curve, dump_json, radius_html, radius_report


def item(
    index: int, lower: float, upper: float | None, status: str = "bracketed", **others: object
) -> dict[str, Any]:
    return {
        "index": index,
        "label": 3,
        "predicted": 3,
        "lower": lower,
        "upper": upper,
        "status": status,
        "evidence": "solver",
        "seconds": 0.5,
        "reason": None,
        **others,
    }


ITEMS = [
    item(0, 0.1, 0.11),
    item(1, 0.2, 0.3, "open", reason="timeout <b>"),
    item(2, 0.5, None, "maximum"),
    item(3, 0.0, 0.0, "misclassified", predicted=4),
]


def report(items: list[dict[str, Any]]) -> dict[str, Any]:
    return radius_report(
        network={"name": "net <1>", "sha256": "0" * 64, "notes": ["a note"]},
        region={"norm": "2", "valid_range": [0.0, 1.0], "max_epsilon": None},
        settings={"count": 4, "seed": 0},
        items=items,
    )


def test_the_curve_steps_where_brackets_end() -> None:
    curve = {point["epsilon"]: point for point in accuracy_curve(ITEMS)}
    assert list(curve) == [0.0, 0.1, 0.11, 0.2, 0.3, 0.5]
    assert [point["certified"] for point in curve.values()] == [0.75, 0.75, 0.5, 0.5, 0.25, 0.25]
    assert [point["empirical"] for point in curve.values()] == [0.75, 0.75, 0.5, 0.5, 0.25, 0.25]


brackets = st.tuples(st.floats(0, 1), st.one_of(st.none(), st.floats(0, 1))).map(
    lambda pair: (pair[0], None if pair[1] is None else max(pair))
)


@given(st.lists(brackets, max_size=12))
def test_curves_fall_and_certified_stays_below(pairs: list[tuple[float, float | None]]) -> None:
    curve = accuracy_curve([item(i, low, high) for i, (low, high) in enumerate(pairs)])
    assert bool(curve) == bool(pairs)
    for before, after in pairwise(curve):
        assert before["epsilon"] < after["epsilon"]
        assert before["certified"] >= after["certified"]
        assert before["empirical"] >= after["empirical"]
    for point in curve:
        # where an end of a bracket is both proved and broken, only the bracket can be wrong
        ties = sum(low == high == point["epsilon"] for low, high in pairs)
        assert point["certified"] <= point["empirical"] + ties / len(pairs) + 1e-12


def test_the_summary_counts_what_there_is() -> None:
    summary = report(ITEMS)["summary"]
    assert summary["count"] == 4
    assert summary["clean_accuracy"] == 0.75
    assert summary["median_lower"] == 0.2
    assert summary["median_upper"] == 0.3
    assert summary["mean_width"] == pytest.approx((0.01 + 0.1) / 2)
    counts = (summary[s] for s in ("bracketed", "maximum", "open", "misclassified"))
    assert list(counts) == [1, 1, 1, 1]
    assert summary["seconds"] == 2.0


def test_an_unknown_end_is_null_in_json() -> None:
    two_open = [item(0, 0.1, None, "open"), item(1, 0.2, None, "open")]
    text = dump_json(report(two_open))
    assert json.loads(text)["summary"]["median_upper"] is None
    assert math.isfinite(json.loads(text)["summary"]["mean_lower"])


def test_the_page_stands_alone_and_escapes() -> None:
    page = radius_html(report(ITEMS))
    assert page.startswith("<!doctype html>")
    assert "net &lt;1&gt;" in page
    assert "timeout &lt;b&gt;" in page
    assert page.count("<polyline") == 2
    assert "L2 distance" in page
    assert "0.11" in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_a_page_of_nothing_can_be_made() -> None:
    page = radius_html(report([]))
    assert "No input was measured" in page
    assert "<svg" not in page
