"""The relaxation as data: forms that are never negative, and products of two of them.

Every column v is scaled to w = (v − middle) / radius ∈ [−1, 1], and w₀ = 1. A *form* is a linear
function of w that is at least 0 wherever w comes from a run of the network. The product of any two
forms is then at least 0, and slack · height is 0 for every neuron: quadratic constraints
wᵀ A w ≥ 0, whose duals are what every method here looks for. A form times 1 is the linear
constraint itself; the products of bounds, slacks and triangle rows are the rows of the
reformulation-linearisation technique (RLT).

Source: Raghunathan et al. 2018, *Semidefinite relaxations for certifying robustness to adversarial
examples*; Sherali and Adams 1990 for the products.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from solvers.convex.sdp.lift import LiftedNetwork, Value
from solvers.convex.sdp.rounding import gamma
from solvers.exact.affine import IndexArray

if TYPE_CHECKING:
    from solvers.exact.model import SparseMatrix

__all__ = ["Forms", "Objective", "Products", "Program", "build_program"]

_ERROR = 1e-9
"""Errors of forms may be scaled up to this."""

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Forms:
    """Linear functions of w = (1, w₁, …, wₙ), each at least 0, their size about 1.

    Attributes:
        matrix: Shape `(forms, n + 1)`. The rows: 1; 1 + wᵢ; 1 − wᵢ; then, for every hinge
            z = max(0, ẑ) with ẑ ∈ [lower, upper], the slack z − ẑ; the triangle
            upper (ẑ − lower) / (upper − lower) − z; ẑ − lower; upper − ẑ. Each is scaled by a
            power of two.
        scale: These powers of two, shape `(forms,)`.
        error: Shape `(forms,)`: how far below 0 a row may be at a run of the network.
        reach: Shape `(forms,)`: largest magnitude of a row for w in the cube.
        height: For every hinge, the form 1 + w of its column, which is a multiple of z.
        steep: For every hinge, whether upper ≥ −lower.
    """

    matrix: SparseMatrix
    scale: FloatArray
    error: FloatArray
    reach: FloatArray
    height: IndexArray
    steep: BoolArray

    @property
    def hinges(self) -> int:
        """Number of hinges."""
        return int(self.height.size)

    def of_hinges(self, kind: int) -> IndexArray:
        """Return the rows of one kind, one per hinge: 0 slack, 1 triangle, 2 and 3 the bounds."""
        first = self.matrix.shape[0] - 4 * self.hinges
        return first + kind * self.hinges + np.arange(self.hinges)


@dataclass(frozen=True, eq=False)
class Products:
    """Constraints left(w) · right(w) ≥ 0, or = 0, of pairs of forms.

    Attributes:
        left, right: Rows of the forms, shape `(products,)`.
        equality: Whether the product is 0, shape `(products,)`.
    """

    left: IndexArray
    right: IndexArray
    equality: BoolArray

    @property
    def count(self) -> int:
        """Number of products."""
        return int(self.left.size)

    def taken(self, index: IndexArray | BoolArray) -> Products:
        """Return some of the products."""
        return Products(self.left[index], self.right[index], self.equality[index])

    def plus(self, other: Products) -> Products:
        """Return both, one after the other."""
        return Products(
            np.concatenate([self.left, other.left]),
            np.concatenate([self.right, other.right]),
            np.concatenate([self.equality, other.equality]),
        )


@dataclass(frozen=True, eq=False)
class Objective:
    """A row of a clause: scale · (coefficients · w), give or take `error`.

    Attributes:
        coefficients: Shape `(n + 1,)`, their sum of magnitudes at most 1.
        scale: A power of two.
        error: How far the row of the network may lie from that, at most.
    """

    coefficients: FloatArray
    scale: float
    error: float


@dataclass(frozen=True, eq=False)
class Program:
    """Minimise an objective over w, subject to wᵢ² ≤ 1 and products of forms.

    Attributes:
        forms: All forms.
        products: The constraints that every relaxation has: equalities, slacks and triangles.
        objective: What is minimised.
        inputs: How many columns are inputs; they come first.
        level: Of every column: 0 for inputs, then the layer of the neuron.
    """

    forms: Forms
    products: Products
    objective: Objective
    inputs: int
    level: IndexArray

    @property
    def size(self) -> int:
        """Rows of the matrix variable: one more than there are columns."""
        return int(self.level.size) + 1

    def with_objective(self, objective: Objective) -> Program:
        """Return the same constraints under another objective."""
        return replace(self, objective=objective)


@dataclass(frozen=True, eq=False)
class _Scaling:
    """v = middle + radius · w for every column.

    Attributes:
        middle, radius: Shape `(columns,)`.
        reach: Upper bound of |middle| + |radius|.
    """

    middle: FloatArray
    radius: FloatArray

    @classmethod
    def of(cls, lifted: LiftedNetwork) -> _Scaling:
        middle = lifted.lower + (lifted.upper - lifted.lower) / 2
        exact = lifted.lower == 0.0
        radius = np.maximum(lifted.upper - middle, middle - lifted.lower)
        # Halving is exact, so that 1 + w is a multiple of z; elsewhere rounding goes outwards.
        return cls(middle, np.where(exact, middle, radius * (1.0 + 4 * np.finfo(float).eps)))

    def rows(self, value: Value) -> tuple[SparseMatrix, FloatArray]:
        """Return the values as rows over w, and their errors."""
        matrix = value.function.widened(self.middle.size)
        rounding = gamma(int(np.diff(matrix.indptr).max(initial=0)) + 4)
        size = np.abs(value.function.offset) + np.asarray(
            abs(matrix) @ (np.abs(self.middle) + np.abs(self.radius))
        )
        constant = value.function.offset + np.asarray(matrix @ self.middle)
        moving = matrix @ sp.diags_array(self.radius, format="csr")
        rows = sp.hstack([sp.csr_array(constant[:, None]), moving], format="csr")
        return rows, value.error + rounding * size


def build_program(lifted: LiftedNetwork) -> tuple[Program, Scalable]:
    """Return the constraints with objective 0, and what turns rows of outputs into objectives."""
    scaling = _Scaling.of(lifted)
    forms = _forms(lifted, scaling)
    nothing = Objective(np.zeros(lifted.columns + 1), 1.0, 0.0)
    program = Program(forms, _products(forms), nothing, lifted.inputs, lifted.level)
    return program, Scalable(lifted, scaling)


@dataclass(frozen=True, eq=False)
class Scalable:
    """The output of a lifted network over w."""

    lifted: LiftedNetwork
    scaling: _Scaling

    def objective(self, row: FloatArray, offset: float) -> Objective:
        """Return `row @ output − offset` as an objective.

        Args:
            row: Shape `(outputs,)`.
            offset: A number.
        """
        output = self.lifted.output
        function = output.function.mapped(sp.csr_array(row[None]), np.array([-offset]))
        rounding = gamma(row.size + 4)
        size = np.abs(output.function.offset) + np.asarray(
            abs(output.function.matrix)
            @ np.maximum(np.abs(self.lifted.lower), np.abs(self.lifted.upper))[
                : output.function.matrix.shape[1]
            ]
        )
        error = np.abs(row) @ (output.error + rounding * size) + rounding * abs(offset)
        rows, errors = self.scaling.rows(Value(function, np.array([error])))
        dense = rows.toarray()[0]
        scale = _power_of_two(float(np.abs(dense).sum()))
        return Objective(dense / scale, scale, float(errors[0]))


def _power_of_two(size: float) -> float:
    """Return the least power of two that is at least `size`; 1 for 0."""
    return float(2.0 ** np.ceil(np.log2(size))) if size > 0 else 1.0


def _forms(lifted: LiftedNetwork, scaling: _Scaling) -> Forms:
    columns, hinges = lifted.columns, lifted.hinges
    eye = sp.eye_array(columns, format="csr")
    ones = sp.csr_array(np.ones((columns, 1)))
    bounds = [sp.hstack([ones, eye], format="csr"), sp.hstack([ones, -eye], format="csr")]
    rows, error = scaling.rows(hinges.source)
    kinked, errors = _hinge_rows(lifted, scaling, rows, error)
    constant = sp.csr_array(([1.0], ([0], [0])), shape=(1, columns + 1))
    matrix = sp.vstack([constant, *bounds, kinked], format="csr")
    all_errors = np.concatenate([np.zeros(2 * columns + 1), errors])
    reach = np.asarray(abs(matrix).sum(axis=1)).ravel() * (1.0 + gamma(columns + 2))
    # A form that is all but 0 is left as it is, or its error would be blown up with it.
    least = np.maximum(reach, np.maximum(all_errors / _ERROR, 1e-300))
    scale = np.where(np.arange(reach.size) <= 2 * columns, 1.0, 2.0 ** -np.ceil(np.log2(least)))
    matrix = (sp.diags_array(scale, format="csr") @ matrix).tocsr()
    steep = hinges.upper >= -hinges.lower
    return Forms(matrix, scale, all_errors * scale, reach * scale, 1 + hinges.column, steep)


def _hinge_rows(
    lifted: LiftedNetwork, scaling: _Scaling, rows: SparseMatrix, error: FloatArray
) -> tuple[SparseMatrix, FloatArray]:
    """Return slacks, triangles and bounds of ẑ, unscaled, with their errors."""
    hinges = lifted.hinges
    count, lower, upper = hinges.column.size, hinges.lower, hinges.upper
    at = (np.arange(count), 1 + hinges.column)
    shape = (count, lifted.columns + 1)
    radius = scaling.radius[hinges.column]
    first = (np.arange(count), np.zeros(count, dtype=np.int64))

    def constants(values: FloatArray) -> SparseMatrix:
        return sp.csr_array((values, first), shape=shape)

    # z = radius · (1 + w), exactly
    height = sp.csr_array((radius, at), shape=shape) + constants(radius)
    slope = upper / (upper - lower)
    steep = sp.diags_array(slope, format="csr")
    parts = [
        height - rows,
        (steep @ rows) - constants(slope * lower) - height,
        rows - constants(lower),
        constants(upper) - rows,
    ]
    rounding = gamma(8) * (np.asarray(abs(rows).sum(axis=1)).ravel() + upper - lower)
    loss = error + rounding
    # The slope is rounded: its line may pass below the kink's far end by a few units of `upper`.
    return (
        sp.vstack(parts, format="csr"),
        np.concatenate([loss, loss + rounding, loss, loss]),
    )


def _products(forms: Forms) -> Products:
    """Slack · height = 0, slack ≥ 0, triangle ≥ 0."""
    hinges = forms.hinges
    one = np.zeros(hinges, dtype=np.int64)
    slack, triangle = forms.of_hinges(0), forms.of_hinges(1)
    return Products(
        np.concatenate([forms.height, one, one]),
        np.concatenate([slack, slack, triangle]),
        np.repeat([True, False, False], hinges),
    )
