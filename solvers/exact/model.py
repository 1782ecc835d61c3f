"""A mixed-integer linear program as plain arrays, with nothing of any solver in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from models.errors import BoundsError, InvalidInputError, ShapeError
from solvers.errors import UnsupportedMethodError

if TYPE_CHECKING:
    SparseMatrix = sp.csr_array[np.float64, tuple[int, int]]

__all__ = [
    "SMALLEST_COEFFICIENT",
    "MilpModel",
    "ModelTooLargeError",
    "Rows",
    "range_over",
    "relax_small_coefficients",
]

FloatArray = NDArray[np.float64]

SMALLEST_COEFFICIENT = 2e-9
"""Smaller coefficients are absorbed into bounds: solvers drop what is below 1e-9 in silence."""

_ROUNDINGS_PER_TERM = 64
"""For the coefficients themselves, which were summed up over the layers they come from."""


class ModelTooLargeError(UnsupportedMethodError):
    """The program would have more nonzeros than the options allow."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Linear constraints `lower <= matrix @ columns <= upper`.

    Attributes:
        matrix: Shape `(rows, columns)`.
        lower, upper: Shape `(rows,)`; infinite where a side is open.
    """

    matrix: SparseMatrix
    lower: FloatArray
    upper: FloatArray


def relax_small_coefficients(
    rows: Rows, column_lower: FloatArray, column_upper: FloatArray
) -> Rows:
    """Remove coefficients that a solver would drop, widening each row by their worst case.

    Every point that satisfies the old rows satisfies the new ones, so a bound proved with the new
    rows holds for the old. Dropping them without widening could cut off true points.

    Args:
        rows: Constraints over the columns.
        column_lower: Shape `(columns,)`, finite.
        column_upper: Same shape.

    Returns:
        Rows whose coefficients are all at least `SMALLEST_COEFFICIENT` in size.
    """
    matrix = rows.matrix
    small = np.abs(matrix.data) < SMALLEST_COEFFICIENT
    if not small.any():
        return rows
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))[small]
    ends = np.stack(
        [
            matrix.data[small] * column_lower[matrix.indices[small]],
            matrix.data[small] * column_upper[matrix.indices[small]],
        ]
    )
    lower, upper = rows.lower.copy(), rows.upper.copy()
    np.subtract.at(lower, row, ends.max(axis=0))
    np.subtract.at(upper, row, ends.min(axis=0))
    data = matrix.data.copy()
    data[small] = 0.0
    kept = sp.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)
    kept.eliminate_zeros()
    return Rows(kept, lower, upper)


def range_over(
    matrix: SparseMatrix, offset: FloatArray, column_lower: FloatArray, column_upper: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return bounds of `matrix @ columns + offset` over boxes, a little widened for rounding."""
    columns = matrix.shape[1]
    low, high = column_lower[:columns], column_upper[:columns]
    positive, negative = matrix.maximum(0), matrix.minimum(0)
    lower = positive @ low + negative @ high + offset
    upper = positive @ high + negative @ low + offset
    slack = 1e-9 * (1.0 + np.abs(lower) + np.abs(upper))
    return lower - slack, upper + slack


@dataclass(frozen=True, eq=False)
class MilpModel:
    """Minimise `objective @ columns + offset` subject to rows, boxes and integrality.

    Attributes:
        rows: Constraints.
        column_lower, column_upper: Shape `(columns,)`, finite: every column is boxed, which is
            what makes small coefficients absorbable and every bound finite.
        integral: Shape `(columns,)`, bool.
        objective: Shape `(columns,)`.
        offset: Constant term of the objective.

    Raises:
        ShapeError: Arrays do not fit together.
        BoundsError: A column's box is empty or not finite.
        InvalidInputError: A coefficient or row bound is not a number, or a coefficient is infinite.
    """

    rows: Rows
    column_lower: FloatArray
    column_upper: FloatArray
    integral: NDArray[np.bool_]
    objective: FloatArray
    offset: float

    def __post_init__(self) -> None:
        columns = self.column_lower.shape
        arrays = (self.column_upper, self.integral, self.objective)
        sides = (self.rows.lower.shape, self.rows.upper.shape)
        if any(array.shape != columns for array in arrays) or any(
            side != self.rows.matrix.shape[:1] for side in sides
        ):
            raise ShapeError("the arrays of a linear program differ in length")
        if self.rows.matrix.shape[1:] != columns:
            raise ShapeError(
                f"rows speak of {self.rows.matrix.shape[1]} columns, there are {columns[0]}"
            )
        boxed = np.isfinite(self.column_lower) & np.isfinite(self.column_upper)
        if not (boxed & (self.column_lower <= self.column_upper)).all():
            raise BoundsError("a column of the linear program has an empty or infinite box")
        finite = np.isfinite(self.rows.matrix.data).all() and np.isfinite(self.objective).all()
        numbers = not (np.isnan(self.rows.lower).any() or np.isnan(self.rows.upper).any())
        if not (finite and numbers and np.isfinite(self.offset)):
            raise InvalidInputError(
                "the linear program has coefficients that are not finite; "
                "check the network's weights and the bounds for NaN and infinity"
            )

    @property
    def column_count(self) -> int:
        """Number of columns."""
        return int(self.column_lower.size)

    @property
    def row_count(self) -> int:
        """Number of rows."""
        return int(self.rows.lower.size)

    @property
    def nonzeros(self) -> int:
        """Number of coefficients in the rows."""
        return int(self.rows.matrix.nnz)

    @property
    def integers(self) -> int:
        """Number of integral columns."""
        return int(self.integral.sum())

    @cached_property
    def total_width(self) -> float:
        """Sum of the widths of all boxes: what a violated dual constraint can cost."""
        return float((self.column_upper - self.column_lower).sum())

    def minimum_over_boxes(self) -> float:
        """Return the least objective over the boxes alone, a bound that needs no solver.

        It is lowered by what rounding may add when that many terms are summed up.
        """
        lows, highs = self.objective * self.column_lower, self.objective * self.column_upper
        size = float(np.maximum(np.abs(lows), np.abs(highs)).sum()) + abs(self.offset)
        rounding = (self.column_count + _ROUNDINGS_PER_TERM) * np.finfo(np.float64).eps
        return float(np.minimum(lows, highs).sum() + self.offset - rounding * size)

    def best_corner(self) -> FloatArray:
        """Return the corner of the boxes with the least objective, shape `(columns,)`."""
        return np.where(self.objective > 0, self.column_lower, self.column_upper)

    def relaxed(self) -> MilpModel:
        """Return the linear relaxation."""
        return replace(self, integral=np.zeros_like(self.integral))

    def minimising(self, objective: FloatArray, offset: float) -> MilpModel:
        """Return the program with another objective, small coefficients absorbed into its offset.

        Args:
            objective: Shape `(columns,)`, or shorter: missing columns count as 0.
            offset: Constant term.

        Raises:
            InvalidInputError: A coefficient is not finite.
        """
        full = np.zeros(self.column_count)
        full[: objective.size] = objective
        if not np.isfinite(full).all():
            raise InvalidInputError("the objective of a linear program is not finite")
        small = np.abs(full) < SMALLEST_COEFFICIENT
        ends = np.minimum(full * self.column_lower, full * self.column_upper)
        worst = float(ends[small].sum())
        return replace(self, objective=np.where(small, 0.0, full), offset=offset + worst)

    def minimising_maximum(self, matrix: SparseMatrix, offset: FloatArray) -> MilpModel:
        """Return the program that minimises the largest of several affine functions.

        One row needs no more than an objective; several get a column t with t ≥ each of them.

        Args:
            matrix: Shape `(functions, columns or fewer)`.
            offset: Shape `(functions,)`.
        """
        wide = sp.csr_array(
            (matrix.data, matrix.indices, matrix.indptr),
            shape=(matrix.shape[0], self.column_count),
        )
        if wide.shape[0] == 1:
            return self.minimising(wide.toarray()[0], float(offset[0]))
        lower, upper = range_over(wide, offset, self.column_lower, self.column_upper)
        column = sp.csr_array(np.full((wide.shape[0], 1), -1.0))
        limit = np.full(wide.shape[0], np.inf)
        column_lower = np.append(self.column_lower, lower.max())
        column_upper = np.append(self.column_upper, upper.max())
        new = relax_small_coefficients(
            Rows(sp.hstack([wide, column], format="csr"), -limit, -offset),
            column_lower,
            column_upper,
        )
        old = sp.csr_array(
            (self.rows.matrix.data, self.rows.matrix.indices, self.rows.matrix.indptr),
            shape=(self.row_count, self.column_count + 1),
        )
        return MilpModel(
            Rows(
                sp.vstack([old, new.matrix], format="csr"),
                np.concatenate([self.rows.lower, new.lower]),
                np.concatenate([self.rows.upper, new.upper]),
            ),
            column_lower,
            column_upper,
            np.append(self.integral, False),
            np.append(np.zeros(self.column_count), 1.0),
            0.0,
        )
