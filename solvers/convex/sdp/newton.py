"""The linear system of a Newton step, from values of forms alone.

Constraints come in one order: X₀₀ = 1, then 1 − wᵢ² for every column, then the products.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from solvers.convex.sdp.assembly import WorkingForms

__all__ = ["newton_matrix", "values_of"]

FloatArray = NDArray[np.float64]

_CHUNK = 2_000_000
"""Entries that are gathered at a time."""


def values_of(forms: WorkingForms, matrix: FloatArray) -> FloatArray:
    """Return tr(Aₖ · matrix) of every constraint for a symmetric matrix."""
    diagonal = np.diag(matrix)
    products = forms.bilinear(matrix)
    return np.concatenate([diagonal[:1], diagonal[0] - diagonal[1:], products])


def newton_matrix(forms: WorkingForms, primal: FloatArray, inverse: FloatArray) -> FloatArray:
    """Return tr(Aₖ · primal · Aₗ · inverse), made symmetric; its lower triangle is filled."""
    size = inverse.shape[0]
    left, right = forms.left, forms.right
    total = size + left.size
    newton = np.zeros((total, total), order="F")
    joint = primal * inverse
    newton[0, 0] = joint[0, 0]
    newton[1:size, 0] = joint[0, 0] - joint[1:, 0]
    newton[1:size, 1:size] = joint[0, 0] - joint[1:, :1] - joint[:1, 1:] + joint[1:, 1:]
    if not left.size:
        return newton
    by_primal, by_inverse = forms.times(primal), forms.times(inverse)
    mixed = by_primal[left] * by_inverse[right]
    mixed += by_primal[right] * by_inverse[left]
    mixed *= 0.5
    newton[size:, 0] = mixed[:, 0]
    newton[size:, 1:size] = mixed[:, :1] - mixed[:, 1:]
    weights, values = forms.against(by_primal), forms.against(by_inverse)
    step = max(1, _CHUNK // left.size)
    for first in range(0, left.size, step):
        last = min(first + step, left.size)
        at, of = (left[first:last], right[first:last]), (left[:last], right[:last])
        block = np.zeros((last - first, last))
        for one, other in ((0, 1), (1, 0)):
            # numpy gathers columns of gathered rows fastest in two steps
            primal_rows, inverse_rows = weights[at[one]], values[at[other]]
            block += primal_rows[:, of[0]] * inverse_rows[:, of[1]]
            block += primal_rows[:, of[1]] * inverse_rows[:, of[0]]
        newton[size + first : size + last, size : size + last] = 0.25 * block
    return newton
