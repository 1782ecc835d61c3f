"""Functions other than ReLU, by lines below and above them.

Lines are found in two steps. Slopes are chosen freely, and need not be right. Intercepts are then
moved out so far that the line is on its side of the function everywhere on the interval, by an
argument that holds for any slope and any rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from solvers.proof.bounds import Array, Ends, Function, Lines

__all__ = ["ROUNDING", "TINY", "Lines", "Relaxed", "highest"]

TINY = 2.0**-1000
ROUNDING = 2.0**-50
"""Eight units: more than the few operations lose that lines of straight pieces take."""


@dataclass(frozen=True, kw_only=True)
class Relaxed(Function):
    """A function of one or more sources, of which more is known.

    Attributes:
        slopes: Least and largest derivative on intervals of its only source, or of any of them.
        float32: By how much what runtimes return in float32 may differ from f at what they read.
        rounded: Whether float32 rounds its values besides, as products are.
        intercepts: Of lines below and above, for slopes that are given, shape `(domains, values)`;
            None where slopes cannot be chosen.
        jump: How far f may jump on intervals, beside what its derivative says.
        called: Its name, and its numbers, for who computes it in another way.
    """

    slopes: Callable[[Ends], tuple[Array, Array]]
    float32: float = 0.0
    rounded: bool = False
    intercepts: Callable[[Ends, Array], tuple[Array, Array]] | None = None
    jump: Callable[[Ends], Array | float] = lambda _: 0.0
    called: tuple[str, *tuple[float, ...]] = ("",)


def highest(
    slopes: Sequence[Array], floor: Callable[[Array], Array], middle: Array
) -> tuple[Array, Array]:
    """Return the line below a function that is highest in the middle, and so leaves least area."""
    best = slopes[0], floor(slopes[0])
    for slope in slopes[1:]:
        below = floor(slope)
        better = slope * middle + below > best[0] * middle + best[1]
        best = np.where(better, slope, best[0]), np.where(better, below, best[1])
    return best
