"""Which products of forms a solution of the relaxation breaks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from solvers.convex.sdp.program import Products, Program

__all__ = ["violated_products"]

FloatArray = NDArray[np.float64]

_LEAST = 1e-4
"""Violations below this, in forms of size about 1, are left alone."""


def violated_products(
    program: Program,
    products: Products,
    solution: FloatArray,
    *,
    count: int,
    eliminated: int,
) -> tuple[Products, FloatArray]:
    """Return the most violated products of two forms.

    Args:
        program: Gives the forms.
        products: What is there already, and is not returned again.
        solution: X, shape `(size, size)`, X₀₀ = 1; the value of f · g in it is fᵀXg.
        count: How many at most.
        eliminated: How many inputs may not be coupled with each other.

    Returns:
        Inequalities, worst first, and their values, all below 0.
    """
    forms = program.forms
    applied = np.asarray(forms.matrix @ solution)
    values = np.asarray(forms.matrix @ applied.T)
    values /= forms.reach[:, None]
    values /= forms.reach
    values[np.tril_indices_from(values)] = 0.0
    low = np.minimum(products.left, products.right)
    values[low, np.maximum(products.left, products.right)] = 0.0
    # (1 + w)(1 − w) ≥ 0 is the bound of the diagonal
    columns = np.arange(1, program.size)
    values[columns, columns + program.size - 1] = 0.0
    if eliminated:
        block = forms.matrix[:, 1 : 1 + eliminated]
        reads = np.diff(block.tocsr().indptr) > 0
        values[np.ix_(reads, reads)] = 0.0
    flat = values.ravel()
    count = min(count, flat.size)
    worst = np.argpartition(flat, count - 1)[:count]
    worst = worst[np.argsort(flat[worst], kind="stable")]
    worst = worst[flat[worst] < -_LEAST]
    left, right = np.divmod(worst, values.shape[0])
    return Products(left, right, np.zeros(left.size, dtype=np.bool_)), flat[worst]
