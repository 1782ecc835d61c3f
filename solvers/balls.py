"""Balls of the L1 and L2 norm, with exact membership."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from models.errors import BoundsError, ShapeError

__all__ = ["Norm", "NormBall"]

FloatArray = NDArray[np.float64]

_FRACTION_BITS = 256
"""Quotients are rounded up to multiples of 2⁻²⁵⁶: against membership, by less than anything."""
_SHARES = (0.0, 1e-13, 1e-10, 1e-7, 1e-5, 1e-3)
"""How much of its radius a point that rounding left outside gives up, tried in turn."""
_FAR = 1e-6
"""A length this far above 1 in float64 is above 1."""


class Norm(StrEnum):
    """How the distance from the centre of a region is measured."""

    INF = "inf"
    TWO = "2"
    ONE = "1"


@dataclass(frozen=True, eq=False)
class NormBall:
    """All x with ‖(x − center) / radii‖ ≤ 1; where a radius is 0, x is the centre's.

    Attributes:
        center: Shape `input_shape`, float64, finite.
        radii: One per value in raw input units, shape `input_shape`, float64, finite, at least 0.
        norm: L1 or L2. An L∞ ball is a box and needs nothing else.

    Raises:
        ShapeError: Centre and radii differ in shape.
        BoundsError: A number is not finite, a radius is negative, or the norm is L∞.
    """

    center: FloatArray
    radii: FloatArray
    norm: Norm

    def __post_init__(self) -> None:
        if self.center.shape != self.radii.shape:
            raise ShapeError(
                f"the centre has shape {self.center.shape}, the radii have {self.radii.shape}"
            )
        if self.norm not in _LENGTHS:
            raise BoundsError(f"a ball of norm {self.norm} is a box; state it as one")
        if not np.isfinite(self.center).all():
            raise BoundsError("the centre of the ball holds values that are not finite")
        if not np.isfinite(self.radii).all() or (self.radii < 0).any():
            raise BoundsError("the radii of a ball must be finite numbers that are 0 or more")

    def reshape(self, shape: tuple[int, ...]) -> NormBall:
        """Return the same ball for inputs of another shape of the same size."""
        return NormBall(self.center.reshape(shape), self.radii.reshape(shape), self.norm)

    def length(self, x: NDArray[np.floating]) -> float:
        """Return ‖(x − center) / radii‖ over values with a radius, in float64."""
        moving = self.radii > 0
        scaled = (x.astype(np.float64) - self.center)[moving] / self.radii[moving]
        return _LENGTHS[self.norm](scaled)

    def contains(self, x: NDArray[np.floating]) -> bool:
        """Return whether `x` lies inside, decided without rounding in its favour.

        Exact where all radii are equal. Where they differ, each quotient is rounded up by less
        than 2⁻²⁵⁶, so that a point is refused if in doubt.

        Args:
            x: Shape `input_shape`, float32 or float64; not a number is outside.
        """
        wide = x.astype(np.float64)
        if wide.shape != self.center.shape or not np.isfinite(wide).all():
            return False
        fixed = self.radii == 0
        if (wide[fixed] != self.center[fixed]).any():
            return False
        if not self.length(wide) <= 1.0 + _FAR:
            return False
        moved = ~fixed & (wide != self.center)
        return self._within(wide[moved], self.center[moved], self.radii[moved])

    def _within(self, x: FloatArray, center: FloatArray, radii: FloatArray) -> bool:
        power = _POWERS[self.norm]
        steps = [
            abs(Fraction(a) - Fraction(b)) ** power
            for a, b in zip(x.tolist(), center.tolist(), strict=True)
        ]
        reach = [Fraction(radius) ** power for radius in radii.tolist()]
        if len(set(reach)) <= 1:
            return sum(steps, Fraction(0)) <= (reach[0] if reach else 0)
        quotients = (
            -(
                (-step.numerator * size.denominator << _FRACTION_BITS)
                // (step.denominator * size.numerator)
            )
            for step, size in zip(steps, reach, strict=True)
        )
        return sum(quotients) <= 1 << _FRACTION_BITS

    def pulled_in(self, x: NDArray[np.floating]) -> FloatArray:
        """Return a point inside, on the way from the centre to `x`; `x` itself if it is inside."""
        moving = self.radii > 0
        step = np.where(moving, x.astype(np.float64) - self.center, 0.0)
        length = self.length(x)
        for given_up in _SHARES:
            share = min(1.0, (1.0 - given_up) / length) if length > 0 else 1.0
            point = x.astype(np.float64) if share == 1.0 else self.center + share * step
            point = np.where(moving, point, self.center)
            if self.contains(point):
                return point
        return self.center


def _euclidean(scaled: FloatArray) -> float:
    return float(np.linalg.norm(scaled))


def _taxicab(scaled: FloatArray) -> float:
    return float(np.abs(scaled).sum())


_LENGTHS = {Norm.TWO: _euclidean, Norm.ONE: _taxicab}
_POWERS = {Norm.TWO: 2, Norm.ONE: 1}
