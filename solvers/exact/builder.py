"""Columns and rows as they accumulate while a network is encoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from solvers.exact.affine import Affine, IndexArray
from solvers.exact.model import (
    MilpModel,
    ModelTooLargeError,
    Rows,
    range_over,
    relax_small_coefficients,
)

if TYPE_CHECKING:
    from solvers.exact.model import SparseMatrix

__all__ = ["ModelBuilder"]

FloatArray = NDArray[np.float64]


class ModelBuilder:
    """Collects columns and rows; `build` freezes them.

    Args:
        max_nonzeros: More coefficients than this raise `ModelTooLargeError`.
        outward: Whether rows give way by what rounding may have done to them. Multipliers then
            prove bounds of the network of real numbers; solvers with tolerances of their own do
            better without, for equations stay equations.
    """

    def __init__(self, max_nonzeros: int, *, outward: bool = False) -> None:
        self._max_nonzeros, self._outward = max_nonzeros, outward
        self._lower: list[FloatArray] = []
        self._upper: list[FloatArray] = []
        self._integral: list[NDArray[np.bool_]] = []
        self._rows: list[tuple[Affine, FloatArray, FloatArray]] = []
        self._nonzeros = 0
        self.columns = 0
        self.rows = 0

    def add_columns(
        self, lower: FloatArray, upper: FloatArray, *, integral: bool = False
    ) -> IndexArray:
        """Add columns between `lower` and `upper`, shape `(count,)`; return their indices."""
        first = self.columns
        self._lower.append(lower)
        self._upper.append(upper)
        self._integral.append(np.full(lower.size, integral))
        self.columns += int(lower.size)
        return np.arange(first, self.columns)

    def add_rows(self, function: Affine, lower: float, upper: float) -> IndexArray:
        """Add `lower <= function <= upper` for every entry; return the rows' indices.

        Raises:
            ModelTooLargeError: The program has grown past its limit.
        """
        self._nonzeros += int(function.matrix.nnz)
        self.check_size(0)
        slack = function.rounding if self._outward else 0.0
        sides = lower - function.offset - slack, upper - function.offset + slack
        self._rows.append((function, *sides))
        first = self.rows
        self.rows += function.size
        return np.arange(first, self.rows)

    def check_size(self, planned: int) -> None:
        """Refuse to go on when `planned` further coefficients would pass the limit.

        Raises:
            ModelTooLargeError: They would.
        """
        if self._nonzeros + planned > self._max_nonzeros:
            raise ModelTooLargeError(
                f"the linear program would have more than {self._max_nonzeros} coefficients; "
                "raise the limit, or use bounds or branch and bound on this network"
            )

    def range_of(self, function: Affine) -> tuple[FloatArray, FloatArray]:
        """Return bounds of a function over the boxes of the columns."""
        lower = np.concatenate([np.zeros(0), *self._lower])
        upper = np.concatenate([np.zeros(0), *self._upper])
        lower, upper = range_over(function.matrix, function.offset, lower, upper)
        return lower - function.rounding, upper + function.rounding

    def build(self) -> MilpModel:
        """Return the program so far, with objective 0."""
        column_lower = np.concatenate([np.zeros(0), *self._lower])
        column_upper = np.concatenate([np.zeros(0), *self._upper])
        blocks: list[SparseMatrix] = [
            function.widened(self.columns) for function, _, _ in self._rows
        ]
        empty: SparseMatrix = sp.csr_array((0, self.columns))
        matrix = sp.vstack([empty, *blocks], format="csr")
        matrix.sum_duplicates()
        rows = Rows(
            matrix,
            np.concatenate([np.zeros(0), *(lower for _, lower, _ in self._rows)]),
            np.concatenate([np.zeros(0), *(upper for _, _, upper in self._rows)]),
        )
        return MilpModel(
            rows=relax_small_coefficients(rows, column_lower, column_upper),
            column_lower=column_lower,
            column_upper=column_upper,
            integral=np.concatenate([np.zeros(0, dtype=np.bool_), *self._integral]),
            objective=np.zeros(self.columns),
            offset=0.0,
        )
