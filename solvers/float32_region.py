"""The part of a region that a float32 network can be given.

Networks run in float32, regions are stated in float64. A float32 input belongs to a box if it lies
inside, compared exactly. Where an interval is so narrow that it holds no float32 number (a fixed
input such as 0.1 is the usual case), no input could ever be run there; in such a coordinate alone
the bounds are taken as the float32 numbers nearest to them. This is how specifications with fixed
inputs are meant, and how others read them.

A ball is cut the same way: a float32 input belongs to it if its distance from the centre, which
need not be a float32 number, is at most 1 exactly; coordinates whose interval holds no float32
number count as the centre's.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.errors import BoundsError
from solvers.balls import NormBall
from solvers.problem import Box

__all__ = ["Float32Box", "runnable_box"]

_INFINITY = np.float32(np.inf)
_GIVEN_UP = (0.0, 1e-7, 1e-6, 1e-4, 1e-2)
"""Shares of the radius that are given up, in turn, until rounding leaves a point inside a ball."""


@dataclass(frozen=True, eq=False)
class Float32Box:
    """The float32 inputs of a region.

    Attributes:
        lower, upper: Smallest and largest float32 input, shape `input_shape`; both inside if there
            is no ball.
        ball: Which inputs have to lie in as well, or None.
        narrow: Where the region's interval holds no float32 number, shape `input_shape`.
        real: Numbers of the region there, float64, the same shape: of a ball its centre.
    """

    lower: NDArray[np.float32]
    upper: NDArray[np.float32]
    ball: NormBall | None = None
    narrow: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((), dtype=np.bool_))
    real: NDArray[np.float64] = field(default_factory=lambda: np.zeros(()))

    def contains(self, x: NDArray[np.float32]) -> bool:
        """Return whether `x` has the region's shape and lies inside; NaN never does."""
        if x.shape != self.lower.shape or x.dtype != np.float32:
            return False
        if not (np.all(x >= self.lower) and np.all(x <= self.upper)):
            return False
        return self.ball is None or self.ball.contains(self.meant(x))

    def nearest(self, x: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return a float32 input of the region that is close to `x`, shape `input_shape`.

        In a box it is the nearest one. In a ball it lies towards the centre; where the ball is so
        small that none is found, the input returned is outside, and `contains` says so.
        """
        with np.errstate(over="ignore"):  # an overflow is cut back to the bound
            cut = np.asarray(np.clip(x.astype(np.float32), self.lower, self.upper))
        if self.ball is None or self.contains(cut):
            return cut
        return self._towards_center(self.ball, cut)

    def _towards_center(self, ball: NormBall, x: NDArray[np.float32]) -> NDArray[np.float32]:
        wide = self.meant(x)
        length = ball.length(wide)
        for given_up in _GIVEN_UP:
            share = min(1.0, (1.0 - given_up) / length) if length > 0 else 1.0
            point = ball.center + share * (wide - ball.center)
            found = point.astype(np.float32)
            further = np.abs(found.astype(np.float64) - ball.center) > np.abs(point - ball.center)
            inner = np.nextafter(found, np.where(found > ball.center, -_INFINITY, _INFINITY))
            found = np.clip(np.where(further, inner, found), self.lower, self.upper)
            if self.contains(found):
                return found
        center = ball.center.astype(np.float32)
        return np.asarray(np.clip(center, self.lower, self.upper))

    def meant(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the input of the region that one of float32 stands for, shape `input_shape`."""
        return np.where(self.narrow, self.real, x.astype(np.float64))


def runnable_box(region: Box) -> Float32Box:
    """Return the float32 inputs of a region, see above.

    Raises:
        BoundsError: A bound is beyond the range of float32.
    """
    with np.errstate(over="ignore"):  # reported below, in words
        nearest = region.lower.astype(np.float32), region.upper.astype(np.float32)
    # In float64, so that the comparison is exact.
    lower = np.where(
        nearest[0].astype(np.float64) < region.lower,
        np.nextafter(nearest[0], _INFINITY),
        nearest[0],
    )
    upper = np.where(
        nearest[1].astype(np.float64) > region.upper,
        np.nextafter(nearest[1], -_INFINITY),
        nearest[1],
    )
    empty = lower > upper
    lower = np.where(empty, nearest[0], lower)
    upper = np.where(empty, nearest[1], upper)
    beyond = ~(np.isfinite(lower) & np.isfinite(upper))
    if beyond.any():
        index = int(np.flatnonzero(beyond)[0])
        raise BoundsError(
            f"input {index} has bounds [{region.lower.flat[index]:g}, "
            f"{region.upper.flat[index]:g}] beyond the range of float32, in which networks run"
        )
    real = region.lower if region.ball is None else region.ball.center
    return Float32Box(lower, upper, region.ball, empty, real)
