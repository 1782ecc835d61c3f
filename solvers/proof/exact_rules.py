"""What operators other than ReLU are, in rational numbers.

One question is answered of each function f: how large is sign · (f(z) − s·z) at least, where every
z lies in an interval? Slopes s may be any numbers. Functions of straight pieces, products and
maxima are answered exactly; of curves, values are enclosed by series.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from solvers.proof.enclosing import (
    Ends,
    cos_ends,
    exp_ends,
    sigmoid_ends,
    sin_ends,
    tanh_ends,
)
from solvers.proof.onnx_file import UnsupportedProofError

__all__ = ["Rule", "rule_of"]

Rule = Callable[[Sequence[Ends], Sequence[Fraction], int], Fraction]
"""Intervals and slopes of all sources, and a sign: how large it is at least."""

CELLS = 32
"""That intervals of waves are cut into."""
HALVINGS = 60
"""In the search for a point where a curve has a slope."""


def rule_of(called: Sequence[str | float], where: str) -> Rule:
    """Return the rule of a function.

    Args:
        called: Its name and its numbers.
        where: What to name in the error.

    Raises:
        UnsupportedProofError: It has none in rational numbers.
    """
    name, *numbers = called
    if name in _PIECES:
        held = (Fraction(float(number)) for number in numbers if math.isfinite(float(number)))
        return _PIECES[str(name)](*held)
    if name in _RULES:
        return _RULES[str(name)]
    raise UnsupportedProofError(f"exact arithmetic does not cover {where}")


def _pieces(value: Callable[[Fraction], Fraction], corners: Sequence[Fraction | None]) -> Rule:
    """Return the rule of a function that is linear between corners."""

    def rule(ends: Sequence[Ends], slopes: Sequence[Fraction], sign: int) -> Fraction:
        ((low, high),), (slope,) = ends, slopes
        inner = (c for c in corners if c is not None and low < c < high)
        return min(sign * (value(z) - slope * z) for z in (low, high, *inner))

    return rule


def _leaky(alpha: Fraction) -> Rule:
    return _pieces(lambda z: max(z, alpha * z), [Fraction(0)])


def _clip(least: Fraction, *most: Fraction) -> Rule:
    return _pieces(lambda z: min(max(z, least), *most) if most else max(z, least), [least, *most])


def _sign(ends: Sequence[Ends], slopes: Sequence[Fraction], sign: int) -> Fraction:
    """Return it for Sign: on each side of 0, up to 0, it is a constant."""
    ((low, high),), (slope,), zero = ends, slopes, Fraction(0)
    points = [(-1, low), (-1, min(high, zero))] if low < 0 else []
    points += [(1, high), (1, max(low, zero))] if high > 0 else []
    points += [(0, zero)] if low <= 0 <= high else []
    return min(sign * (value - slope * z) for value, z in points)


def _product(ends: Sequence[Ends], slopes: Sequence[Fraction], sign: int) -> Fraction:
    (xs, ys), (s, t) = ends, slopes
    return min(sign * (x * y - s * x - t * y) for x in xs for y in ys)


def _maximum(ends: Sequence[Ends], slopes: Sequence[Fraction], sign: int) -> Fraction:
    """Return it for the largest source, which is at least each, and equal to one of them."""
    every = range(len(ends))

    def single(chosen: int) -> Fraction:
        factors = [sign * ((k == chosen) - slopes[k]) for k in every]
        return sum((min(f * z for z in ends[k]) for k, f in enumerate(factors)), Fraction(0))

    each = [single(chosen) for chosen in every]
    return max(each) if sign > 0 else min(each)


@dataclass(frozen=True)
class _Curve:
    """A curve that is convex on one side of 0 and concave on the other, or either everywhere.

    Attributes:
        value, slope: f and f', enclosed.
        steep: f', about.
        parts: Whether it is convex below 0, and above.
        holed: Whether it has no value at 0.
    """

    value: Callable[[Fraction], Ends]
    slope: Callable[[Fraction], Ends]
    steep: Callable[[float], float]
    parts: tuple[bool, bool]
    holed: bool = False

    def rule(self, ends: Sequence[Ends], slopes: Sequence[Fraction], sign: int) -> Fraction:
        """Return it for a curve, part by part."""
        ((low, high),), (slope,) = ends, slopes
        if self.holed and low <= 0 <= high:
            raise ArithmeticError("there is no inverse of 0")
        parts = self._parts(low, high)
        return min(self._least(part, convex, slope, sign) for part, convex in parts)

    def _parts(self, low: Fraction, high: Fraction) -> Iterator[tuple[Ends, bool]]:
        below, above = self.parts
        if below == above:
            yield (low, high), below
            return
        if low < 0:
            yield (low, min(high, Fraction(0))), below
        if high >= 0:
            yield (max(low, Fraction(0)), high), above

    def _least(self, part: Ends, convex: bool, slope: Fraction, sign: int) -> Fraction:
        """Return it where sign · f is above its tangents, or else above its chord."""
        if convex != (sign > 0):
            return min(_at_least(self.value(z), sign) - sign * slope * z for z in part)
        at = self._touching(part, float(slope), convex)
        value = _at_least(self.value(at), sign) - sign * slope * at
        tilts = [sign * (tilt - slope) for tilt in self.slope(at)]
        return value + min(tilt * (z - at) for tilt in tilts for z in part)

    def _touching(self, part: Ends, slope: float, convex: bool) -> Fraction:
        """Return about where the curve has a slope; any point of the part will do."""
        first, last = (float(end) for end in part)
        for _ in range(HALVINGS):
            at = first / 2 + last / 2
            before = (self.steep(at) < slope) == convex
            first, last = (at, last) if before else (first, at)
        return min(max(Fraction(first), part[0]), part[1])


def _wave(value: Callable[[Fraction], Ends]) -> Rule:
    """Return the rule of sine or cosine, whose second derivative is at most 1."""

    def rule(ends: Sequence[Ends], slopes: Sequence[Fraction], sign: int) -> Fraction:
        ((low, high),), (slope,) = ends, slopes
        width = (high - low) / CELLS
        points = [low + k * width for k in range(CELLS + 1)] if width else [low]
        values = [_at_least(value(z), sign) - sign * slope * z for z in points]
        least = min(values) - width * width / 8
        return least if slope else max(least, Fraction(-1))

    return rule


def _at_least(value: Ends, sign: int) -> Fraction:
    return value[0] if sign > 0 else -value[1]


def _exactly(value: Callable[[Fraction], Fraction]) -> Callable[[Fraction], Ends]:
    return lambda z: (value(z), value(z))


def _sigmoid_slope(z: Fraction) -> Ends:
    """Enclose σ(z) σ(−z)."""
    one, other = sigmoid_ends(z), sigmoid_ends(-z)
    return one[0] * other[0], one[1] * other[1]


def _tanh_slope(z: Fraction) -> Ends:
    """Enclose 1 − tanh², for the magnitude of tanh."""
    low, high = tanh_ends(abs(z))
    return 1 - high * high, 1 - max(low, Fraction(0)) ** 2


def _steep_sigmoid(z: float) -> float:
    small = math.exp(-abs(z))
    return small / (1.0 + small) ** 2


_PIECES: Mapping[str, Callable[..., Rule]] = {
    "LeakyRelu": _leaky,
    "Abs": lambda: _pieces(abs, [Fraction(0)]),
    "Clip": _clip,
}
_RULES: Mapping[str, Rule] = {
    "Sign": _sign,
    "Product": _product,
    "Max": _maximum,
    "Square": _Curve(
        _exactly(lambda z: z * z), _exactly(lambda z: 2 * z), lambda z: 2 * z, (True, True)
    ).rule,
    "Cube": _Curve(
        _exactly(lambda z: z**3), _exactly(lambda z: 3 * z * z), lambda z: 3 * z * z, (False, True)
    ).rule,
    "Inverse": _Curve(
        _exactly(lambda z: 1 / z),
        _exactly(lambda z: -1 / (z * z)),
        lambda z: -1 / (z * z) if z else -math.inf,
        (False, True),
        holed=True,
    ).rule,
    "Exp": _Curve(exp_ends, exp_ends, lambda z: math.exp(min(z, 700.0)), (True, True)).rule,
    "Sigmoid": _Curve(sigmoid_ends, _sigmoid_slope, _steep_sigmoid, (True, False)).rule,
    "Tanh": _Curve(tanh_ends, _tanh_slope, lambda z: 1 - math.tanh(z) ** 2, (True, False)).rule,
    "Sin": _wave(sin_ends),
    "Cos": _wave(cos_ends),
}
