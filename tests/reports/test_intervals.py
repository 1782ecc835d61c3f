"""Bounds of many inputs beside each other, and of one by every method."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.charts import PLOT
from reports.curves import AREA
from reports.intervals import IntervalChart, bounds_chart, interval_chart, time_chart
from tests.helpers.report_items import FIVE_ITEMS, METHODS, item, items_strategy

LEFT, RIGHT, TOP, BOTTOM = AREA
_LINE = re.compile(r"M([\d.e+-]+) ([\d.e+-]+)V([\d.e+-]+)")


def lines(chart: IntervalChart | None) -> list[tuple[float, float, float, str]]:
    """Return the lines from left to right: place, lower end, upper end, verdict."""
    assert chart is not None
    found = [
        (*(float(number) for number in match.groups()), verdict)
        for verdict, path in chart.paths
        for match in _LINE.finditer(path)
    ]
    return sorted(found)  # type: ignore[arg-type]


def test_lines_are_sorted_by_lower_bound() -> None:
    drawn = lines(interval_chart(FIVE_ITEMS))
    assert [verdict for *_, verdict in drawn] == ["falsified", "unknown", "verified", "verified"]
    lows = [low for _, low, _, _ in drawn]
    assert lows == sorted(lows, reverse=True)


def test_what_is_proved_stands_above_zero() -> None:
    chart = interval_chart(FIVE_ITEMS)
    assert chart is not None
    for _, low, high, verdict in lines(chart):
        assert (low < chart.zero) == (verdict == "verified")
        assert high < low


def test_the_best_bounds_count() -> None:
    weak = item(0, "verified", lower=(-9.0, 0.5), upper=2.0)
    strong = item(1, "verified", lower=(0.5, -9.0), exact=(0.5, 2.0), upper=3.0)
    first, second = lines(interval_chart([weak, strong]))
    assert first[1:] == second[1:]


def test_many_inputs_are_thinned_out() -> None:
    many = [item(index, "verified", lower=(0.0, index / 10), upper=1e3) for index in range(2000)]
    chart = interval_chart(many)
    assert chart is not None
    assert (chart.count, chart.shown) == (2000, len(lines(chart)))
    assert 250 <= chart.shown <= 500
    assert [mark.text for mark in chart.x_marks][-1] == "2000"
    assert all(LEFT - 1 <= mark.place <= RIGHT + 1 for mark in chart.x_marks)


def test_one_wild_bound_does_not_flatten_the_others() -> None:
    plain = [
        item(i, "verified", lower=(0.0, 1.0 + i / 100), upper=2.0 + i / 100) for i in range(99)
    ]
    chart = interval_chart([*plain, item(99, "unknown", lower=(-1e9, -1e9), upper=1.0)])
    spread = [low - high for _, low, high, verdict in lines(chart) if verdict == "verified"]
    assert min(spread) > (BOTTOM - TOP) / 5


@given(items_strategy())
def test_whatever_is_known_fits(items: list[dict[str, Any]]) -> None:
    chart = interval_chart(items)
    if chart is not None:
        for x, low, high, _ in lines(chart):
            assert LEFT <= x <= RIGHT
            assert TOP - 2 <= high <= low <= BOTTOM
        assert chart.shown == len(lines(chart))
    time_chart(items, METHODS)
    for one in items:
        bounds = bounds_chart(one, METHODS)
        for row in bounds.rows if bounds else ():
            for place in (row.low, row.high):
                assert place is None or PLOT[0] <= place <= PLOT[1]


def test_nothing_known_is_nothing_drawn() -> None:
    assert interval_chart([]) is None
    assert interval_chart([item(0, "misclassified")]) is None
    assert bounds_chart(item(0, "misclassified"), METHODS) is None
    assert time_chart([item(0, "misclassified")], METHODS) is None


def test_bounds_of_one_input() -> None:
    chart = bounds_chart(FIVE_ITEMS[3], METHODS)
    assert chart is not None
    rows = {row.label: row for row in chart.rows}
    assert list(rows) == ["ibp", "crown", "exact", "best upper"]
    assert rows["ibp"].text == "≥ \u22125"
    assert rows["exact"].text == "\u22120.5 … 1"
    assert rows["best upper"].text == "≤ 1"
    assert (rows["ibp"].high, rows["best upper"].low) == (None, None)
    places = [rows["ibp"].low, rows["crown"].low, rows["exact"].low, chart.zero, rows["exact"].high]
    assert places == sorted(place for place in places if place is not None)


def test_a_margin_known_exactly_is_told_once() -> None:
    chart = bounds_chart(FIVE_ITEMS[0], ["exact"])
    assert chart is not None
    assert chart.rows[0].text == "= 1"
    assert chart.rows[0].low == chart.rows[0].high


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30))
def test_times_add_up(seconds: list[float]) -> None:
    items = [{"seconds": {"crown": value}} for value in seconds]
    chart = time_chart([*items, {"seconds": {}}], ["crown"])
    assert chart is not None
    total = math.fsum(seconds)
    if 0.1 < total < 1e4:
        assert float(chart.curves[0].last) == pytest.approx(total, rel=1e-3)
