"""Functions other than ReLU, by lines below and above them.

Lines are found in two steps. Slopes are chosen freely, and need not be right. Intercepts are then
moved out so far that the line is on its side of the function everywhere on the interval, by an
argument that holds for any slope and any rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solvers.proof.bounds import Array, Ends, Sweep, dot, gamma, pick
from solvers.proof.network import CheckedNetwork, Nonlinear
from solvers.proof.onnx_file import Node

__all__ = ["ROUNDING", "TINY", "Lines", "Relaxed", "elementwise", "highest"]

TINY = 2.0**-1000
ROUNDING = 2.0**-50
"""Eight units: more than the few operations lose that lines of straight pieces take."""


@dataclass(frozen=True, eq=False)
class Lines:
    """Σ lower·z + below ≤ f(z) ≤ Σ upper·z + above on every interval.

    Attributes:
        lower, upper: Slopes of every source, each of shape `(domains, values)`.
        below, above: Intercepts, of that shape.
    """

    lower: Sequence[Array]
    upper: Sequence[Array]
    below: Array
    above: Array


@dataclass(frozen=True)
class Relaxed:
    """A function of one or more sources.

    Attributes:
        image: Lower and upper bound of its values.
        lines: Lines on intervals; where an interval is empty, any numbers.
        slopes: Least and largest derivative on intervals of its only source, or of any of them.
        corner: Whether it is linear on both sides of 0.
        float32: By how much what runtimes return in float32 may differ from f at what they read.
        rounded: Whether float32 rounds its values besides, as products are.
    """

    image: Callable[[Ends], tuple[Array, Array]]
    lines: Callable[[Ends], Lines]
    slopes: Callable[[Ends], tuple[Array, Array]]
    corner: bool = False
    float32: float = 0.0
    rounded: bool = False

    def undecided(self, lower: Array, upper: Array) -> NDArray[np.bool_]:
        """Return where closer bounds of its source would help."""
        return (lower < 0) & (upper > 0) if self.corner else lower < upper

    def relax(self, sweep: Sweep, operation: Nonlinear, rows: Array) -> None:
        """Replace it by lines: the upper one where coefficients are negative."""
        lines, negative = sweep.enclosure.lines_of(operation), np.minimum(rows, 0.0)
        below, above = pick(lines.below, sweep.domain), pick(lines.above, sweep.domain)
        positive = rows - negative
        size = dot(positive, np.abs(below)) - dot(negative, np.abs(above))
        sweep.charge(gamma(rows.shape[1] + 4) * size)
        sweep.add(dot(negative, above) + dot(positive, below), size)
        for source, lower, upper in zip(operation.sources, lines.lower, lines.upper, strict=True):
            slopes = np.where(rows > 0, pick(lower, sweep.domain), pick(upper, sweep.domain))
            sweep.pass_on(source, np.multiply(rows, slopes, out=slopes), rounded=True)


def elementwise(
    network: CheckedNetwork, node: Node, function: Relaxed, sources: Sequence[int] = ()
) -> None:
    """Append a function of the node's input, or of vectors of its shape."""
    source, shape = network.vector(node)
    network.nonlinear(node, sources or [source], function, shape)


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
