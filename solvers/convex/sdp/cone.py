"""The relaxation as arrays for cone solvers, assembled directly.

Minimise cᵀx subject to Ax + s = b, s in a product of cones: zero, nonnegative, positive
semidefinite. The variables are the entries Xᵢⱼ, i ≥ j, that some constraint or cone reads. With
several hidden layers one large cone becomes one per group of neighbouring layers, which share the
entries of the layers between: without loss, because the pattern of the layers is chordal.

Source: Raghunathan et al. 2018 for the program; Batten et al. 2021, *Efficient neural network
verification via layer-based semidefinite relaxations*, for the decomposition.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from solvers.budget import Budget
from solvers.convex.sdp.program import Products, Program
from solvers.convex.sdp.safe import Multipliers
from solvers.exact.affine import IndexArray

if TYPE_CHECKING:
    from solvers.exact.model import SparseMatrix

__all__ = ["ConeProgram", "ConeRequest", "ConeSolver", "build_cone_program", "layer_groups"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ConeProgram:
    """Arrays of one program.

    Attributes:
        matrix: A, shape `(zero + nonnegative + triangles, variables)`.
        right: b.
        cost: c.
        zero: Rows of the zero cone, first.
        nonnegative: Rows of the nonnegative cone, behind them.
        cones: Rows of each semidefinite cone, as the indices i ≥ j of its entries in the order of
            the lower triangle by columns; off the diagonal a row is √2 times the entry.
        products: The constraints whose duals are wanted.
        columns: How many columns w has.
    """

    matrix: SparseMatrix
    right: FloatArray
    cost: FloatArray
    zero: int
    nonnegative: int
    cones: tuple[int, ...]
    products: Products
    columns: int

    def multipliers(self, dual: FloatArray) -> Multipliers:
        """Return what a solver's dual says: one number per row of A; any shape or value is taken.

        What is missing counts as 0.
        """
        wanted = self.zero + self.nonnegative
        flat = np.zeros(wanted)
        given = np.asarray(dual, dtype=np.float64).ravel()[:wanted]
        flat[: given.size] = given
        equality = self.products.equality
        product = np.zeros(self.products.count)
        product[equality] = -flat[1 : self.zero]
        bounded = flat[self.zero :]
        product[~equality] = bounded[self.columns :]
        return Multipliers(self.products, bounded[: self.columns], product)


@dataclass(frozen=True)
class ConeRequest:
    """Limits of one solve.

    Attributes:
        iterations: At most; None for the solver's own limit.
        tolerance: Relative and absolute.
        budget: When to stop.
    """

    iterations: int | None
    tolerance: float
    budget: Budget


ConeSolver = Callable[[ConeProgram, ConeRequest], tuple[FloatArray, bool, int]]
"""Returns the dual of every row of A, whether it calls itself done, and its iterations."""


def layer_groups(program: Program) -> list[IndexArray]:
    """Return the rows of X that share a cone: neighbouring layers, joined where needed.

    A neuron may read several layers, where stable ones in between are substituted or the network
    has skip connections; then all layers from the first to the last it touches share a cone.
    """
    level = np.concatenate([[-1], program.level])
    highest = int(level.max(initial=0))
    spans = {(low, low + 1) for low in range(highest)} or {(0, 0)}
    forms, products = program.forms.matrix, program.products
    reads = forms.copy()
    reads.data = np.ones_like(reads.data)
    low_of, high_of = np.full(forms.shape[0], highest), np.zeros(forms.shape[0], dtype=np.int64)
    for row in np.unique(np.concatenate([products.left, products.right])):
        touched = level[reads.indices[reads.indptr[row] : reads.indptr[row + 1]]]
        touched = touched[touched >= 0]
        low_of[row], high_of[row] = touched.min(initial=highest), touched.max(initial=0)
    low = np.minimum(low_of[products.left], low_of[products.right])
    high = np.maximum(high_of[products.left], high_of[products.right])
    spans |= {(int(a), int(b)) for a, b in zip(low, high, strict=True) if a <= b}
    kept = [s for s in spans if not any(o != s and o[0] <= s[0] and s[1] <= o[1] for o in spans)]
    return [np.flatnonzero((level < 0) | ((level >= a) & (level <= b))) for a, b in sorted(kept)]


def build_cone_program(program: Program, *, decompose: bool) -> ConeProgram:
    """Return the arrays of a program with its own products.

    Args:
        program: The relaxation.
        decompose: Whether layers get cones of their own.
    """
    size, products = program.size, program.products
    groups = layer_groups(program) if decompose else [np.arange(size)]
    entries = [_lower_triangle(group) for group in groups]
    keys = np.unique(np.concatenate([low * size + high for low, high in entries]))
    builder = _Rows(size, keys)
    order = np.argsort(~products.equality, kind="stable")
    equalities = int(products.equality.sum())
    quadratic = _product_rows(program, builder)[order]
    diagonal = _difference_rows(builder)
    corner = builder.single(np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64))
    cones = [
        sp.diags_array(np.where(low == high, 1.0, np.sqrt(2.0)), format="csr")
        @ builder.single(low, high)
        for low, high in entries
    ]
    matrix = sp.vstack(
        [corner, quadratic[:equalities], -diagonal, -quadratic[equalities:], *(-c for c in cones)],
        format="csc",
    )
    right = np.zeros(matrix.shape[0])
    right[0] = 1.0
    coefficients = program.objective.coefficients
    cost = np.asarray(
        builder.single(np.zeros(size, dtype=np.int64), np.arange(size)).T @ coefficients
    )
    return ConeProgram(
        matrix,
        right,
        cost,
        1 + equalities,
        size - 1 + products.count - equalities,
        tuple(group.size for group in groups),
        products,
        size - 1,
    )


def _lower_triangle(group: IndexArray) -> tuple[IndexArray, IndexArray]:
    """Return column and row of the lower triangle by columns: column first, row at least it."""
    column, row = np.triu_indices(group.size)
    return group[column], group[row]


@dataclass(frozen=True, eq=False)
class _Rows:
    """Sparse rows over the entries of X in use.

    Attributes:
        size: Rows of X.
        keys: Sorted `column · size + row` of the entries, row ≥ column.
    """

    size: int
    keys: IndexArray

    def of(
        self, number: IndexArray, low: IndexArray, high: IndexArray, values: FloatArray, count: int
    ) -> SparseMatrix:
        """Return `count` rows with values at entries (low, high), low ≤ high."""
        place = np.searchsorted(self.keys, low * self.size + high)
        return sp.coo_array((values, (number, place)), shape=(count, self.keys.size)).tocsr()

    def single(self, low: IndexArray, high: IndexArray) -> SparseMatrix:
        """Return rows that pick one entry each."""
        return self.of(np.arange(low.size), low, high, np.ones(low.size), low.size)


def _difference_rows(rows: _Rows) -> SparseMatrix:
    """X₀₀ − Xᵢᵢ of every column."""
    index = np.arange(1, rows.size)
    corner = np.zeros(index.size, dtype=np.int64)
    return rows.single(corner, corner) - rows.single(index, index)


def _product_rows(program: Program, rows: _Rows) -> SparseMatrix:
    """fᵀXg of every product, in order."""
    forms, products = program.forms.matrix, program.products
    numbers, lows, highs, values = [], [], [], []
    for number, (left, right) in enumerate(zip(products.left, products.right, strict=True)):
        one = slice(forms.indptr[left], forms.indptr[left + 1])
        two = slice(forms.indptr[right], forms.indptr[right + 1])
        value = np.outer(forms.data[one], forms.data[two]).ravel()
        row = np.repeat(forms.indices[one], two.stop - two.start)
        column = np.tile(forms.indices[two], one.stop - one.start)
        numbers.append(np.full(value.size, number))
        lows.append(np.minimum(row, column))
        highs.append(np.maximum(row, column))
        values.append(value)
    if not numbers:
        return sp.csr_array((0, rows.keys.size))
    return rows.of(
        np.concatenate(numbers),
        np.concatenate(lows).astype(np.int64),
        np.concatenate(highs).astype(np.int64),
        np.concatenate(values),
        products.count,
    )
