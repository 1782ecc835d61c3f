"""Rows that semidefinite relaxations prove: a dual matrix, formed anew, has no small eigenvalue.

A *form* is an affine function of columns w that is nowhere below 0. For γ, κ ≥ 0 and y ≥ 0,

    row = γ + wᵀ S w + Σ κᵢ (1 − wᵢ²) + Σ yₖ leftₖ(w) rightₖ(w)

defines a matrix S, and row ≥ γ − s |w|² where S + s is positive semidefinite; |w|² is at most the
number of columns and one. What is 0 on every run, z (z − ẑ), has a multiplier of any sign. Source:
Raghunathan et al. 2018; Rump 2006 for the errors of a factorisation. See docs/proofs.md.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse

from solvers.proof.bounds import SPARE, TINY, Array, Enclosure, Integers, gamma
from solvers.proof.container import Duals, require
from solvers.proof.network import UNIT, Part, absolute, dense
from solvers.proof.parts.lifted import Parts, Relaxation

__all__ = ["SEMIDEFINITE", "Dual", "bound_by_dual", "dual_matrix", "floor", "proved_by"]

RAISES = (1.0, 1e3, 1e6)
"""What is added to a diagonal before it is factorised, in units of what rounding takes of it."""


class Dual(NamedTuple):
    """The multipliers of one row.

    Attributes:
        bound: γ.
        diagonal: κ, shape `(columns,)`.
        left, right, product: Numbers of two forms, and y; shape `(products,)`.
    """

    bound: float
    diagonal: Array
    left: Integers
    right: Integers
    product: Array

    @classmethod
    def of(cls, duals: Duals, number: int) -> Dual:
        """Return one of those that a file holds."""
        part = slice(duals.start[number], duals.start[number + 1])
        left, right = duals.left[part].astype(np.intp), duals.right[part].astype(np.intp)
        diagonal, product = duals.diagonal[number], duals.product[part]
        numbers = diagonal.astype(np.float64), product.astype(np.float64)
        return cls(float(duals.bound[number]), numbers[0], left, right, numbers[1])


def dual_matrix(relaxation: Relaxation, row: Array, dual: Dual) -> tuple[sparse.csr_array, float]:
    """Return S as it is held, and how far a run may be below the identity that defines S.

    Raises:
        ProofError: Multipliers do not fit the forms, or are negative where they must not be.
    """
    forms, size = relaxation.forms, 1 + relaxation.columns
    bound, diagonal, left, right, weight = dual
    require(len(diagonal) == relaxation.columns, f"a dual has {len(diagonal)} columns")
    count = len(forms.error)
    known = ((left >= 0) & (left < count) & (right >= 0) & (right < count)).all()
    require(known, "a dual multiplies a form that there is not")
    first, last = relaxation.heights
    zero = (left >= first) & (left < last) & (right == left + last - first)
    require((weight[~zero] >= 0).all() and (diagonal >= 0).all(), "a multiplier is negative")
    kernel = sparse.csr_array(sparse.coo_array((weight, (left, right)), shape=(count, count)))
    half = forms.matrix.T @ (kernel @ forms.matrix)
    wanted = row @ relaxation.output.matrix
    edge, none, order = wanted[1:] / 2, np.zeros(size - 1, int), np.arange(1, size)
    values = np.concatenate([[wanted[0] - (bound + diagonal.sum())], edge, edge, diagonal])
    places = np.r_[0, none, order, order], np.r_[0, order, none, order]
    linear = sparse.csr_array(sparse.coo_array((values, places), shape=(size, size)))
    sizes, reach, weights = absolute(forms.matrix).T, forms.reach, absolute(kernel)
    sums = sizes @ (weights @ reach) + sizes @ (weights.T @ reach)
    sums[1:] += diagonal + np.abs(edge)
    sums[0] += diagonal.sum() + np.abs(wanted).sum() + abs(bound)
    # A symmetric matrix changes no value of wᵀ S w by more than its largest row sum times |w|².
    off = size * (gamma(len(left) + count + 2 * size + 16) * sums.max() + size * TINY)
    lost = forms.error[left] * reach[right] + forms.error[right] * (reach + forms.error)[left]
    outputs = relaxation.output.error + gamma(len(row) + 8) * relaxation.output.reach
    missing = off + np.abs(weight) @ lost + np.abs(row) @ outputs + size * TINY
    return sparse.csr_array(linear - (half + half.T) / 2), float(missing) * SPARE


def floor(matrix: sparse.csr_array, inputs: int) -> float:
    """Return a number that wᵀ S w is not below for any w with |wᵢ| ≤ 1; −∞ if none was found.

    Where no two of the inputs meet, their block D is diagonal, and S is at least what is left of
    it behind them: T − Bᵀ D⁻¹ B. Of the rest a factor L is guessed; as L Lᵀ is no less than 0, the
    rest is no less than how far it is from L Lᵀ.
    """
    first, rest = slice(1, 1 + inputs), np.r_[0, 1 + inputs : matrix.shape[0]]
    block, lost = matrix[first][:, first], 0.0
    diagonal = block.diagonal()
    alone = inputs and (diagonal > 0).all() and block.count_nonzero() == inputs
    whole = dense(matrix[rest][:, rest] if alone else matrix)
    if alone:
        border, inner = dense(matrix[first][:, rest]), whole
        steps = border / diagonal[:, None]
        sums = np.abs(inner).sum(axis=1) + np.abs(steps).T @ np.abs(border).sum(axis=1)
        lost, whole = gamma(inputs + len(rest) + 8) * sums.max(), inner - border.T @ steps
        whole = np.tril(whole) + np.tril(whole, -1).T
    size, places = len(whole), np.diag_indices(len(whole))
    trace = np.abs(whole[places]).sum()
    for raised in RAISES:
        shift, trial = 4 * UNIT * raised * trace + TINY, whole.copy()
        trial[places] += shift
        try:
            factor = np.linalg.cholesky(trial)
        except np.linalg.LinAlgError:
            continue
        sums = np.abs(trial - factor @ factor.T).sum(axis=1)
        sums += gamma(size + 8) * (np.abs(factor) @ np.abs(factor).sum(axis=0))
        sums += 4 * UNIT * (np.abs(trial).sum(axis=1) + shift)
        bound = -size * (shift + sums.max() + lost + size * TINY) * SPARE
        return float(bound) if np.isfinite(bound) else -np.inf
    return -np.inf


@np.errstate(over="ignore", invalid="ignore")  # what overflows becomes −∞
def proved_by(relaxation: Relaxation, row: Array, dual: Dual) -> float:
    """Return a lower bound of a row of the outputs over all runs."""
    matrix, missing = dual_matrix(relaxation, row, dual)
    if not np.isfinite(matrix.data).all():
        return -np.inf
    found = dual.bound + floor(matrix, relaxation.inputs) - missing - 8 * UNIT * abs(dual.bound)
    return float(np.nextafter(found, -np.inf)) if np.isfinite(found) else -np.inf


def bound_by_dual(
    enclosure: Enclosure, parts: Parts, duals: Duals, number: int, row: Array
) -> float:
    """Return a lower bound of a row in a single domain, by one of the duals of a tree."""
    return proved_by(Relaxation(enclosure, parts), row, Dual.of(duals, number))


SEMIDEFINITE = Part("dual matrices of semidefinite relaxations", duals=bound_by_dual)
