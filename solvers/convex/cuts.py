"""Cuts of the tightened relaxation of single neurons, and the test that every cut must pass.

A neuron is y = max(0, w·x + b) over a box of x. The triangle relaxation knows of x only the one
number w·x + b; the tightened relaxation knows x itself. Its upper side is the concave envelope of
the neuron over the box, exponentially many inequalities of which the one that a point violates
most is found by sorting.

Source: Tjandraatmadja et al. 2020 (*The Convex Relaxation Barrier, Revisited*), theorem 1 and the
separation after it; Anderson et al. 2020 for the same inequalities in a mixed-integer program.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from models.errors import BoundsError, ShapeError

if TYPE_CHECKING:
    from solvers.exact.model import SparseMatrix

__all__ = ["Cuts", "Neurons", "safe_offsets", "separate"]

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]

_SMALLEST_COEFFICIENT = 2e-9
"""Smaller coefficients are left out of cuts: solvers would drop them in silence."""


@dataclass(frozen=True, eq=False)
class Neurons:
    """Neurons y = max(0, weight @ x + bias) over a box of x.

    Attributes:
        weight: Sparse, shape `(neurons, inputs)`.
        bias: Shape `(neurons,)`.
        lower, upper: Box of x, shape `(inputs,)`, finite.

    Raises:
        ShapeError: Arrays do not fit together.
        BoundsError: The box is empty or not finite.
    """

    weight: SparseMatrix
    bias: FloatArray
    lower: FloatArray
    upper: FloatArray

    def __post_init__(self) -> None:
        neurons, inputs = self.weight.shape
        sides = (self.lower.shape, self.upper.shape)
        if self.bias.shape != (neurons,) or any(side != (inputs,) for side in sides):
            raise ShapeError(
                f"a weight of shape {self.weight.shape} does not fit a bias of shape "
                f"{self.bias.shape} and a box of shapes {sides}"
            )
        finite = np.isfinite(self.lower) & np.isfinite(self.upper)
        if not (finite & (self.lower <= self.upper)).all():
            raise BoundsError("the box of a layer's inputs is empty or not finite")

    def taken(self, index: IndexArray) -> Neurons:
        """Return some of the neurons over the same box."""
        return Neurons(self.weight[index], self.bias[index], self.lower, self.upper)


@dataclass(frozen=True, eq=False)
class Cuts:
    """Inequalities y[neuron] ≤ coefficients @ x + offset.

    Attributes:
        neurons: Which neuron each is about, shape `(cuts,)`.
        coefficients: Sparse, shape `(cuts, inputs)`; none is so small that a solver drops it.
        offset: Shape `(cuts,)`.
    """

    neurons: IndexArray
    coefficients: SparseMatrix
    offset: FloatArray

    @property
    def count(self) -> int:
        """Number of inequalities."""
        return int(self.offset.size)

    def violation(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """Return how far a point lies outside each, shape `(cuts,)`; negative inside.

        Args:
            x: Shape `(inputs,)`.
            y: Of all neurons, shape `(neurons,)`.
        """
        return np.asarray(y[self.neurons] - self.coefficients @ x - self.offset)

    def taken(self, index: IndexArray) -> Cuts:
        """Return some of the inequalities."""
        return Cuts(self.neurons[index], self.coefficients[index], self.offset[index])


def safe_offsets(neurons: Neurons, coefficients: SparseMatrix) -> FloatArray:
    """Return the least offset with which each inequality is valid, rounded up.

    max(0, w·x + b) − c·x is the larger of two linear functions of x, and each of those is largest
    at a corner that its signs name. So y ≤ c·x + offset holds on the whole box exactly where offset
    is at least the larger of two sums, whatever the coefficients and wherever they come from.

    Args:
        neurons: One per inequality.
        coefficients: c, sparse, shape `(neurons, inputs)`.

    Returns:
        Shape `(neurons,)`, raised by a bound of the rounding error of the sums.
    """
    zero = np.zeros_like(neurons.bias)
    inactive = _largest(-coefficients, zero, neurons)
    active = _largest(neurons.weight - coefficients, neurons.bias, neurons)
    return np.asarray(np.maximum(inactive, active))


def _largest(matrix: SparseMatrix, offset: FloatArray, neurons: Neurons) -> FloatArray:
    """Return the largest values of linear functions over the box, rounded up."""
    wide = matrix.tocsr()
    at_lower = wide.data * neurons.lower[wide.indices]
    at_upper = wide.data * neurons.upper[wide.indices]
    lengths = np.diff(wide.indptr)
    row = np.repeat(np.arange(wide.shape[0]), lengths)
    most = np.bincount(row, np.maximum(at_lower, at_upper), minlength=wide.shape[0]) + offset
    size = np.maximum(np.abs(at_lower), np.abs(at_upper))
    spread = np.bincount(row, size, minlength=wide.shape[0]) + np.abs(offset)
    # Twice γ of a sum of so many products, and of the subtraction that made the coefficients.
    return np.asarray(most + 2.0 * (lengths + 4) * np.finfo(np.float64).eps * spread)


def separate(
    neurons: Neurons,
    x: FloatArray,
    y: FloatArray,
    *,
    least_violation: float = 1e-6,
    negligible: float = 0.0,
) -> Cuts:
    """Return, for every neuron that has one, the inequality that a point violates most.

    Let near(i) be the end of input i's interval where wᵢxᵢ is least and far(i) the other. For a
    set I of inputs and one more, h, with ℓ(I) ≥ 0 > ℓ(I ∪ {h}), where
    ℓ(I) = Σ_{i∈I} wᵢ near(i) + Σ_{i∉I} wᵢ far(i) + b, the inequality is
    y ≤ Σ_{i∈I} wᵢ (xᵢ − near(i)) + ℓ(I) / (far(h) − near(h)) · (x_h − near(h)).
    The most violated one takes inputs into I in the order of (xᵢ − near(i)) / (far(i) − near(i))
    until ℓ changes its sign.

    Args:
        neurons: Those that are stable on the box have no inequality.
        x: The point, shape `(inputs,)`.
        y: Its value of every neuron, shape `(neurons,)`.
        least_violation: Inequalities violated by less are left out.
        negligible: Inputs that can change w·x by less than this share of what all can together
            are left out of I: cuts get shorter and a little weaker.

    Returns:
        At most one inequality per neuron, valid on the whole box in real arithmetic.

    Source: Tjandraatmadja et al. 2020, theorem 1 and proposition 2.
    """
    chosen = _Selection.of(neurons, x, negligible)
    coefficients = chosen.coefficients(neurons.weight)
    small = np.abs(coefficients.data) < _SMALLEST_COEFFICIENT
    coefficients.data[small] = 0.0
    coefficients.eliminate_zeros()
    offset = safe_offsets(neurons, coefficients)
    cuts = Cuts(np.arange(offset.size), coefficients, offset)
    wanted = chosen.crosses & (cuts.violation(x, y) >= least_violation)
    return cuts.taken(np.flatnonzero(wanted))


@dataclass(frozen=True, eq=False)
class _Selection:
    """Per stored weight: whether its input is in I, or is h, and the slope that h gets.

    Attributes:
        crosses: Neurons whose ℓ changes its sign, shape `(neurons,)`.
        inside: Of every stored weight, whether its input is in I.
        last: Position of h's weight, for the neurons that cross.
        slope: Of h, for the neurons that cross.
    """

    crosses: NDArray[np.bool_]
    inside: NDArray[np.bool_]
    last: IndexArray
    slope: FloatArray

    @classmethod
    def of(cls, neurons: Neurons, x: FloatArray, negligible: float) -> _Selection:
        """Sort and add up, all neurons at once."""
        weight = neurons.weight
        count = weight.shape[0]
        row = np.repeat(np.arange(count), np.diff(weight.indptr))
        width = (neurons.upper - neurons.lower)[weight.indices]
        drop = np.abs(weight.data) * width
        total = np.bincount(row, drop, minlength=count)
        rising = weight.data >= 0
        far = np.where(rising, neurons.upper[weight.indices], neurons.lower[weight.indices])
        start = np.bincount(row, weight.data * far, minlength=count) + neurons.bias
        useful = (drop > 0) & (drop >= negligible * total[row])
        drop = np.where(useful, drop, 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = (x - neurons.lower)[weight.indices] / width
        share = np.where(rising, share, 1.0 - share)
        order = np.lexsort((np.where(useful, share, np.inf), row))
        # left[k]: ℓ after the inputs up to the k-th of the row's order have been taken into I
        summed = np.cumsum(drop[order])
        first = np.minimum(weight.indptr[:-1], max(row.size - 1, 0))
        before = (summed - drop[order])[first] if row.size else np.zeros(count)
        left = start[row] - (summed - before[row])
        taken = left >= 0
        steps = np.bincount(row, taken, minlength=count).astype(np.int64)
        crosses = (start >= 0) & (steps < np.diff(weight.indptr))
        at = weight.indptr[:-1][crosses] + steps[crosses]
        last = order[at]
        inside = np.zeros(row.size, dtype=np.bool_)
        inside[order] = taken & useful[order]
        rest = left[at] + drop[last]
        span = np.sign(weight.data[last]) * width[last]
        # rounding may let ℓ cross at an input that changes nothing; any slope is made valid later
        slope = np.divide(rest, span, out=np.zeros_like(rest), where=useful[last])
        return cls(crosses, inside, last, slope)

    def coefficients(self, weight: SparseMatrix) -> SparseMatrix:
        """Return the inequalities' coefficients, of the neurons that do not cross as well."""
        data = np.where(self.inside, weight.data, 0.0)
        data[self.last] = self.slope
        return sp.csr_array((data, weight.indices.copy(), weight.indptr.copy()), shape=weight.shape)
