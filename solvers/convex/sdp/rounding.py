"""Error bounds of sums and products in float64, and of Cholesky factorisations.

Source: Higham 2002, chapter 3; Rump 2006, *Verification of positive definiteness*.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

__all__ = ["cholesky_proves", "gamma"]

FloatArray = NDArray[np.float64]

_UNIT = float(np.finfo(np.float64).eps)
"""Twice the unit roundoff: the error bounds, themselves computed in float64, stay bounds."""


def gamma(operations: int) -> float:
    """Return a bound of the relative error of a sum of products with that many roundings."""
    return operations * _UNIT / (1.0 - operations * _UNIT)


def cholesky_proves(matrix: FloatArray) -> float:
    """Return a number that the least eigenvalue of a symmetric matrix is proved to exceed.

    If the factorisation in float64 runs to its end, then with any order of summation
    λmin(matrix) ≥ −γ(n + 1) · trace, because RᵀR = matrix + E with ‖E‖ ≤ γ(n + 1) ‖R‖²_F.

    Args:
        matrix: Shape `(n, n)`; its upper triangle is read.

    Returns:
        −γ · trace, or −∞ where the factorisation breaks down or meets what is not a number.
    """
    trace = float(np.trace(matrix))
    if not np.isfinite(trace):
        return -np.inf
    factor, info = lapack.dpotrf(matrix, lower=0, clean=0, overwrite_a=0)
    if info != 0 or not np.isfinite(np.diag(factor)).all():
        return -np.inf
    return -gamma(2 * matrix.shape[0] + 8) * max(trace, 0.0)
