"""Whether a tree is likely to be closed in the time that is left."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["Prospect"]

_TRIAL = 0.02
"""Share of the time that a tree is grown before it is judged."""
_LEAST_SECONDS = 0.3
_LONGEST = 3600.0
_HOPE = 2.0
"""Forecasts may be wrong by this factor."""
_NEAR = 0.01
"""What is missing to zero shrinks to this share of what the region misses before leaves are proved,
or so."""


class Prospect:
    """Forecasts what a tree still needs, from the share it closed and from how bounds rise.

    Args:
        seconds: Left for the search; may be infinite.
    """

    def __init__(self, seconds: float) -> None:
        self._trial = max(_LEAST_SECONDS, _TRIAL * min(seconds, _LONGEST))

    def good(
        self,
        missing: NDArray[np.float64],
        depth: NDArray[np.int64],
        *,
        root: float,
        spent: float,
        bounded: int,
        remaining: float,
    ) -> bool:
        """Return whether to go on.

        Args:
            missing: To zero, of domains that are open, shape `(domains,)`; finite.
            depth: Of these, the same shape.
            root: What the region misses.
            spent: Seconds so far.
            bounded: Domains so far.
            remaining: Seconds left; may be infinite.
        """
        if spent < self._trial:
            return True
        left = float(np.sum(0.5**depth))
        by_share = spent * left / (1.0 - left) if left < 1.0 else math.inf
        rise = float(np.mean(np.log(root / missing) / np.maximum(depth, 1)))
        levels = -math.log(_NEAR) / rise if rise > 0 else math.inf
        by_rise: float = spent / bounded * 2.0 ** min(levels, 1000.0)
        return min(by_share, by_rise) <= _HOPE * min(remaining, _LONGEST)
