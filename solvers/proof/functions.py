"""Nonlinear functions: their values on intervals, and lines above and below them there.

Lines are found in two steps. Slopes are chosen freely, and need not be right. Intercepts are then
moved out so far that the line is on its side of the function everywhere on the interval, by an
argument that holds for any slope and any rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["FUNCTIONS", "Function", "Lines"]

Array = NDArray[np.float64]
Ends = Sequence[tuple[Array, Array]]
"""Bounds of every source, each of shape `(domains, values)`."""
Numbers = tuple[float, ...]

TINY = 2.0**-1000
ROUNDING = 2.0**-50
"""Eight units: more than the few operations lose that lines of straight pieces take."""
CURVE = 2.0**-43
"""Share by which values of curves may be wrong: 512 units in the last place of exp and tanh."""


@dataclass(frozen=True, eq=False)
class Lines:
    """Σ lower·z + below ≤ f(z) ≤ Σ upper·z + above on every interval.

    Attributes:
        lower, upper: Slopes of every source, each of shape `(domains, values)`.
        below, above: Intercepts, of that shape; `below` is None for zeros.
        open_: Where any lower slope from 0 to 1 would do as well (ReLU).
    """

    lower: tuple[Array, ...]
    upper: tuple[Array, ...]
    below: Array | None
    above: Array
    open_: NDArray[np.bool_]


@dataclass(frozen=True)
class Function:
    """What bounds need of a function of one or more sources.

    Attributes:
        image: Lower and upper bound of its values.
        lines: Lines on intervals; where an interval is empty, any numbers.
        slopes: Least and largest derivative on intervals of its only source, or of any of them.
        corner: Whether it is linear on both sides of 0.
        float32: By how much what runtimes return in float32 may differ from f at what they read.
    """

    image: Callable[[Ends, Numbers], tuple[Array, Array]]
    lines: Callable[[Ends, Numbers], Lines]
    slopes: Callable[[Ends, Numbers], tuple[Array, Array]]
    corner: bool = False
    float32: float = 0.0


def _relu_image(ends: Ends, _: Numbers) -> tuple[Array, Array]:
    ((low, high),) = ends
    return np.maximum(low, 0.0), np.maximum(high, 0.0)


def _relu_lines(ends: Ends, _: Numbers) -> Lines:
    """Ehlers 2017: the chord above; below, the slope 0 or 1 that leaves less area."""
    ((low, high),) = ends
    unstable = (low < 0) & (high > 0)
    active = (low >= 0).astype(np.float64)
    width = np.where(unstable, high - low, 1.0)
    upper = np.where(unstable, high / width, active)
    # The line must not be below 0 at `low`, nor below `high` at `high`; between, the function is
    # below its chord.
    above = np.maximum(-upper * low, high * (1.0 - upper)) * (1 + ROUNDING) + TINY
    above = np.where(unstable, above, 0.0)
    lower = np.where(unstable, high > -low, active)
    return Lines((lower,), (upper,), None, above, unstable)


def _relu_slopes(ends: Ends, _: Numbers) -> tuple[Array, Array]:
    ((low, high),) = ends
    return (low >= 0).astype(np.float64), (high > 0).astype(np.float64)


# Functions of straight pieces: extreme values of f(z) − s·z are at the ends or at the corners.


@dataclass(frozen=True)
class _Pieces:
    """A continuous function that is linear between its corners."""

    value: Callable[[Array, Numbers], Array]
    corners: Callable[[Numbers], tuple[float, ...]]
    pieces: Callable[[Numbers], tuple[float, ...]]

    def _points(self, low: Array, high: Array, numbers: Numbers) -> list[Array]:
        inner = [np.minimum(np.maximum(c, low), high) for c in self.corners(numbers)]
        return [low, *inner, high]

    def image(self, ends: Ends, numbers: Numbers) -> tuple[Array, Array]:
        ((low, high),) = ends
        values = np.stack([self.value(p, numbers) for p in self._points(low, high, numbers)])
        least, most = values.min(axis=0), values.max(axis=0)
        return least - np.abs(least) * ROUNDING - TINY, most + np.abs(most) * ROUNDING + TINY

    def lines(self, ends: Ends, numbers: Numbers) -> Lines:
        ((low, high),) = ends
        points = self._points(low, high, numbers)
        values = [self.value(p, numbers) for p in points]
        width = np.where(high > low, high - low, 1.0)
        chord = np.where(high > low, (values[-1] - values[0]) / width, 0.0)
        slopes = [chord, *(np.full_like(low, slope) for slope in self.pieces(numbers))]

        def floors(sign: float) -> Callable[[Array], Array]:
            def floor(slope: Array) -> Array:
                pairs = [(sign * v, slope * p) for v, p in zip(values, points, strict=True)]
                least = np.min([v - m for v, m in pairs], axis=0)
                size = np.max([np.abs(v) + np.abs(m) for v, m in pairs], axis=0)
                return np.asarray(least - ROUNDING * size - TINY)

            return floor

        middle = low / 2 + high / 2
        lower, below = _highest(slopes, floors(1.0), middle)
        upper, above = _highest([-slope for slope in slopes], floors(-1.0), middle)
        return Lines((lower,), (-upper,), below, -above, np.zeros(low.shape, dtype=np.bool_))

    def slopes(self, ends: Ends, numbers: Numbers) -> tuple[Array, Array]:
        found = self.pieces(numbers)
        shape = ends[0][0].shape
        return np.full(shape, min(found)), np.full(shape, max(found))


def _highest(
    slopes: Sequence[Array], floor: Callable[[Array], Array], middle: Array
) -> tuple[Array, Array]:
    """Return the line below a function that is highest in the middle, and so leaves least area."""
    best = slopes[0], floor(slopes[0])
    for slope in slopes[1:]:
        below = floor(slope)
        better = slope * middle + below > best[0] * middle + best[1]
        best = np.where(better, slope, best[0]), np.where(better, below, best[1])
    return best


# Curves of the shape of tanh: rising, convex below 0 and concave above, turned into themselves by
# a half turn. What is above follows from what is below: f(z) = mirror − f(−z).


@dataclass(frozen=True)
class _Curve:
    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    place: Callable[[Array], Array]
    mirror: float

    def image(self, ends: Ends, _: Numbers) -> tuple[Array, Array]:
        ((low, high),) = ends
        values = self.value(low), self.value(high)
        sizes = [CURVE * np.abs(value) + TINY for value in values]
        return values[0] - sizes[0], values[1] + sizes[1]

    def lines(self, ends: Ends, _: Numbers) -> Lines:
        ((low, high),) = ends
        lower, below = self._below(low, high)
        upper, mirrored = self._below(-high, -low)
        above = (self.mirror - mirrored) + ROUNDING * (self.mirror + np.abs(mirrored))
        return Lines((lower,), (upper,), below, above, np.zeros(low.shape, dtype=np.bool_))

    def slopes(self, ends: Ends, _: Numbers) -> tuple[Array, Array]:
        ((low, high),) = ends
        nearest = np.minimum(np.maximum(0.0, low), high)
        least = np.minimum(self.slope(low), self.slope(high)) - CURVE
        return np.maximum(least, 0.0), self.slope(nearest) + CURVE

    def _below(self, low: Array, high: Array) -> tuple[Array, Array]:
        width = np.where(high > low, high - low, 1.0)
        chord = np.maximum((self.value(high) - self.value(low)) / width, 0.0)
        middle = low / 2 + high / 2
        slopes = [chord, self.slope(middle), np.minimum(self.slope(low), self.slope(high))]
        slopes.append(self.slope(self._touching(low, high)))
        return _highest(slopes, lambda slope: self._floor(low, high, slope), middle)

    def _touching(self, low: Array, high: Array) -> Array:
        """Return about where a line through the upper end touches the convex part from below."""
        first, last = np.minimum(low, 0.0), np.zeros_like(low)
        end = self.value(high)
        for _ in range(24):
            at = first / 2 + last / 2
            beyond = self.slope(at) * (high - at) > end - self.value(at)
            first, last = np.where(beyond, first, at), np.where(beyond, at, last)
        return first

    def _floor(self, low: Array, high: Array, slope: Array) -> Array:
        """Return a lower bound of g = f − slope·z on the interval.

        On the part where f is convex, g is above its tangent at any point; the point is close to
        where g is least, so that the tangent is nearly level. On the concave part g is least at an
        end.
        """
        first, last = np.minimum(low, 0.0), np.minimum(high, 0.0)
        at = np.minimum(np.maximum(self.place(slope), first), last)
        tilt = self.slope(at) - slope
        fall = np.minimum(np.minimum(tilt * (first - at), tilt * (last - at)), 0.0)
        convex = self.value(at) - slope * at + fall
        convex = convex - CURVE * (1.0 + np.abs(slope * at) + (1.0 + slope) * (last - first))
        result = np.where(low < 0, convex, np.inf)
        for corner in (np.maximum(low, 0.0), np.maximum(high, 0.0)):
            moved = slope * corner
            concave = self.value(corner) - moved - CURVE * (1.0 + np.abs(moved))
            result = np.where(high >= 0, np.minimum(result, concave), result)
        return result - TINY


def _sigmoid(z: Array) -> Array:
    small = np.exp(-np.abs(z))  # never overflows
    return np.where(z < 0, small, 1.0) / (1.0 + small)


def _sigmoid_slope(z: Array) -> Array:
    small = np.exp(-np.abs(z))
    return small / (1.0 + small) ** 2


def _sigmoid_place(slope: Array) -> Array:
    """Return where below 0 the derivative σ(1 − σ) has a value, about."""
    value = (1.0 - np.sqrt(np.maximum(1.0 - 4.0 * slope, 0.0))) / 2
    value = np.maximum(value, 1e-300)
    return np.log(value / (1.0 - value))


def _tanh_slope(z: Array) -> Array:
    small = np.exp(-2.0 * np.abs(z))
    return 4.0 * small / (1.0 + small) ** 2


def _tanh_place(slope: Array) -> Array:
    return -np.arctanh(np.minimum(np.sqrt(np.maximum(1.0 - slope, 0.0)), 1.0 - 1e-16))


# Functions of several sources.


def _max_image(ends: Ends, _: Numbers) -> tuple[Array, Array]:
    return np.max([low for low, _ in ends], axis=0), np.max([high for _, high in ends], axis=0)


def _max_lines(ends: Ends, _: Numbers) -> Lines:
    """Below, one of the sources. Above, that source if none can exceed it, or the better of two.

    With L the largest lower bound, max z ≤ L + Σ max(z − L, 0), and each of these is below a
    chord; or max z ≤ the largest upper bound.
    """
    lows, highs = (np.stack([end[side] for end in ends]) for side in (0, 1))
    best = lows.argmax(axis=0)
    chosen = np.arange(len(ends)).reshape(-1, *[1] * best.ndim) == best
    floor = lows.max(axis=0)
    others = np.where(chosen, -np.inf, highs).max(axis=0)
    decided = floor >= others
    width = np.where(highs > lows, highs - lows, 1.0)
    chords = np.maximum(highs - floor, 0.0) / width * (1 + ROUNDING)
    moves = chords * lows
    summed = floor - moves.sum(axis=0)
    size = np.abs(floor) + np.abs(moves).sum(axis=0)
    summed = summed + (ROUNDING + len(ends) * 2.0**-52) * size + TINY
    most = highs.max(axis=0)
    level = (chords * (lows / 2 + highs / 2)).sum(axis=0) + summed >= most
    slopes = np.where(decided, chosen, np.where(level, 0.0, chords))
    above = np.where(decided, 0.0, np.where(level, most, summed))
    none = np.zeros(best.shape, dtype=np.bool_)
    return Lines(tuple(chosen.astype(np.float64)), tuple(slopes), None, above, none)


def _unit_slopes(ends: Ends, _: Numbers) -> tuple[Array, Array]:
    return np.zeros_like(ends[0][0]), np.ones_like(ends[0][0])


_LEAKY = _Pieces(lambda z, n: np.maximum(z, n[0] * z), lambda _: (0.0,), lambda n: (n[0], 1.0))
_ABS = _Pieces(lambda z, _: np.abs(z), lambda _: (0.0,), lambda _: (-1.0, 1.0))
_CLIP = _Pieces(lambda z, n: np.clip(z, n[0], n[1]), lambda n: n, lambda _: (0.0, 1.0))
_SIGMOID = _Curve(_sigmoid, _sigmoid_slope, _sigmoid_place, 1.0)
_TANH = _Curve(np.tanh, _tanh_slope, _tanh_place, 0.0)

FUNCTIONS: Mapping[str, Function] = {
    "relu": Function(_relu_image, _relu_lines, _relu_slopes, corner=True),
    "leaky": Function(_LEAKY.image, _LEAKY.lines, _LEAKY.slopes, corner=True),
    "abs": Function(_ABS.image, _ABS.lines, _ABS.slopes, corner=True),
    "clip": Function(_CLIP.image, _CLIP.lines, _CLIP.slopes),
    "sigmoid": Function(_SIGMOID.image, _SIGMOID.lines, _SIGMOID.slopes, float32=4 * 2.0**-23),
    "tanh": Function(_TANH.image, _TANH.lines, _TANH.slopes, float32=4 * 2.0**-23),
    "max": Function(_max_image, _max_lines, _unit_slopes),
}
