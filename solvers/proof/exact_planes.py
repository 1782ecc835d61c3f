"""Planes above ReLUs in exact arithmetic: what passes take in place of lines where they are.

A ReLU of z = w·x + b over a box of x is bounded by a·x + c, where c is the larger of what 0 − a·x
and z − a·x can be. Each is a sum of one end for each x. Nothing of this is shared with the checker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from solvers.proof.container import NeuronTree, ProofError
from solvers.proof.dyadic import Dyadic

__all__ = ["Plane", "Written", "planes_of"]

Corners = tuple[Dyadic, Dyadic]


@dataclass(frozen=True, eq=False)
class Written:
    """An upper bound of one value, by results of functions, and by the input.

    Attributes:
        weights: Coefficients by vector, `(values,)` each.
        sizes: The same of the absolute values of all that is multiplied and added up: positive
            where the value depends on another one, even if several ways cancel.
        bias: Shape `(1,)`.
    """

    weights: Mapping[int, Dyadic]
    sizes: Mapping[int, Dyadic]
    bias: Dyadic


@dataclass(frozen=True, eq=False)
class Plane:
    """One plane of a pass.

    Attributes:
        vector, index: The ReLU's input.
        part: Of the ReLU, a single number.
        share: Of its coefficients, in the order of the file.
    """

    vector: int
    index: int
    part: Dyadic
    share: Dyadic

    def derived(
        self, written: Written, known: Mapping[int, Corners]
    ) -> tuple[dict[int, Dyadic], Dyadic]:
        """Return slopes by vector, `(values,)` each, and the constant for them, shape `(1,)`.

        Args:
            written: The ReLU's input.
            known: Bounds of all vectors.
        """
        slopes, start = {}, 0
        idle, active = Dyadic.of(np.zeros(1)), written.bias
        for vector in sorted(written.weights):
            weight = written.weights[vector]
            places = np.flatnonzero(written.sizes[vector].above_zero())
            mine = self.share[start : start + len(places)]
            start += len(places)
            if mine.shape != places.shape:
                raise ProofError("a plane has too few shares")
            slope = Dyadic.of(np.zeros(weight.shape)).put(places, mine * weight[places])
            idle = idle + _most(-slope, known[vector])
            active = active + _most(weight - slope, known[vector])
            slopes[vector] = slope
        if start != self.share.shape[0]:
            raise ProofError("a plane has too many shares")
        return slopes, idle.greatest(active)


def _most(row: Dyadic, ends: Corners) -> Dyadic:
    """Return the largest value of a linear function in a box, shape `(1,)`."""
    positive, negative = row[None].clamped()
    low, high = ends
    return positive @ high + negative @ low


def planes_of(
    tree: NeuronTree, number: int, place: Callable[[int], tuple[int, int]]
) -> Iterator[Plane]:
    """Yield the planes of a pass of a tree.

    Args:
        tree: Whose passes.
        number: Of the pass: bounds of groups come first, leaves behind them.
        place: Gives vector and index of a value that the tree lists.
    """
    if tree.planes is None:
        return
    planes, most = tree.planes, float(np.iinfo(tree.planes.share.dtype).max)
    for at in np.flatnonzero(planes.user == number):
        own = slice(int(planes.start[at]), int(planes.start[at + 1]))
        part, share = Dyadic.of(planes.part[at : at + 1] / 255.0), planes.share[own] / most
        yield Plane(*place(int(planes.value[at])), part, Dyadic.of(share))
