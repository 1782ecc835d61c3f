"""Geometry of the report's charts; the template draws it as inline SVG.

Lengths are in units of the drawing, which is `WIDTH` wide and scales with the page.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

from reports.numbers import finite
from reports.summary import gap_of

__all__ = [
    "BOTTOM",
    "PLOT",
    "ROW",
    "TOP",
    "WIDTH",
    "AccuracyChart",
    "Axis",
    "Bar",
    "GapChart",
    "GapRow",
    "Tick",
    "accuracy_chart",
    "gap_chart",
    "nice_ticks",
]

WIDTH = 580
ROW = 34
TOP = 30
BOTTOM = 34
# Left and right end of the plot itself; labels stand left of it, figures right of it.
PLOT = (118, 462)
# More points than this hide each other and bloat the page.
_MAX_POINTS = 300
# Beyond this ratio of gaps a linear axis would show a line and a speck.
_LOG_RATIO = 30.0
# A logarithmic axis never spans more than this; smaller gaps stand on its left end.
_LOG_SPAN = 1e5


@dataclass(frozen=True)
class Tick:
    """One mark of an axis: its place and its text."""

    x: float
    text: str


@dataclass(frozen=True)
class Axis:
    """A horizontal axis from `low` to `high`, linear or logarithmic."""

    low: float
    high: float
    logarithmic: bool
    ticks: tuple[Tick, ...] = ()

    def place(self, value: float) -> float:
        """Return where a value stands; values beyond an end stand on it."""
        left, right = PLOT
        inside = min(max(value, self.low), self.high)
        if self.logarithmic:
            share = math.log(inside / self.low) / math.log(self.high / self.low)
        else:
            share = (inside - self.low) / (self.high - self.low)
        return round(left + share * (right - left), 1)


@dataclass(frozen=True)
class Bar:
    """One share as a bar: `kind` is `clean`, `empirical` or `certified`."""

    label: str
    kind: str
    y: float
    width: float
    text: str


@dataclass(frozen=True)
class AccuracyChart:
    """Shares of a set as bars, with lines at the clean and the empirical accuracy."""

    bars: tuple[Bar, ...]
    lines: tuple[tuple[str, float], ...]
    axis: Axis
    height: float


@dataclass(frozen=True)
class GapRow:
    """The gaps of one method: points `(x, y)`, and the box of their quartiles."""

    label: str
    y: float
    points: tuple[tuple[float, float], ...]
    low: float
    median: float
    high: float
    text: str


@dataclass(frozen=True)
class GapChart:
    """The gaps of every method on one axis."""

    rows: tuple[GapRow, ...]
    axis: Axis
    height: float


def nice_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return round numbers from `low` to `high`, about as many as asked for."""
    span = high - low
    raw = span / max(about, 1)
    if not raw >= sys.float_info.min:
        return [low]
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * unit for factor in (1, 2, 2.5, 5, 10) if factor * unit >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def accuracy_chart(summary: Mapping[str, Any]) -> AccuracyChart | None:
    """Return the bars of clean, empirical and certified accuracy; None for an empty set."""
    clean, empirical = summary["clean_accuracy"], summary["empirical_accuracy"]
    if clean is None or empirical is None:
        return None
    left, right = PLOT
    ticks = tuple(
        Tick(round(left + share * (right - left), 1), f"{round(100 * share)} %")
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    axis = Axis(0.0, 1.0, logarithmic=False, ticks=ticks)
    shares = [("clean", "clean", clean), ("under attack", "empirical", empirical)]
    shares += [
        (method, "certified", share or 0.0)
        for method, share in summary["certified_accuracy"].items()
    ]
    bars = tuple(
        Bar(label, kind, TOP + row * ROW, axis.place(share) - left, f"{100 * share:.1f} %")
        for row, (label, kind, share) in enumerate(shares)
    )
    lines = (("clean", axis.place(clean)), ("empirical", axis.place(empirical)))
    return AccuracyChart(bars, lines, axis, TOP + ROW * len(bars) + BOTTOM)


def gap_chart(items: Sequence[Mapping[str, Any]], methods: Sequence[str]) -> GapChart | None:
    """Return the distribution of gaps per method; None where no method has one."""
    gaps = {
        method: [gap for item in items if (gap := gap_of(item, method)) is not None]
        for method in methods
    }
    gaps = {method: values for method, values in gaps.items() if values}
    if not gaps:
        return None
    axis = _gap_axis([gap for values in gaps.values() for gap in values])
    rows = tuple(
        _gap_row(method, values, axis, TOP + ROW * row)
        for row, (method, values) in enumerate(gaps.items())
    )
    return GapChart(rows, axis, TOP + ROW * len(rows) + BOTTOM)


def _gap_row(method: str, gaps: Sequence[float], axis: Axis, y: float) -> GapRow:
    """Return the points and quartiles of one method."""
    step = max(1, math.ceil(len(gaps) / _MAX_POINTS))
    points = tuple(
        # Scattered up and down by a fixed pattern, so that equal gaps do not hide each other.
        (axis.place(gap), round(y + ROW / 2 + (number * 7 % 13 - 6) * 0.8, 1))
        for number, gap in enumerate(sorted(gaps)[::step])
    )
    low, middle, high = quantiles(gaps, n=4, method="inclusive") if len(gaps) > 1 else [gaps[0]] * 3
    text = f"median {middle:.3g}"
    return GapRow(method, y, points, axis.place(low), axis.place(middle), axis.place(high), text)


def _gap_axis(gaps: Sequence[float]) -> Axis:
    """Return an axis for these gaps: logarithmic where they differ by orders of magnitude."""
    high = max(gaps)
    positive = [gap for gap in gaps if gap > 0]
    if positive and high / max(median(positive), high / _LOG_SPAN) > _LOG_RATIO:
        floor = max(min(positive), high / _LOG_SPAN)
        first, last = math.floor(math.log10(floor)), math.ceil(math.log10(high))
        low = 10.0**first
        bare = Axis(low, 10.0**last, logarithmic=True)
        marks = [10.0**power for power in range(first, last + 1)]
        below = "≤ " if min(gaps) < low else ""
        texts = [f"{below if mark == low else ''}{mark:g}" for mark in marks]
        ticks = tuple(Tick(bare.place(m), text) for m, text in zip(marks, texts, strict=True))
        return Axis(bare.low, bare.high, logarithmic=True, ticks=ticks)
    low = min(0.0, *gaps)
    if not finite(high - low) or high <= low:
        high = low + 1.0
    bare = Axis(low, high * 1.02 if high > 0 else high, logarithmic=False)
    marks = nice_ticks(bare.low, bare.high)
    ticks = tuple(Tick(bare.place(mark), f"{mark:.4g}") for mark in marks)
    return Axis(bare.low, bare.high, logarithmic=False, ticks=ticks)
