"""Multipliers that prove what CROWN proves: where the first-order method begins.

Going back from the objective, each neuron is replaced by a line below it: its slack or its height
where it counts positively, its triangle where it counts negatively. What is left of the objective
is a sum over columns that κ takes up: aw ≥ −|a| (1 + w²) / 2.

Source: Zhang et al. 2018, the backward pass, in the terms of the lifted program.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from solvers.convex.sdp.program import Program
from solvers.convex.sdp.safe import Multipliers

if TYPE_CHECKING:
    from solvers.exact.model import SparseMatrix

__all__ = ["CrownStart", "crown_start"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CrownStart:
    """Multipliers and what they were derived from.

    Attributes:
        multipliers: For the program's own products.
        bound: γ that they prove, in the objective's scale.
        importance: How much each column counted when its turn came, shape `(columns,)`.
    """

    multipliers: Multipliers
    bound: float
    importance: FloatArray


def crown_start(program: Program) -> CrownStart:
    """Return the multipliers of one backward pass with adaptive slopes.

    Args:
        program: With its objective.
    """
    forms, count = program.forms, program.forms.hinges
    matrix, columns = forms.matrix, forms.height
    left = program.objective.coefficients.copy()
    importance = np.zeros(program.size)
    slack, triangle = np.zeros(count), np.zeros(count)
    slacks, triangles = forms.of_hinges(0), forms.of_hinges(1)
    for hinge in range(count - 1, -1, -1):
        column = int(columns[hinge])
        importance[column] = abs(left[column])
        if left[column] > 0.0 and forms.steep[hinge]:
            slack[hinge] = _removed(matrix, int(slacks[hinge]), column, left)
        elif left[column] < 0.0:
            triangle[hinge] = _removed(matrix, int(triangles[hinge]), column, left)
    importance = np.maximum(importance, np.abs(left))[1:]
    product = np.concatenate([np.zeros(count), slack, triangle])
    multipliers = Multipliers(program.products, np.abs(left[1:]) / 2, product)
    return CrownStart(multipliers, float(left[0] - np.abs(left[1:]).sum()), importance)


def _removed(matrix: SparseMatrix, row: int, column: int, left: FloatArray) -> float:
    """Take a multiple of a form off `left` so that a column drops out; return the multiple."""
    start, stop = matrix.indptr[row], matrix.indptr[row + 1]
    at, values = matrix.indices[start:stop], matrix.data[start:stop]
    factor = float(left[column] / values[at == column].sum())
    left[at] -= factor * values
    left[column] = 0.0
    return factor
