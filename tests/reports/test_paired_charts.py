"""Geometry of a comparison's charts."""

from __future__ import annotations

import math

import pytest

from reports.charts import PLOT
from reports.paired_charts import grouped_bars, interval_chart

LEFT, RIGHT = PLOT


def test_bars_are_as_long_as_their_shares() -> None:
    chart = grouped_bars([("clean", [0.5, 1.0]), ("crown", [0.25, None])], shares=True)
    assert chart is not None
    first, second = chart.groups
    assert [bar.width for bar in first.bars] == [(RIGHT - LEFT) / 2, RIGHT - LEFT]
    assert [bar.text for bar in second.bars] == ["25.0 %"]
    assert [bar.series for bar in first.bars] == [0, 1]
    places = [bar.y for group in chart.groups for bar in group.bars]
    assert places == sorted(places)
    assert max(places) < chart.height


def test_other_numbers_have_an_axis_of_their_own() -> None:
    chart = grouped_bars([("layer 1", [12.0, 3.0])], shares=False)
    assert chart is not None
    (group,) = chart.groups
    assert group.bars[0].width == pytest.approx(4 * group.bars[1].width)
    assert chart.axis.high == 12.0
    assert grouped_bars([("layer 1", [0.0, 0.0])], shares=False) is not None


def test_bars_have_their_intervals_where_they_are_known() -> None:
    ends = [[[0.25, 0.75], None], [[None, 0.5]]]
    chart = grouped_bars([("clean", [0.5, 1.0]), ("crown", [0.25])], shares=True, ends=ends)
    assert chart is not None
    bars = [bar for group in chart.groups for bar in group.bars]
    quarter = (RIGHT - LEFT) / 4
    assert (bars[0].low, bars[0].high) == pytest.approx((LEFT + quarter, RIGHT - quarter))
    assert [(bar.low, bar.high) for bar in bars[1:]] == [(None, None)] * 2


@pytest.mark.parametrize("value", [None, math.nan, "x"])
def test_nothing_to_draw(value: object) -> None:
    assert grouped_bars([("clean", [value])], shares=True) is None
    assert interval_chart([("clean", [{"low": value, "d": 0.1, "high": 0.2}])], "d") is None
    assert interval_chart([], "d") is None


def test_differences_stand_around_zero() -> None:
    rows = [
        ("clean", [{"low": -0.1, "d": 0.0, "high": 0.1}, {"low": 0.05, "d": 0.1, "high": 0.2}]),
        ("crown", [{"low": -0.2, "d": -0.1, "high": -0.05}]),
    ]
    chart = interval_chart(rows, "d")
    assert chart is not None
    assert chart.zero == pytest.approx((LEFT + RIGHT) / 2)
    assert [estimate.sure for estimate in chart.estimates] == [False, True, True]
    assert [estimate.text for estimate in chart.estimates] == ["+0.0", "+10.0", "-10.0"]
    assert [label for label, _ in chart.labels] == ["clean", "crown"]
    for estimate in chart.estimates:
        assert LEFT <= estimate.low <= estimate.x <= estimate.high <= RIGHT
    assert chart.estimates[1].x + chart.estimates[2].x == pytest.approx(LEFT + RIGHT)
    assert chart.axis.ticks[len(chart.axis.ticks) // 2].text == "0"


def test_tiny_differences_are_not_blown_up() -> None:
    chart = interval_chart([("clean", [{"low": 0.0, "d": 0.0, "high": 0.001}])], "d")
    assert chart is not None
    assert chart.estimates[0].high - chart.estimates[0].low < 20
