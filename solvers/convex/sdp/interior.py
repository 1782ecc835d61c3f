"""A primal-dual interior-point method whose dual iterates stay strictly feasible.

Because S is positive definite and κ, y are positive throughout, every iterate proves a bound, the
first as the last. All constraints are products of two forms, so with P = S⁻¹, the primal X, and
fᵀPg and fᵀXg for the forms in use, the Newton matrix has the entries

    tr(A X A' P) = ¼ Σ over (f, g) and (f', g') swapped of (fᵀXf') (gᵀPg'):

no matrix of a constraint is ever formed.

Products of forms that are negative in X are constraints that the relaxation breaks: once the gap is
small, the worst are added, and the ascent goes on.

Source: Helmberg, Rendl, Vanderbei and Wolkowicz 1996 (direction), Mehrotra 1992 (predictor and
corrector), Benson, Ye and Zhang 2000 (constraints of low rank); Raghunathan et al. 2018 for the
relaxation.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from solvers.budget import Budget
from solvers.convex.sdp.assembly import WorkingForms
from solvers.convex.sdp.elimination import Elimination
from solvers.convex.sdp.newton import newton_matrix, values_of
from solvers.convex.sdp.program import Products, Program
from solvers.convex.sdp.safe import Multipliers, dual_matrix
from solvers.convex.sdp.separation import violated_products
from solvers.errors import SolverFailedError

__all__ = ["InteriorPoint", "InteriorSettings"]

FloatArray = NDArray[np.float64]

_MARGIN = 0.95
"""How much of the way to the boundary a step may go."""
_STALLED = 1e-3
_RAISES = 200
_RIDGES = (1e-14, 1e-11, 1e-8)
_NEAR = 0.05
_FAR = 0.5
"""Shares of the way back to the beginning: after constraints came in, and when steps stall."""
_LOOSE = 0.1
"""The relative gap at which constraints are looked for."""


@dataclass(frozen=True)
class InteriorSettings:
    """How far to go.

    Attributes:
        tolerance: Stop when the distance to the optimum, as a share of the bound, is below this.
        iterations: Newton steps at most.
        rounds: How often violated products are added.
        per_round: How many at a time, as a multiple of the matrix' size.
        max_products: All products together.
        goal: Stop when the bound is above it; in the units of the specification.
    """

    tolerance: float = 1e-4
    iterations: int = 200
    rounds: int = 4
    per_round: float = 2.0
    max_products: int = 4000
    goal: float = np.inf


@dataclass(eq=False)
class _Iterate:
    """A strictly feasible point of the dual, and a positive definite one of the primal.

    Attributes:
        dual: γ, κ and y, one after the other; positive but for γ and equalities.
        matrix: S.
        primal: X.
        slack: What is left in each constraint, positive; 1 where it is an equality.
    """

    dual: FloatArray
    matrix: FloatArray
    primal: FloatArray
    slack: FloatArray


@dataclass(frozen=True, eq=False)
class _Direction:
    dual: FloatArray
    matrix: FloatArray
    primal: FloatArray
    slack: FloatArray


@dataclass(frozen=True, eq=False)
class _System:
    """A factorised Newton matrix and what belongs to it."""

    method: InteriorPoint
    point: _Iterate
    inverse: FloatArray
    factor: FloatArray

    def direction(self, mu: float, predictor: _Direction | None) -> _Direction:
        """Return the step towards XS = μ, corrected by the product of the predictor's steps."""
        point, forms, bounded = self.point, self.method.forms, self.method.bounded
        reciprocal = np.divide(1.0, point.dual, out=np.zeros_like(point.dual), where=bounded)
        right = self.method.right + mu * (reciprocal - values_of(forms, self.inverse))
        bent, product = np.zeros_like(point.primal), np.zeros_like(right)
        if predictor is not None:
            bent = _symmetric(predictor.primal @ predictor.matrix @ self.inverse)
            product = predictor.slack * predictor.dual
            right += values_of(forms, bent) - product * reciprocal
        dual = lapack.dpotrs(self.factor, right[:, None], lower=1)[0][:, 0]
        matrix = self.method.matrix_of(dual)
        moved = _symmetric(point.primal @ matrix @ self.inverse)
        slack = (mu - product - point.slack * dual) * reciprocal - point.slack
        return _Direction(
            dual,
            matrix,
            mu * self.inverse - point.primal - moved - bent,
            np.where(bounded, slack, 0.0),
        )


class InteriorPoint:
    """One ascent.

    Args:
        program: The relaxation.
        settings: How far to go.
        eliminated: How many inputs to eliminate by their Schur complement; products that couple
            two inputs are then left alone.
    """

    def __init__(self, program: Program, settings: InteriorSettings, eliminated: int) -> None:
        self._program, self._settings = program, settings
        self._algebra = Elimination(program.size, eliminated)
        self._whole = Elimination(program.size, 0)
        self._rounds = 0
        self.iterations = 0
        self.gap = np.inf
        self.finished = False
        self._use(program.products)

    def _use(self, products: Products) -> None:
        """Take up constraints; which duals are bounded, and what each constraint equals."""
        self.products = products
        self.forms = WorkingForms(self._program.forms, products)
        bounds = np.ones(self._program.size - 1, dtype=np.bool_)
        self.bounded = np.concatenate([[False], bounds, ~products.equality])
        self.right = np.eye(1, self.bounded.size)[0]

    def run(
        self,
        budget: Budget,
        *,
        start: Multipliers | None = None,
        on_step: Callable[[float], None] = lambda _: None,
    ) -> Multipliers:
        """Ascend until the optimum, the goal, or the end of the budget.

        Args:
            budget: Left before it ends, by the time that one more step would take.
            start: Multipliers of another method to go on from.
            on_step: Told the bound of each iterate, before it is proved.

        Returns:
            The multipliers of the last iterate, which is the best.
        """
        point = self._begin(start)
        self._origin, best = point, point
        slowest, stalled = 0.0, False
        while self.iterations < self._settings.iterations:
            if budget.exhausted or budget.remaining_seconds < 1.2 * slowest:
                break
            began = time.monotonic()
            following = self._step(point)
            self.iterations += 1
            slowest = max(slowest, time.monotonic() - began)
            if following is None:
                if stalled:
                    break
                stalled, point = True, self._recentred(point, _FAR)
                continue
            stalled, point = False, following
            if point.dual[0] >= best.dual[0]:
                best = point
            bound = float(best.dual[0]) * self._program.objective.scale
            on_step(bound)
            if bound > self._settings.goal:
                break
            if self._converged(point):
                tightened = self._tighten(point)
                if tightened is None:
                    self.finished = True
                    break
                point = tightened
        return self._multipliers(best)

    def _multipliers(self, point: _Iterate) -> Multipliers:
        size = self._program.size
        products = self.products.taken(np.arange(point.dual.size - size))
        return Multipliers(products, point.dual[1:size], point.dual[size:])

    def _recentred(self, point: _Iterate, share: float) -> _Iterate:
        """Go back some of the way to where the ascent began, which is far from every boundary."""
        origin = self._origin
        return _Iterate(
            point.dual + share * (origin.dual - point.dual),
            point.matrix + share * (origin.matrix - point.matrix),
            point.primal + share * (np.eye(self._program.size) - point.primal),
            point.slack + share * (1.0 - point.slack),
        )

    def _converged(self, point: _Iterate) -> bool:
        """Return whether the gap is small: enough to stop, or to look for more constraints."""
        wanted = self._settings.tolerance
        if self._rounds < self._settings.rounds:
            wanted = max(wanted, _LOOSE)
        self.gap = self._complementarity(point)
        miss = np.abs(self._residual(point)).max()
        return self.gap <= wanted * max(abs(float(point.dual[0])), 1e-2) and miss < 10 * wanted

    def _complementarity(self, point: _Iterate) -> float:
        bounded = self.bounded
        cone = float((point.primal * point.matrix).sum())
        return cone + float(point.dual[bounded] @ point.slack[bounded])

    def _residual(self, point: _Iterate) -> FloatArray:
        values = values_of(self.forms, point.primal)
        return np.asarray(self.right - values + np.where(self.bounded, point.slack, 0.0))

    def _begin(self, start: Multipliers | None) -> _Iterate:
        size, coefficients = self._program.size, self._program.objective.coefficients
        reach = np.abs(coefficients[1:])
        inequality = ~self.products.equality
        if start is None:
            diagonal = np.maximum(reach, 0.1 * max(reach.sum(), 1e-3) / np.sqrt(max(size - 1, 1)))
            product = np.where(inequality, 1e-2 * diagonal.mean(), 0.0)
        else:
            clipped = start.clipped()
            small = 1e-4 * max(float(np.abs(clipped.diagonal).max(initial=0.0)), 1e-6)
            diagonal = np.maximum(clipped.diagonal, small)
            product = np.where(inequality, np.maximum(clipped.product, small), clipped.product)
        corner, diagonal, matrix = self._interior(diagonal, product)
        dual = np.concatenate([[corner], diagonal, product])
        return _Iterate(dual, matrix, np.eye(size), np.ones(dual.size))

    def _interior(
        self, diagonal: FloatArray, product: FloatArray
    ) -> tuple[float, FloatArray, FloatArray]:
        """Make multipliers strictly feasible: raise κ, then lower γ, as far as needed."""
        floor = max(float(diagonal.mean()), 1e-9) * 1e-3
        for _ in range(_RAISES):
            matrix = dual_matrix(self._program, Multipliers(self.products, diagonal, product))
            inner, border = matrix[1:, 1:], matrix[1:, 0]
            factor, info = lapack.dpotrf(inner, lower=1)
            if info == 0:
                solved = lapack.dpotrs(factor, border[:, None], lower=1)[0]
                drop = float(border @ solved[:, 0])
                corner = float(matrix[0, 0]) - drop - max(0.5 * abs(drop), 1e-2)
                matrix[0, 0] -= corner
                return corner, diagonal, matrix
            diagonal, floor = diagonal + floor, 4.0 * floor
        raise SolverFailedError(
            "no strictly feasible multipliers exist: a coefficient of the program is not finite"
        )

    def _step(self, point: _Iterate) -> _Iterate | None:
        """Return the next iterate; None where rounding leaves no way up."""
        system = self._system(point)
        if system is None:
            return None
        count = self._program.size + int(self.bounded.sum())
        mu = self._complementarity(point) / count
        first = system.direction(0.0, None)
        reached = _moved(point, first, self._lengths(point, first))
        share = max(self._complementarity(reached) / count / mu, 0.0)
        # Mehrotra 1992: centre as much as the predictor could not go, and bend the way
        chosen = system.direction(mu * min(1.0, max(share**2, 1e-3)), first)
        lengths = self._lengths(point, chosen)
        return None if max(lengths) < _STALLED else _moved(point, chosen, lengths)

    def _system(self, point: _Iterate) -> _System | None:
        """Return the factorised Newton system at a point; None where it breaks down."""
        inverse = self._algebra.inverse(point.matrix)
        if inverse is None:
            return None
        newton = newton_matrix(self.forms, point.primal, inverse)
        index = np.flatnonzero(self.bounded)
        newton[index, index] += point.slack[index] / point.dual[index]
        every = np.arange(newton.shape[0])
        for ridge in _RIDGES:
            # A ridge only bends the way of the primal: S follows the duals exactly.
            newton[every, every] *= 1.0 + ridge
            factor, info = lapack.dpotrf(newton, lower=1)
            if info == 0:
                return _System(self, point, inverse, factor)
        return None

    def _lengths(self, point: _Iterate, direction: _Direction) -> tuple[float, float]:
        """Return how far dual and primal may go."""
        bounded = self.bounded
        up = _ratio(point.dual[bounded], direction.dual[bounded])
        along = _ratio(point.slack[bounded], direction.slack[bounded])
        return (
            _reach(self._algebra, point.matrix, direction.matrix, up),
            _reach(self._whole, point.primal, direction.primal, along),
        )

    def matrix_of(self, direction: FloatArray) -> FloatArray:
        """Return how S changes along a direction."""
        size = self._program.size
        matrix = -self.forms.weighted(direction[size:])
        diagonal = direction[1:size]
        matrix[0, 0] -= direction[0] + diagonal.sum()
        index = np.arange(1, size)
        matrix[index, index] += diagonal
        return matrix

    def _tighten(self, point: _Iterate) -> _Iterate | None:
        """Add violated products and make room for them; None where nothing is left to add."""
        settings = self._settings
        room = settings.max_products - self.products.count
        if self._rounds >= settings.rounds or room <= 0:
            return None
        self._rounds += 1
        found, _ = violated_products(
            self._program,
            self.products,
            point.primal / point.primal[0, 0],
            count=min(room, int(settings.per_round * self._program.size)),
            eliminated=self._algebra.count,
        )
        if not found.count:
            self._rounds = settings.rounds
            return point
        # Room for them is where the ascent began: their share of it keeps S positive definite.
        origin = self._origin
        added = np.full(found.count, float(np.mean(origin.dual[1 : self._program.size])) * 1e-2)
        change = -WorkingForms(self._program.forms, found).weighted(added)
        while not self._algebra.positive(origin.matrix + 2.0 * change):
            added, change = added / 2.0, change / 2.0
        self._origin = _Iterate(
            np.concatenate([origin.dual, added]),
            origin.matrix + change,
            origin.primal,
            np.concatenate([origin.slack, np.ones(found.count)]),
        )
        extended = _Iterate(
            np.concatenate([point.dual, np.zeros(found.count)]),
            point.matrix,
            point.primal,
            np.concatenate([point.slack, np.zeros(found.count)]),
        )
        self._use(self.products.plus(found))
        return self._recentred(extended, _NEAR)


def _symmetric(matrix: FloatArray) -> FloatArray:
    return (matrix + matrix.T) / 2


def _ratio(values: FloatArray, change: FloatArray) -> float:
    """Return how far values may move along a change and stay positive, up to 1 after the margin."""
    return min(1.0 / _MARGIN, 1.0 / max(-float((change / values).min(initial=0.0)), 1e-300))


def _reach(algebra: Elimination, matrix: FloatArray, change: FloatArray, most: float) -> float:
    """Return a length that keeps a matrix positive definite with some room."""
    length = most
    while length > _STALLED and not algebra.positive(matrix + length * change):
        length *= 0.8
    return _MARGIN * length if length > _STALLED else 0.0


def _moved(point: _Iterate, direction: _Direction, lengths: tuple[float, float]) -> _Iterate:
    up, along = lengths
    return _Iterate(
        point.dual + up * direction.dual,
        point.matrix + up * direction.matrix,
        point.primal + along * direction.primal,
        point.slack + along * direction.slack,
    )
