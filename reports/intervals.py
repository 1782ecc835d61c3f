"""Geometry of bounds on margins: of all inputs beside each other, and of one by every method.

Lengths are in units of the drawing, as in `reports.charts` and `reports.curves`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, cycle
from typing import Any

from reports.charts import BOTTOM, ROW, TOP, Axis, Tick, nice_ticks
from reports.curves import AREA, CurveChart, Mark, Series, curve_chart
from reports.numbers import finite
from reports.summary import EXACT, bracket

__all__ = ["BoundsChart", "IntervalChart", "bounds_chart", "interval_chart", "time_chart"]

Item = Mapping[str, Any]
# As many lines as stand apart on a wide screen.
_MAX_LINES = 500
# Of the ends, the outermost so many are cut off: one wild bound would flatten all others.
_CUT = 0.02
# Colours of methods.
_KINDS = ("clean", "empirical", "certified", "verified", "misclassified", "falsified")


@dataclass(frozen=True)
class IntervalChart:
    """One upright line an input, from its best lower to its upper bound, sorted by the lower one.

    Attributes:
        paths: For each verdict the path of its lines.
        zero: Height of margin 0, below which nothing is proved.
        y_marks, x_marks: Of the axes; across, inputs are counted.
        shown: How many lines there are.
        count: How many inputs have a bound.
    """

    paths: tuple[tuple[str, str], ...]
    zero: float
    y_marks: tuple[Mark, ...]
    x_marks: tuple[Mark, ...]
    shown: int
    count: int


@dataclass(frozen=True)
class BoundsRow:
    """What a method knows about a margin; a place is None where it knows no such bound."""

    label: str
    y: float
    low: float | None
    high: float | None
    text: str


@dataclass(frozen=True)
class BoundsChart:
    """Every method's bounds on the margin of one input, and where 0 is."""

    rows: tuple[BoundsRow, ...]
    axis: Axis
    zero: float
    height: float


def interval_chart(items: Sequence[Item]) -> IntervalChart | None:
    """Return the intervals in which margins lie; None where no input has a bound.

    Args:
        items: As a certification reports them.
    """
    known = sorted((*ends, str(item.get("verdict"))) for item in items if (ends := _ends(item)))
    if not known:
        return None
    step = math.ceil(len(known) / _MAX_LINES)
    lines = known[::step]
    low, high = _limits(sorted(end for line in lines for end in line[:2]))
    left, right, top, bottom = AREA

    def height(value: float) -> float:
        share = (min(max(value, low), high) - low) / (high - low)
        return round(bottom - share * (bottom - top), 1)

    width = (right - left) / len(lines)
    paths: dict[str, list[str]] = {}
    for number, (lower, upper, verdict) in enumerate(lines):
        x = round(left + (number + 0.5) * width, 1)
        first, last = height(lower), height(upper)
        # A line of no length is not drawn: where both bounds meet it gets one.
        last = last if first - last >= 2 else first - 2
        paths.setdefault(verdict, []).append(f"M{x:g} {first:g}V{last:g}")
    return IntervalChart(
        paths=tuple((verdict, "".join(parts)) for verdict, parts in paths.items()),
        zero=height(0.0),
        y_marks=tuple(
            Mark(height(mark), f"{mark:.4g}".replace("-", "\u2212"))
            for mark in nice_ticks(low, high)
        ),
        x_marks=tuple(
            Mark(round(left + (mark - 0.5) / step * width, 1), f"{mark:.0f}")
            for mark in nice_ticks(1, len(known), 8)
            if mark == round(mark)
        ),
        shown=len(lines),
        count=len(known),
    )


def bounds_chart(item: Item, methods: Sequence[str]) -> BoundsChart | None:
    """Return what each method proved of one input's margin; None where none proved anything.

    Args:
        item: As a certification reports it.
        methods: In the order in which they are shown.
    """
    known = [(method, *_bounds_of(item, method)) for method in methods]
    upper = finite(item.get("upper"))
    known = [row for row in known if row[1] is not None or row[2] is not None]
    if not known:
        return None
    if upper is not None:
        known.append(("best upper", None, upper))
    ends = [end for _, *pair in known for end in pair if end is not None]
    axis = _margin_axis(min(*ends, 0.0), max(*ends, 0.0))
    rows = tuple(
        BoundsRow(
            label,
            TOP + ROW * number,
            None if low is None else axis.place(low),
            None if high is None else axis.place(high),
            _words(low, high),
        )
        for number, (label, low, high) in enumerate(known)
    )
    return BoundsChart(rows, axis, axis.place(0.0), TOP + ROW * len(rows) + BOTTOM)


def _ends(item: Item) -> tuple[float, float] | None:
    """Return the best bounds on an input's margin; None where one of them is missing."""
    low, high = bracket(item)
    lowers = [finite(value) for value in (item.get("lower") or {}).values()]
    lower = max((value for value in (*lowers, low) if value is not None), default=None)
    uppers = [value for value in (finite(item.get("upper")), high) if value is not None]
    if lower is None or not uppers:
        return None
    return lower, max(lower, min(uppers))


def _limits(ends: Sequence[float]) -> tuple[float, float]:
    """Return what the axis shows: nearly all ends, and always 0."""
    cut = int(_CUT * len(ends))
    low, high = min(ends[cut], 0.0), max(ends[-1 - cut], 0.0)
    return (low, high) if high > low else (low - 1.0, high + 1.0)


def _bounds_of(item: Item, method: str) -> tuple[float | None, float | None]:
    if method == EXACT:
        return bracket(item)
    return finite((item.get("lower") or {}).get(method)), None


def _margin_axis(low: float, high: float) -> Axis:
    """Return an axis with some room at both ends."""
    span = high - low if high > low else 1.0
    bare = Axis(low - 0.04 * span, high + 0.04 * span, logarithmic=False)
    ticks = tuple(
        Tick(bare.place(mark), f"{mark:.4g}".replace("-", "\u2212"))
        for mark in nice_ticks(bare.low, bare.high)
    )
    return Axis(bare.low, bare.high, logarithmic=False, ticks=ticks)


def _words(low: float | None, high: float | None) -> str:
    """Return what is known in few words: they stand beside the drawing."""
    if low is None:
        text = f"≤ {high:.3g}"
    elif high is None:
        text = f"≥ {low:.3g}"
    else:
        text = f"= {low:.3g}" if low == high else f"{low:.3g} … {high:.3g}"
    return text.replace("-", "\u2212")


def time_chart(items: Sequence[Item], methods: Sequence[str]) -> CurveChart | None:
    """Return how the times of each method add up, the quick inputs first; None without times.

    Args:
        items: As a certification reports them.
        methods: In the order in which they are shown.
    """
    lines = []
    for method, kind in zip(methods, cycle(_KINDS), strict=False):
        known = [finite((item.get("seconds") or {}).get(method)) for item in items]
        seconds = accumulate(sorted(value for value in known if value is not None))
        lines.append(Series(method, kind, list(enumerate(seconds, start=1))))
    return curve_chart(lines, low=0.0)
