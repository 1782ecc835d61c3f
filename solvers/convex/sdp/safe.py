"""From any multipliers to a bound that is proved, rounding included.

For a run of the network with columns w, objective = γ + wᵀSw + Σ κᵢ (1 − wᵢ²) + Σ yₖ qₖ(w), where
S = C − γE₀₀ − Σ κᵢ (E₀₀ − Eᵢᵢ) − Σ yₖ Aₖ and qₖ is the product of two forms. With κ ≥ 0 and yₖ ≥ 0
for inequalities, all but the second term are at least γ, less what the errors of the forms cost. So

    objective ≥ γ − size · max(0, −λmin(S)) − Σ |yₖ| errorₖ,

because ‖w‖² is at most the size of S. Nothing is asked of where κ, y and γ come from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg as sla
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.linalg import lapack

from solvers.convex.sdp.assembly import WorkingForms
from solvers.convex.sdp.program import Products, Program
from solvers.convex.sdp.rounding import cholesky_proves, gamma

__all__ = ["Multipliers", "best_repair", "quick_repair", "safe_bound"]

FloatArray = NDArray[np.float64]

_ATTEMPTS = 6
_SANE = 1e100
_DENSE_SPECTRUM = 1500
"""Up to this size all eigenvalues are computed, which is what repairs best."""


@dataclass(frozen=True, eq=False)
class Multipliers:
    """Duals of a program with some products.

    Attributes:
        products: The constraints that `product` belongs to.
        diagonal: κ of wᵢ² ≤ 1, shape `(size − 1,)`.
        product: y, shape `(products,)`.
    """

    products: Products
    diagonal: FloatArray
    product: FloatArray

    def clipped(self) -> Multipliers:
        """Return them with those of inequalities at least 0; what is no sane number becomes 0."""
        diagonal = np.where(np.abs(self.diagonal) < _SANE, self.diagonal, 0.0)
        product = np.where(np.abs(self.product) < _SANE, self.product, 0.0)
        return Multipliers(
            self.products,
            np.maximum(diagonal, 0.0),
            np.where(self.products.equality, product, np.maximum(product, 0.0)),
        )


def dual_matrix(program: Program, multipliers: Multipliers) -> FloatArray:
    """Return S for γ = 0 in float64, shape `(size, size)`, symmetric."""
    forms = WorkingForms(program.forms, multipliers.products)
    matrix = -forms.weighted(multipliers.product)
    coefficients = program.objective.coefficients
    matrix[0, 1:] += coefficients[1:] / 2
    matrix[1:, 0] += coefficients[1:] / 2
    matrix[0, 0] += coefficients[0] - multipliers.diagonal.sum()
    index = np.arange(1, program.size)
    matrix[index, index] += multipliers.diagonal
    return matrix


def _assembly_error(program: Program, multipliers: Multipliers, matrix: FloatArray) -> float:
    """Return a bound of the spectral norm of what rounding did to the dual matrix."""
    products, forms = multipliers.products, abs(program.forms.matrix)
    size = forms.shape[0]
    weights = np.abs(multipliers.product)
    kernel = sp.coo_array((weights, (products.left, products.right)), shape=(size, size)).tocsr()
    ones: FloatArray = np.asarray(forms.sum(axis=1)).ravel()
    rows = np.asarray(forms.T @ (kernel @ ones)) + np.asarray(forms.T @ (kernel.T @ ones))
    terms = int(np.diff(kernel.indptr).max(initial=0)) + size + program.size + 8
    diagonal = np.abs(multipliers.diagonal)
    rows[1:] += diagonal + np.abs(program.objective.coefficients[1:])
    rows[0] += diagonal.sum() + np.abs(program.objective.coefficients).sum()
    # Symmetric, so that its largest row sum bounds its norm; the sum itself is rounded, too.
    return 2.0 * gamma(terms) * float(rows.max(initial=0.0) + np.abs(matrix).max(initial=0.0))


def _form_losses(program: Program, multipliers: Multipliers) -> float:
    """Return Σ |yₖ| errorₖ: what products of inexact forms may cost."""
    products, forms = multipliers.products, program.forms
    left, right = products.left, products.right
    error = (
        forms.error[left] * (forms.reach[right] + forms.error[right])
        + forms.error[right] * forms.reach[left]
    )
    return float(np.abs(multipliers.product) @ error) * (1.0 + gamma(products.count + 8))


def safe_bound(program: Program, multipliers: Multipliers) -> float:
    """Return a proved lower bound of the objective over all runs of the network.

    Args:
        program: The relaxation.
        multipliers: Any numbers; they are clipped where they have to be 0 or more.

    Returns:
        A number in the units of the specification, −∞ where nothing could be proved.
    """
    given = multipliers.clipped()
    matrix = dual_matrix(program, given)
    if not np.isfinite(matrix).all():
        return -np.inf
    noise = _assembly_error(program, given, matrix)
    shift, corner = _repair(matrix)
    if not np.isfinite(corner):
        return -np.inf
    loss = _form_losses(program, given)
    size = program.size
    step = noise + gamma(4 * size) * float(np.abs(np.diag(matrix)).sum())
    for attempt in range(_ATTEMPTS):
        # Both moves make the matrix more positive: the first costs `size` times itself.
        extra = step * 10.0**attempt
        total = shift + 2.0 * extra
        candidate = corner - size * extra - extra
        trial = matrix.copy()
        trial[0, 0] -= candidate
        index = np.arange(1, size)
        trial[index, index] += total
        trial[0, 0] += extra
        proved = cholesky_proves(trial) - noise - gamma(4) * float(np.abs(np.diag(trial)).max())
        if proved > -np.inf:
            bound = candidate - (size - 1) * total - extra - size * max(0.0, -proved) - loss
            return _in_units(program, bound)
    return -np.inf


def _in_units(program: Program, bound: float) -> float:
    objective = program.objective
    value = bound * objective.scale - objective.error
    return float(value - gamma(program.size + 8) * (abs(bound) * objective.scale + objective.error))


def _repair(matrix: FloatArray) -> tuple[float, float]:
    """Return a shift σ of the inner block and a corner γ that make S positive semidefinite."""
    thorough = matrix.shape[0] <= _DENSE_SPECTRUM
    return best_repair(matrix) if thorough else quick_repair(matrix)


def quick_repair(matrix: FloatArray) -> tuple[float, float]:
    """Return the first shift, from none up, with which the inner block can be factorised."""
    inner, border = matrix[1:, 1:], matrix[1:, 0]
    index = np.arange(inner.shape[0])
    scale = float(np.abs(np.diag(inner)).mean()) + 1e-300
    for shift in (0.0, *(scale * 10.0**power for power in range(-9, 1))):
        trial = inner.copy()
        trial[index, index] += shift
        factor, info = lapack.dpotrf(trial, lower=1, overwrite_a=1)
        if info == 0:
            solved = lapack.dpotrs(factor, border[:, None], lower=1)[0][:, 0]
            return shift, float(matrix[0, 0] - border @ solved)
    return 0.0, -np.inf


def best_repair(matrix: FloatArray) -> tuple[float, float]:
    """Return the shift σ and the corner γ that maximise γ − (size − 1) σ.

    With T the matrix without its first row and column h, S is positive semidefinite where
    T + σ is and γ ≤ S₀₀ − hᵀ(T + σ)⁻¹h; with the spectrum of T that is a concave function of σ.
    """
    inner, border = matrix[1:, 1:], matrix[1:, 0]
    size = inner.shape[0]
    if size == 0:
        return 0.0, float(matrix[0, 0])
    values, vectors = sla.eigh(inner, check_finite=False, driver="evd")
    weights = (vectors.T @ border) ** 2
    scale = max(float(np.abs(values).max()), float(np.abs(border).max()), 1e-30)
    low = max(0.0, 1e-13 * scale - float(values[0]))

    def slope(shift: float) -> float:
        return float((weights / (values + shift) ** 2).sum() - size)

    shift = low
    if slope(low) > 0:
        step = 1e-12 * scale
        while slope(low + step) > 0:
            step *= 2.0
        high = low + step
        for _ in range(60):
            shift = (low + high) / 2
            low, high = (shift, high) if slope(shift) > 0 else (low, shift)
    return shift, float(matrix[0, 0] - (weights / (values + shift)).sum())
