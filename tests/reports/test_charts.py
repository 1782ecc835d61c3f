"""Charts: what they draw stands where the numbers are."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reports.charts import PLOT, Axis, accuracy_chart, gap_chart, nice_ticks
from reports.summary import summarize
from tests.helpers.report_items import FIVE_ITEMS, METHODS

LEFT, RIGHT = PLOT


def items_with_gaps(gaps: list[float]) -> list[dict[str, object]]:
    return [{"gap": {"crown": gap}} for gap in gaps]


def test_bars_are_as_long_as_their_shares() -> None:
    chart = accuracy_chart(summarize(FIVE_ITEMS, METHODS))
    assert chart is not None
    lengths = {bar.label: bar.width / (RIGHT - LEFT) for bar in chart.bars}
    expected = {"clean": 0.8, "under attack": 0.6, "ibp": 0.0, "crown": 0.2, "exact": 0.4}
    assert lengths == pytest.approx(expected, abs=1e-3)
    assert [kind for kind, _ in chart.lines] == ["clean", "empirical"]
    assert all(bar.y + 28 < chart.height for bar in chart.bars)


def test_nothing_to_draw_gives_no_chart() -> None:
    assert accuracy_chart(summarize([], METHODS)) is None
    assert gap_chart([], METHODS) is None
    assert gap_chart([{"gap": {"crown": None}}], METHODS) is None


@given(st.lists(st.floats(-1e3, 1e9), min_size=1, max_size=400))
@example([0.0, 5e-324])
def test_points_and_boxes_stay_inside_the_plot(gaps: list[float]) -> None:
    chart = gap_chart(items_with_gaps(gaps), ["crown"])
    assert chart is not None
    (row,) = chart.rows
    assert row.low <= row.median <= row.high
    assert 1 <= len(row.points) <= 300
    for x in (row.low, row.high, *(x for x, _ in row.points), *(t.x for t in chart.axis.ticks)):
        assert LEFT <= x <= RIGHT
    assert all(row.y <= y <= row.y + 34 for _, y in row.points)


def test_gaps_of_very_different_size_get_a_logarithmic_axis() -> None:
    chart = gap_chart(items_with_gaps([0.0, 0.001, 0.01, 0.01, 50.0]), ["crown"])
    assert chart is not None
    assert chart.axis.logarithmic
    assert chart.axis.ticks[0].text == "≤ 0.001"
    assert chart.axis.place(0.0) == LEFT
    narrow = gap_chart(items_with_gaps([1.0, 2.0, 3.0]), ["crown"])
    assert narrow is not None
    assert not narrow.axis.logarithmic


def test_an_axis_places_its_ends_and_its_middle() -> None:
    linear = Axis(0.0, 10.0, logarithmic=False)
    assert [linear.place(v) for v in (0, 5, 10, 99)] == [LEFT, (LEFT + RIGHT) / 2, RIGHT, RIGHT]
    logarithmic = Axis(0.01, 100.0, logarithmic=True)
    assert logarithmic.place(1.0) == (LEFT + RIGHT) / 2


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_few_inside_and_evenly_spaced(low: float, span: float) -> None:
    high = low + span
    ticks = nice_ticks(low, high)
    assert 1 <= len(ticks) <= 12
    slack = 1e-6 * max(span, abs(low) * 1e-9)
    assert all(low - slack <= tick <= high + slack for tick in ticks)
    steps = [b - a for a, b in pairwise(ticks)]
    assert steps == pytest.approx([steps[0]] * len(steps), rel=1e-3) if steps else True


def test_ticks_of_an_empty_range_are_its_one_value() -> None:
    assert nice_ticks(3.0, 3.0) == [3.0]
