"""Curves of the shape of tanh: Sigmoid and Tanh.

They rise, are convex below 0 and concave above, and turned into themselves by a half turn. What is
above follows from what is below: f(z) = mirror − f(−z).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from solvers.proof.bounds import Array, Ends
from solvers.proof.network import Part
from solvers.proof.parts.relaxed import (
    ROUNDING,
    TINY,
    Lines,
    Relaxed,
    highest,
)

__all__ = ["CURVES", "SIGMOID", "TANH"]

CURVE = 2.0**-43
"""Share by which values of curves may be wrong: 512 units in the last place of exp and tanh."""


@dataclass(frozen=True)
class _Curve:
    """A curve, its derivative, and about where below 0 that has a value."""

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    place: Callable[[Array], Array]
    mirror: float

    def values(self, ends: Ends) -> tuple[Array, Array]:
        ((low, high),) = ends
        values = self.value(low), self.value(high)
        sizes = [CURVE * np.abs(value) + TINY for value in values]
        return values[0] - sizes[0], values[1] + sizes[1]

    def lines(self, ends: Ends) -> Lines:
        ((low, high),) = ends
        lower, below = self._below(low, high)
        upper, mirrored = self._below(-high, -low)
        return Lines([lower], [upper], below, self._turned(mirrored))

    def intercepts(self, ends: Ends, slopes: Array) -> tuple[Array, Array]:
        ((low, high),) = ends
        return self._floor(low, high, slopes), self._turned(self._floor(-high, -low, slopes))

    def _turned(self, mirrored: Array) -> Array:
        """Return the intercept above that belongs to one below after a half turn."""
        return (self.mirror - mirrored) + ROUNDING * (self.mirror + np.abs(mirrored))

    def slopes(self, ends: Ends) -> tuple[Array, Array]:
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
        return highest(slopes, lambda slope: self._floor(low, high, slope), middle)

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


def _function(curve: _Curve, name: str) -> Relaxed:
    off = 4 * 2.0**-23
    return Relaxed(
        curve.values,
        curve.lines,
        slopes=curve.slopes,
        intercepts=curve.intercepts,
        float32=off,
        called=(name,),
    )


SIGMOID = _function(_Curve(_sigmoid, _sigmoid_slope, _sigmoid_place, 1.0), "Sigmoid")
TANH = _function(_Curve(np.tanh, _tanh_slope, _tanh_place, 0.0), "Tanh")
CURVES = Part(
    "the rules of Sigmoid and Tanh",
    {
        "Sigmoid": lambda network, node: network.nonlinear(node, SIGMOID),
        "Tanh": lambda network, node: network.nonlinear(node, TANH),
    },
)
