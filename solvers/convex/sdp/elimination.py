"""Positive definite matrices with a diagonal block that is eliminated.

Rows and columns 1 to k of the dual matrix belong to inputs. While no constraint couples two of
them, that block D is diagonal, and the matrix is positive definite exactly where D is and its Schur
complement T − BᵀD⁻¹B is: a matrix with one row per neuron instead of one per pixel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

__all__ = ["Elimination"]

FloatArray = NDArray[np.float64]


class Elimination:
    """Tests and inverts symmetric matrices of one size.

    Args:
        size: Of the matrices.
        count: How many rows, from the second on, form a diagonal block; 0 for none.
    """

    def __init__(self, size: int, count: int) -> None:
        self.count = count
        self._block = slice(1, 1 + count)
        self._rest = np.r_[0, 1 + count : size]

    def positive(self, matrix: FloatArray) -> bool:
        """Return whether a matrix is positive definite, in float64."""
        reduced = self._reduced(matrix)
        return reduced is not None and lapack.dpotrf(reduced[0], lower=1, overwrite_a=1)[1] == 0

    def inverse(self, matrix: FloatArray) -> FloatArray | None:
        """Return the inverse of a positive definite matrix; None where it is not."""
        reduced = self._reduced(matrix)
        if reduced is None:
            return None
        complement, steps = reduced
        factor, info = lapack.dpotrf(complement, lower=1, overwrite_a=1)
        if info != 0:
            return None
        half = np.tril(lapack.dpotri(factor, lower=1, overwrite_c=1)[0])
        inner: FloatArray = half + np.tril(half, -1).T
        if not self.count:
            return inner
        result = np.empty_like(matrix)
        mixed = -steps @ inner
        result[np.ix_(self._rest, self._rest)] = inner
        result[self._block, self._rest] = mixed
        result[self._rest, self._block] = mixed.T
        result[self._block, self._block] = -mixed @ steps.T
        index = np.arange(1, 1 + self.count)
        result[index, index] += 1.0 / np.diag(matrix)[self._block]
        return result

    def _reduced(self, matrix: FloatArray) -> tuple[FloatArray, FloatArray] | None:
        """Return the Schur complement and D⁻¹B; None where D is not positive."""
        if not self.count:
            return matrix.copy(), matrix[:0]
        diagonal = np.diag(matrix)[self._block]
        if not (diagonal > 0).all():
            return None
        border = matrix[self._block][:, self._rest]
        steps = border / diagonal[:, None]
        return matrix[np.ix_(self._rest, self._rest)] - border.T @ steps, steps
