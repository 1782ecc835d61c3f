"""Smooth functions: powers, 1/z, exp, sin and cos, by one argument for all of them.

Between two points h apart, f − chord is −f''(ξ)/2 times a number from 0 to h²/4. So an interval is
cut into cells, on each of which f(z) − s·z is at least the lesser of its values at the two ends,
less h²/8 times the largest f'' there, whatever the slope s is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from solvers.proof.bounds import Array, Ends
from solvers.proof.network import CheckedNetwork, Part
from solvers.proof.onnx_file import Node
from solvers.proof.parts.curves import CURVE
from solvers.proof.parts.relaxed import ROUNDING, TINY, Lines, Relaxed

__all__ = ["COS", "CUBE", "EXP", "INVERSE", "SIN", "SMOOTH", "SQUARE", "WIDEST", "Smooth"]

Curve = Callable[[Array], Array]

CELLS, STEP = 32, 4
"""Of an interval; at every so manieth of their ends, the slope of f is tried for a line."""
WIDEST = 2.0**16
"""Largest argument of waves: beyond, libraries have to know many digits of π."""


@dataclass(frozen=True)
class Smooth:
    """A function with two derivatives.

    Attributes:
        name: Of it.
        value: f, off by a share of 2⁻⁴³ of |f| + unit at most.
        slope: f', off by a share of 2⁻⁴³ of |f'| + unit at most.
        bend: Least and largest f'' between two points; infinite where f has none.
        within: Bounds of f wherever it is defined.
        unit: 1 for functions that cross 0 where arithmetic is not exact, or else 0.
    """

    name: str
    value: Curve
    slope: Curve
    bend: Callable[[Array, Array], tuple[Array, Array]]
    within: tuple[float, float] = (-np.inf, np.inf)
    unit: float = 0.0

    def function(self, float32: float = np.inf) -> Relaxed:
        """Return it as a part of the checker; little is known of what runtimes make of it."""
        called = (self.name,)
        return Relaxed(self.image, self.lines, slopes=self.slopes, float32=float32, called=called)

    def image(self, ends: Ends) -> tuple[Array, Array]:
        """Return bounds of values."""
        with np.errstate(all="ignore"):
            cells = self._cells(*ends[0])
            low, high = (cells.floor(np.zeros_like(ends[0][0]), sign) for sign in (1.0, -1.0))
        return np.maximum(low, self.within[0]), np.minimum(-high, self.within[1])

    def lines(self, ends: Ends) -> Lines:
        """Return of several slopes those whose lines are closest in the middle."""
        (low, high), pairs = ends[0], []
        with np.errstate(all="ignore"):
            cells = self._cells(low, high)
            width = np.where(high > low, high - low, 1.0)
            chord = (cells.values[-1] - cells.values[0]) / width
            slopes = np.stack([chord, *self.slope(cells.points[::STEP])])
            slopes = np.where(np.isfinite(slopes), slopes, 0.0)
            for sign in (1.0, -1.0):
                floors = np.stack([cells.floor(slope, sign) for slope in slopes])
                heights = sign * slopes * cells.points[CELLS // 2] + floors
                best = heights.argmax(axis=0)[None]
                pairs.append([np.take_along_axis(a, best, 0)[0] for a in (slopes, floors)])
        (lower, below), (upper, above) = pairs
        return Lines([lower], [upper], below, -above)

    def slopes(self, ends: Ends) -> tuple[Array, Array]:
        """Return bounds of the derivative: values at ends of cells, and how far it moves."""
        with np.errstate(all="ignore"):
            cells = self._cells(*ends[0])
            values = self.slope(cells.points[:-1])
            moved = np.maximum(np.abs(cells.least), np.abs(cells.most)) * cells.width
            off = moved * (1 + ROUNDING) + CURVE * (np.abs(values) + self.unit) + TINY
            return (values - off).min(axis=0), (values + off).max(axis=0)

    def _cells(self, low: Array, high: Array) -> _Cells:
        shares = np.arange(CELLS + 1).reshape(-1, *[1] * low.ndim) / CELLS
        points = np.minimum(low + shares * (high - low), high)
        points[-1] = high
        values = self.value(points)
        off = CURVE * (np.abs(values) + self.unit) + TINY
        return _Cells(points, values, off, *self.bend(points[:-1], points[1:]))


@dataclass(frozen=True, eq=False)
class _Cells:
    """An interval of each value cut up; all arrays have one entry per point or cell in front."""

    points: Array
    values: Array
    off: Array
    least: Array
    most: Array

    @property
    def width(self) -> Array:
        return (self.points[1:] - self.points[:-1]) * (1 + ROUNDING)

    def floor(self, slope: Array, sign: float) -> Array:
        """Return a lower bound of sign · (f(z) − slope·z) on the interval."""
        moved = slope * self.points
        size = np.abs(self.values) + np.abs(moved)
        ends = sign * (self.values - moved) - self.off - ROUNDING * size
        bend = np.maximum(self.most if sign > 0 else -self.least, 0.0)
        drop = bend * self.width**2 * ((1 + 4 * ROUNDING) / 8) + TINY
        return np.asarray((np.minimum(ends[:-1], ends[1:]) - drop).min(axis=0))


def _wave(function: Curve) -> Curve:
    return lambda z: np.where(np.abs(z) <= WIDEST, function(z), np.inf)


def _at_most_one(a: Array, _: Array) -> tuple[Array, Array]:
    return np.full_like(a, -1.0), np.ones_like(a)


def _inverse_bend(a: Array, b: Array) -> tuple[Array, Array]:
    """Return the ends of 2/z³, which falls on either side of 0."""
    one_sided = (a > 0) | (b < 0)
    low, high = 2.0 / (b * b * b), 2.0 / (a * a * a)
    low, high = low - ROUNDING * np.abs(low), high + ROUNDING * np.abs(high)
    return np.where(one_sided, low, -np.inf), np.where(one_sided, high, np.inf)


SQUARE = Smooth(
    "Square",
    lambda z: z * z,
    lambda z: 2.0 * z,
    lambda a, _: (np.full_like(a, 2.0), np.full_like(a, 2.0)),
    within=(0.0, np.inf),
)
CUBE = Smooth(
    "Cube",
    lambda z: z * z * z,
    lambda z: 3.0 * z * z,
    lambda a, b: (6.0 * a - ROUNDING * np.abs(a), 6.0 * b + ROUNDING * np.abs(b)),
)
INVERSE = Smooth("Inverse", lambda z: 1.0 / z, lambda z: -1.0 / (z * z), _inverse_bend)
EXP = Smooth(
    "Exp",
    np.exp,
    np.exp,
    lambda a, b: (np.exp(a) * (1 - CURVE), np.exp(b) * (1 + CURVE)),
    within=(0.0, np.inf),
)
SIN = Smooth("Sin", _wave(np.sin), np.cos, _at_most_one, within=(-1.0, 1.0), unit=1.0)
COS = Smooth("Cos", _wave(np.cos), lambda z: -np.sin(z), _at_most_one, within=(-1.0, 1.0), unit=1.0)


def _power(network: CheckedNetwork, node: Node) -> None:
    """Pow with the exponent 2 or 3."""
    exponent, (_, shape) = network.weight(node, 1), network.vector(node)
    alike = np.broadcast_shapes(shape, exponent.shape) == shape
    node.require(exponent.size == 1 and alike, "it has several exponents, or more axes than values")
    known = {2.0: SQUARE, 3.0: CUBE}
    node.require(exponent.item() in known, f"its exponent is {exponent.item()}")
    network.nonlinear(node, known[exponent.item()].function())


def _simple(curve: Smooth) -> Callable[[CheckedNetwork, Node], None]:
    return lambda network, node: network.nonlinear(node, curve.function())


SMOOTH = Part(
    "the rules of Pow, Exp, Reciprocal, Sin and Cos",
    {
        "Pow": _power,
        "Exp": _simple(EXP),
        "Reciprocal": _simple(INVERSE),
        "Sin": _simple(SIN),
        "Cos": _simple(COS),
    },
)
