"""Affine functions of the columns: what the value of a node is while a program is built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

if TYPE_CHECKING:
    from solvers.exact.model import SparseMatrix

__all__ = ["Affine", "diagonal", "from_triplets"]

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]

_ROUNDING_UNITS = 64.0
"""So many units of rounding of everything that was added up are given up."""


def from_triplets(
    values: FloatArray, rows: IndexArray, columns: IndexArray, shape: tuple[int, int]
) -> SparseMatrix:
    """Return a sparse matrix; entries at the same place are added, zeros left out."""
    matrix = sp.coo_array((values, (rows, columns)), shape=shape).tocsr()
    matrix.eliminate_zeros()
    return matrix


def diagonal(values: FloatArray) -> SparseMatrix:
    """Return the square matrix with these values on its diagonal."""
    index = np.arange(values.size)
    return from_triplets(values, index, index, (values.size, values.size))


@dataclass(frozen=True, eq=False)
class Affine:
    """`matrix @ columns + offset`, one entry per value of a node in row-major order.

    Attributes:
        matrix: Shape `(size, columns at the time)`; later columns count as 0.
        offset: Shape `(size,)`.
        added: Magnitudes of all that was added up since columns, which may have cancelled; the same
            shape.
    """

    matrix: SparseMatrix
    offset: FloatArray
    added: FloatArray

    @classmethod
    def constant(cls, values: FloatArray) -> Affine:
        """Return a value that depends on no column."""
        held = values.astype(np.float64)
        return cls(sp.csr_array((values.size, 0)), held, np.abs(held))

    @classmethod
    def of_columns(cls, columns: IndexArray, reach: FloatArray | float = 0.0) -> Affine:
        """Return the columns themselves, shape `(size,)`.

        Args:
            columns: Their indices.
            reach: Their largest magnitudes; 0 leaves them out of `rounding`.
        """
        width = int(columns.max()) + 1 if columns.size else 0
        ones, index = np.ones(columns.size), np.arange(columns.size)
        matrix = from_triplets(ones, index, columns, (columns.size, width))
        return cls(matrix, np.zeros(columns.size), np.broadcast_to(reach, columns.shape))

    @property
    def size(self) -> int:
        """Number of values."""
        return int(self.offset.size)

    @property
    def rounding(self) -> FloatArray:
        """How far the values may be off those of real arithmetic, shape `(size,)`."""
        return _ROUNDING_UNITS * np.finfo(np.float64).eps * self.added

    def widened(self, columns: int) -> SparseMatrix:
        """Return the matrix with empty columns added up to `columns`."""
        matrix = self.matrix
        return sp.csr_array(
            (matrix.data, matrix.indices, matrix.indptr), shape=(self.size, columns)
        )

    def mapped(self, matrix: SparseMatrix, offset: FloatArray | float = 0.0) -> Affine:
        """Return `matrix @ self + offset`."""
        added = np.asarray(abs(matrix) @ self.added) + np.abs(offset)
        moved = np.asarray(matrix @ self.offset) + offset
        return Affine((matrix @ self.matrix).tocsr(), moved, added)

    def taken(self, index: IndexArray, fill: float = 0.0) -> Affine:
        """Return the values at `index`; −1 stands for the constant `fill`."""
        chosen = index >= 0
        at = np.flatnonzero(chosen)
        shape = (index.size, self.size)
        picked = from_triplets(np.ones(at.size), at, index[chosen], shape)
        return self.mapped(picked, np.where(chosen, 0.0, fill))

    def plus(self, other: Affine) -> Affine:
        """Return the elementwise sum."""
        columns = max(self.matrix.shape[1], other.matrix.shape[1])
        total = self.widened(columns) + other.widened(columns)
        return Affine(total.tocsr(), self.offset + other.offset, self.added + other.added)

    def scaled(self, factors: FloatArray | float) -> Affine:
        """Return the values times one factor, or one factor each."""
        full = np.broadcast_to(np.asarray(factors, dtype=np.float64), self.offset.shape)
        return self.mapped(diagonal(full))

    def shifted(self, by: FloatArray | float) -> Affine:
        """Return the values plus a constant, or one constant each."""
        return Affine(self.matrix, self.offset + by, self.added + np.abs(by))

    def replaced(self, at: IndexArray, values: Affine) -> Affine:
        """Return the values with those at the positions `at` replaced."""
        index = np.arange(self.size)
        index[at] = self.size + np.arange(at.size)
        return Affine.stacked([self, values]).taken(index)

    @staticmethod
    def stacked(parts: Sequence[Affine]) -> Affine:
        """Return all values of several functions, one after the other."""
        columns = max(part.matrix.shape[1] for part in parts)
        matrix = sp.vstack([part.widened(columns) for part in parts], format="csr")
        offset, added = ([getattr(p, name) for p in parts] for name in ("offset", "added"))
        return Affine(matrix, np.concatenate(offset), np.concatenate(added))
