"""Geometry of a comparison's charts: bars side by side, and differences with their intervals.

Lengths are in units of the drawing, which is `charts.WIDTH` wide and scales with the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.charts import PLOT, Axis, Tick, nice_ticks
from reports.numbers import finite

__all__ = ["Group", "GroupedBars", "IntervalChart", "grouped_bars", "interval_chart"]

TOP = 12
BOTTOM = 34
_BAR = 19
_GAP = 12
_ROW = 24
# The least span of an axis of differences, so that nothing is blown up out of noise: ±2 points.
_LEAST_DIFFERENCE = 0.02


@dataclass(frozen=True)
class _Bar:
    """One bar of a group: `series` counts the networks from the baseline, 0.

    `low` and `high` are the ends of its interval, where it has one.
    """

    series: int
    y: float
    width: float
    text: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Group:
    """What one label says of every network."""

    label: str
    y: float
    bars: tuple[_Bar, ...]


@dataclass(frozen=True)
class GroupedBars:
    """Groups of bars on one axis."""

    groups: tuple[Group, ...]
    axis: Axis
    height: float


@dataclass(frozen=True)
class _Estimate:
    """A point with the ends of its interval."""

    series: int
    y: float
    low: float
    x: float
    high: float
    text: str
    sure: bool


@dataclass(frozen=True)
class IntervalChart:
    """Differences with their intervals; `zero` is where nothing differs."""

    labels: tuple[tuple[str, float], ...]
    estimates: tuple[_Estimate, ...]
    zero: float
    axis: Axis
    height: float


def grouped_bars(
    rows: Sequence[tuple[str, Sequence[object]]],
    *,
    shares: bool,
    ends: Sequence[Sequence[Sequence[object] | None]] = (),
) -> GroupedBars | None:
    """Return bars side by side, one group for each row and one bar for each network.

    Args:
        rows: Label, and one number per network; what is no finite number has no bar.
        shares: Whether the numbers lie in [0, 1] and read as percentages.
        ends: For each of these rows and each network, `[low, high]` of its interval or None.

    Returns:
        The chart; None without any number.
    """
    numbers = [value for _, values in rows for value in map(finite, values) if value is not None]
    if not numbers:
        return None
    axis = _share_axis() if shares else _axis(0.0, max(*numbers, 0.0) or 1.0)
    y = float(TOP)
    groups = []
    for row, (label, values) in enumerate(rows):
        around = ends[row] if row < len(ends) else [None] * len(values)
        bars = tuple(
            _Bar(
                series,
                y + series * _BAR,
                max(0.0, axis.place(value) - PLOT[0]),
                f"{100 * value:.1f} %" if shares else f"{value:.3g}",
                *_places(axis, around[series]),
            )
            for series, value in enumerate(map(finite, values))
            if value is not None
        )
        groups.append(Group(label, y + _BAR * len(values) / 2, bars))
        y += _BAR * len(values) + _GAP
    return GroupedBars(tuple(groups), axis, y + BOTTOM - _GAP)


def _places(axis: Axis, ends: Sequence[object] | None) -> tuple[float | None, float | None]:
    """Return where an interval begins and ends; None twice without one."""
    known = [value for value in map(finite, ends or ()) if value is not None]
    return (axis.place(known[0]), axis.place(known[1])) if len(known) == 2 else (None, None)


def interval_chart(
    rows: Sequence[tuple[str, Sequence[Mapping[str, Any]]]], key: str
) -> IntervalChart | None:
    """Return differences of shares, one row for each label and candidate.

    Args:
        rows: Label, and for each candidate a mapping with `key`, `low` and `high`.
        key: Of the difference itself.

    Returns:
        The chart; None without any difference.
    """
    known = [
        (label, series, ends)
        for label, entries in rows
        for series, entry in enumerate(entries, start=1)
        if len(ends := _ends(entry, key)) == 3
    ]
    if not known:
        return None
    reach = max(_LEAST_DIFFERENCE, *(abs(end) for _, _, ends in known for end in ends)) * 1.08
    axis = _axis(-reach, reach, points=True)
    labels: dict[str, float] = {}
    estimates = []
    for row, (label, series, (low, value, high)) in enumerate(known):
        y = TOP + row * _ROW + _ROW / 2
        labels.setdefault(label, y)
        sure = low > 0 or high < 0
        places = (axis.place(low), axis.place(value), axis.place(high))
        estimates.append(_Estimate(series, y, *places, f"{100 * value:+.1f}", sure))
    height = TOP + _ROW * len(known) + BOTTOM
    return IntervalChart(
        tuple(labels.items()), tuple(estimates), axis.place(0.0), axis, float(height)
    )


def _ends(entry: Mapping[str, Any], key: str) -> list[float]:
    """Return low end, value and high end, or fewer where one is not known."""
    numbers = (finite(entry.get(name)) for name in ("low", key, "high"))
    return [number for number in numbers if number is not None]


def _share_axis() -> Axis:
    bare = Axis(0.0, 1.0, logarithmic=False)
    marks = (0.0, 0.25, 0.5, 0.75, 1.0)
    return Axis(0.0, 1.0, False, tuple(Tick(bare.place(m), f"{round(100 * m)} %") for m in marks))


def _axis(low: float, high: float, *, points: bool = False) -> Axis:
    """Return a linear axis with round marks, in percentage points where asked for."""
    bare = Axis(low, high, logarithmic=False)
    texts = [
        (mark, f"{100 * mark:+.3g}" if points else f"{mark:.3g}") for mark in nice_ticks(low, high)
    ]
    ticks = tuple(Tick(bare.place(mark), "0" if mark == 0 else text) for mark, text in texts)
    return Axis(low, high, False, ticks)
