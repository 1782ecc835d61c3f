"""The part of a region that a float32 network can be given.

Networks run in float32, regions are stated in float64. A float32 input belongs to a box if it lies
inside, compared exactly. Where an interval is so narrow that it holds no float32 number (a fixed
input such as 0.1 is the usual case), no input could ever be run there; in such a coordinate alone
the bounds are taken as the float32 numbers nearest to them. This is how specifications with fixed
inputs are meant, and how others read them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import BoundsError
from solvers.problem import Box

__all__ = ["Float32Box", "runnable_box"]

_INFINITY = np.float32(np.inf)


@dataclass(frozen=True, eq=False)
class Float32Box:
    """The float32 inputs of a region.

    Attributes:
        lower, upper: Smallest and largest float32 input, shape `input_shape`, both inside.
    """

    lower: NDArray[np.float32]
    upper: NDArray[np.float32]

    def contains(self, x: NDArray[np.float32]) -> bool:
        """Return whether `x` has the region's shape and lies inside; NaN never does."""
        if x.shape != self.lower.shape or x.dtype != np.float32:
            return False
        return bool(np.all(x >= self.lower) and np.all(x <= self.upper))

    def nearest(self, x: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the float32 input of the region that is nearest to `x`, shape `input_shape`."""
        with np.errstate(over="ignore"):  # an overflow is cut back to the bound
            narrow = x.astype(np.float32)
        return np.asarray(np.clip(narrow, self.lower, self.upper))


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
    return Float32Box(lower, upper)
