"""Geometry of line charts; templates draw them as inline SVG.

Lengths are in units of the drawing, which is `WIDTH` wide, `HEIGHT` high, and scales with the page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reports.charts import nice_ticks
from reports.numbers import finite

__all__ = ["AREA", "HEIGHT", "WIDTH", "Curve", "CurveChart", "Mark", "Series", "curve_chart"]

WIDTH = 580
HEIGHT = 290
# Left, right, top and bottom of the plot itself.
AREA = (58, 566, 14, 252)
# More points than this are closer together than a screen can show.
_MAX_POINTS = 400
# Numbers that differ by less, as a share of their size, are drawn as equal.
_LEAST_SPAN = 1e-9
_LARGEST = 1e300


@dataclass(frozen=True)
class Series:
    """Numbers to draw as one line.

    Attributes:
        label: For the legend.
        kind: CSS class of its colour.
        points: `(x, y)` with growing x; a y that is no finite number breaks the line.
        dashed: Whether the line is dashed.
    """

    label: str
    kind: str
    points: Sequence[tuple[float, object]]
    dashed: bool = False


@dataclass(frozen=True)
class Mark:
    """One mark of an axis: its place and its text."""

    place: float
    text: str


@dataclass(frozen=True)
class Curve:
    """A line: the pieces of its path as SVG points, and its last value in words."""

    label: str
    kind: str
    dashed: bool
    pieces: tuple[str, ...]
    dots: tuple[tuple[float, float], ...]
    last: str


@dataclass(frozen=True)
class CurveChart:
    """Lines over one pair of axes."""

    curves: tuple[Curve, ...]
    x_marks: tuple[Mark, ...]
    y_marks: tuple[Mark, ...]


@dataclass(frozen=True)
class _Scale:
    """From numbers to places."""

    low: float
    high: float
    first: float
    last: float

    def place(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.first + share * (self.last - self.first), 1)


def curve_chart(
    series: Sequence[Series],
    *,
    low: float | None = None,
    percent: bool = False,
    whole: bool = True,
) -> CurveChart | None:
    """Return the chart of these lines; None where there is no finite number to draw.

    Args:
        series: The lines; those without a finite number are left out.
        low: The vertical axis starts there, if no number lies below.
        percent: Whether numbers are shares, shown in percent on an axis from 0 to 1.
        whole: Whether the horizontal axis counts, so that only whole numbers are marked on it.
    """
    known = [(line, _finite_points(line)) for line in series]
    known = [(line, points) for line, points in known if any(y is not None for _, y in points)]
    if not known:
        return None
    x = _x_scale([x for _, points in known for x, _ in points])
    y = _y_scale([y for _, points in known for _, y in points if y is not None], low, percent)
    return CurveChart(
        curves=tuple(_curve(line, points, x, y, percent) for line, points in known),
        x_marks=tuple(
            Mark(x.place(mark), f"{mark:.0f}" if whole else f"{mark:.4g}")
            for mark in nice_ticks(x.low, x.high, 8)
            if not whole or mark == round(mark)
        ),
        y_marks=tuple(
            Mark(y.place(mark), _text(mark, percent)) for mark in nice_ticks(y.low, y.high)
        ),
    )


_Points = Sequence[tuple[float, float | None]]


def _finite_points(line: Series) -> _Points:
    step = max(1, math.ceil(len(line.points) / _MAX_POINTS))
    # Counted from the end, so that the last one is always there.
    kept = list(line.points)[::-1][::step][::-1]
    numbers = [(x, finite(y)) for x, y in kept]
    return [(x, y if y is None else min(max(y, -_LARGEST), _LARGEST)) for x, y in numbers]


def _x_scale(values: Sequence[float]) -> _Scale:
    left, right, _, _ = AREA
    low, high = min(values), max(values)
    return _Scale(low, high if high > low else low + 1, left, right)


def _y_scale(values: Sequence[float], low: float | None, percent: bool) -> _Scale:
    _, _, top, bottom = AREA
    if percent:
        return _Scale(0.0, 1.0, bottom, top)
    lowest, highest = min(values), max(values)
    if low is not None:
        lowest = min(lowest, low)
    size = max(abs(lowest), abs(highest))
    span = highest - lowest
    if span <= max(_LEAST_SPAN * size, 1e-290):
        span = size if size > 1e-280 else 1.0
    return _Scale(lowest, lowest + 1.04 * span, bottom, top)


def _curve(line: Series, points: _Points, x: _Scale, y: _Scale, percent: bool) -> Curve:
    """Return a line; a point without a neighbour becomes a dot, since a line needs two."""
    pieces: list[list[tuple[float, float]]] = [[]]
    last = 0.0
    for across, up in points:
        if up is None:
            pieces.append([])
        else:
            pieces[-1].append((x.place(across), y.place(up)))
            last = up
    return Curve(
        label=line.label,
        kind=line.kind,
        dashed=line.dashed,
        pieces=tuple(" ".join(f"{a:g},{b:g}" for a, b in piece) for piece in pieces if piece[1:]),
        dots=tuple(piece[0] for piece in pieces if len(piece) == 1),
        last=_text(last, percent),
    )


def _text(value: float, percent: bool) -> str:
    if percent:
        return f"{100 * value:.3g}\u202f%"
    # Numbers that people still count are not written with an exponent.
    text = f"{value:.0f}" if 1e4 <= abs(value) < 1e7 else f"{value:.4g}"
    return text.replace("-", "\u2212")
