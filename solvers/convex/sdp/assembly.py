"""Sums of weighted products of forms as symmetric matrices."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from solvers.convex.sdp.program import Forms, Products

__all__ = ["WorkingForms"]

FloatArray = NDArray[np.float64]

_DENSE_SHARE = 0.1
"""From this share of entries on, products of matrices are faster dense."""


class WorkingForms:
    """The forms that some products use.

    Attributes:
        rows: Shape `(forms in use, n + 1)`, dense, or sparse where few entries are not 0.
        left, right: Where in `rows` the two forms of each product stand.

    Args:
        forms: All forms.
        products: Pairs of them.
    """

    def __init__(self, forms: Forms, products: Products) -> None:
        both = np.concatenate([products.left, products.right])
        used, place = np.unique(both, return_inverse=True)
        rows = forms.matrix[used]
        crowded = rows.nnz > _DENSE_SHARE * rows.shape[0] * rows.shape[1]
        self.rows = rows.toarray() if crowded else rows.tocsr()
        self.left, self.right = place[: products.count], place[products.count :]

    def weighted(self, weights: FloatArray) -> FloatArray:
        """Return Σ weightₖ Aₖ, shape `(n + 1, n + 1)`, Aₖ being the matrix of left · right."""
        count = self.rows.shape[0]
        kernel = sp.coo_array((weights, (self.left, self.right)), shape=(count, count)).tocsr()
        half = self.rows.T @ (kernel @ self.rows)
        dense: FloatArray = np.asarray(half.toarray() if sp.issparse(half) else half)
        return (dense + dense.T) / 2

    def times(self, matrix: FloatArray) -> FloatArray:
        """Return `rows @ matrix`."""
        return np.asarray(self.rows @ matrix)

    def against(self, matrix: FloatArray) -> FloatArray:
        """Return `matrix @ rowsᵀ` for a matrix with n + 1 columns."""
        return np.asarray((self.rows @ matrix.T).T)

    def bilinear(self, matrix: FloatArray) -> FloatArray:
        """Return left · matrix · right of every product, shape `(products,)`."""
        return np.asarray(self.against(self.times(matrix)))[self.left, self.right]
