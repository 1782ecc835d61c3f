"""Curves: lines stand where the numbers are, and break where there are none."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reports.curves import AREA, CurveChart, Series, curve_chart

LEFT, RIGHT, TOP, BOTTOM = AREA


def drawn(chart: CurveChart | None) -> list[list[tuple[float, float]]]:
    """Return the points of every curve, pieces joined, dots included."""
    assert chart is not None
    return [
        [
            (float(point.split(",")[0]), float(point.split(",")[1]))
            for piece in curve.pieces
            for point in piece.split()
        ]
        + list(curve.dots)
        for curve in chart.curves
    ]


def test_a_line_goes_from_corner_to_corner() -> None:
    chart = curve_chart([Series("a", "clean", [(1, 0.0), (2, 0.5), (3, 1.0)])], percent=True)
    assert drawn(chart) == [
        [(LEFT, BOTTOM), ((LEFT + RIGHT) / 2, (TOP + BOTTOM) / 2), (RIGHT, TOP)]
    ]
    assert chart is not None
    assert chart.curves[0].last == "100\u202f%"
    assert [mark.text for mark in chart.x_marks] == ["1", "2", "3"]
    assert chart.y_marks[-1].text == "100\u202f%"


def test_a_line_breaks_where_there_is_no_number() -> None:
    values = [1.0, 2.0, None, 3.0, math.nan, 4.0, 5.0]
    chart = curve_chart([Series("a", "clean", list(enumerate(values)))])
    assert chart is not None
    assert [len(piece.split()) for piece in chart.curves[0].pieces] == [2, 2]
    assert len(chart.curves[0].dots) == 1
    assert chart.curves[0].last == "5"


def test_nothing_to_draw_gives_no_chart() -> None:
    assert curve_chart([]) is None
    assert curve_chart([Series("a", "clean", []), Series("b", "clean", [(1, None)])]) is None


def test_long_lines_are_thinned_and_keep_their_end() -> None:
    chart = curve_chart([Series("a", "clean", [(x, x % 7) for x in range(5001)])])
    points = drawn(chart)[0]
    assert len(points) <= 400
    assert points[-1][0] == RIGHT


@given(
    st.lists(
        st.lists(st.none() | st.floats(-1e308, 1e308), min_size=1, max_size=30),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from([None, 0.0]),
)
@example([[-1.7e308, 1.7e308]], None)
def test_everything_stays_inside_the_plot(lines: list[list[float | None]], low: float) -> None:
    series = [Series(str(n), "clean", list(enumerate(line))) for n, line in enumerate(lines)]
    chart = curve_chart(series, low=low)
    if chart is None:
        assert all(value is None for line in lines for value in line)
        return
    for points in drawn(chart):
        for x, y in points:
            assert LEFT <= x <= RIGHT
            assert TOP - 0.1 <= y <= BOTTOM + 0.1
    places = [mark.place for mark in chart.y_marks]
    assert all(below > above for below, above in pairwise(places))


@pytest.mark.parametrize("value", [0.0, -3.0, 1e-12])
def test_a_constant_line_has_an_axis(value: float) -> None:
    chart = curve_chart([Series("a", "clean", [(1, value), (2, value)])])
    assert chart is not None
    assert len({y for _, y in drawn(chart)[0]}) == 1
