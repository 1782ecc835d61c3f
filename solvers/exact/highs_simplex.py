"""One linear relaxation kept inside HiGHS while boxes of columns and the objective change.

Nothing that HiGHS says is taken as a bound. From its multipliers y of the rows of
min c·x with L ≤ A x ≤ U over a box, the bound Σ (y_r L_r or y_r U_r) + Σ min over the box of
(c − Aᵀy)_j x_j is computed here, less what rounding can have done to it; a claim that no point
exists counts where the same sum with c = 0 is above 0. Wrong multipliers only make bounds weak.

Sources: Neumaier and Shcherbina 2004 (*Safe bounds in linear and mixed-integer linear
programming*); Farkas' lemma for the second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import highspy
import numpy as np
from numpy.typing import NDArray

from solvers.budget import Budget
from solvers.errors import SolverFailedError
from solvers.exact.affine import IndexArray
from solvers.exact.highs_program import configure, pass_model
from solvers.exact.model import MilpModel

__all__ = ["Relaxed", "RelaxedStatus", "Simplex"]

FloatArray = NDArray[np.float64]

_ROUNDING_UNITS = 64.0
"""Units of rounding granted to every coefficient, beside those of the longest column's sum."""


class RelaxedStatus(StrEnum):
    """How a solve ended.

    `solved`: at the optimum. `cut`: the bound passed the limit. `empty`: no point exists, which
    has been checked. `failed`: nothing is known. `stopped`: the budget ended.
    """

    SOLVED = "solved"
    CUT = "cut"
    EMPTY = "empty"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, eq=False)
class Relaxed:
    """The answer of one solve.

    Attributes:
        status: How it ended.
        bound: Proved: no point of the program has a smaller objective; ∞ where there is no point,
            −∞ where nothing is known.
        values: The optimum, shape `(columns,)`; None unless it was reached.
        duals: Multipliers of the rows there, shape `(rows,)`; None unless it was reached.
    """

    status: RelaxedStatus
    bound: float
    values: FloatArray | None = None
    duals: FloatArray | None = None


class Simplex:
    """The linear relaxation of a program, solved again and again.

    Args:
        model: Its integrality is ignored.
        seed: Of HiGHS.

    Raises:
        SolverFailedError: HiGHS did not take the program as it is.
    """

    def __init__(self, model: MilpModel, *, seed: int = 0) -> None:
        self._highs: highspy.Highs = highspy.Highs()  # type: ignore[no-untyped-call]
        options: dict[str, Any] = {
            "output_flag": False,
            "threads": 1,
            "parallel": "off",
            "presolve": "off",  # it would forget the basis
            "random_seed": seed,
            "small_matrix_value": 1e-12,
        }
        configure(self._highs, options)
        self._matrix = model.rows.matrix
        self._transposed = model.rows.matrix.T.tocsr()
        self._sizes = abs(self._transposed)
        self._row_lower, self._row_upper = model.rows.lower, model.rows.upper
        self.lower, self.upper = model.column_lower.copy(), model.column_upper.copy()
        self._objective, self._offset = model.objective, model.offset
        self._all = np.arange(model.column_count, dtype=np.int32)
        longest = int(np.diff(self._transposed.indptr).max(initial=0))
        self._units = (longest + _ROUNDING_UNITS) * np.finfo(np.float64).eps
        self._budget = Budget()
        self._watched = False
        pass_model(self._highs, model.relaxed())

    def set_boxes(self, columns: IndexArray, lower: FloatArray, upper: FloatArray) -> None:
        """Change the boxes of some columns; all arrays of shape `(changed,)`.

        Raises:
            SolverFailedError: HiGHS did not take them.
        """
        if not columns.size:
            return
        self.lower[columns], self.upper[columns] = lower, upper
        index = np.unique(columns).astype(np.int32)  # HiGHS takes them in order, each once
        low, high = self.lower[index], self.upper[index]
        if self._highs.changeColsBounds(index.size, index, low, high) != highspy.HighsStatus.kOk:
            raise SolverFailedError("HiGHS refused the boxes of some columns")

    def set_objective(self, objective: FloatArray, offset: float) -> None:
        """Minimise something else, of shape `(columns,)`."""
        self._objective, self._offset = objective, offset
        self._highs.changeColsCost(self._all.size, self._all, objective)
        self._highs.changeObjectiveOffset(offset)

    @property
    def version(self) -> str:
        """Of HiGHS."""
        return str(self._highs.version())

    @property
    def basis(self) -> Any:  # noqa: ANN401  (highspy has no public type of it)
        """Where the next solve starts from."""
        return self._highs.getBasis()

    @basis.setter
    def basis(self, basis: Any) -> None:  # noqa: ANN401
        self._highs.setBasis(basis)

    def minimise(self, budget: Budget, limit: float = math.inf) -> Relaxed:
        """Solve from the last basis on.

        Args:
            budget: Ends the solve.
            limit: A bound of at least this is all that is wanted.

        Raises:
            SolverFailedError: HiGHS stopped with an error.
        """
        if budget.exhausted:
            return Relaxed(RelaxedStatus.STOPPED, -math.inf)
        answer = self._solve(budget, limit)
        if answer.status is RelaxedStatus.FAILED:
            # from scratch, without the short cut: what went wrong may lie in the basis
            self._highs.clearSolver()
            answer = self._solve(budget, math.inf)
        return answer

    def _solve(self, budget: Budget, limit: float) -> Relaxed:
        highs = self._highs
        configure(self._highs, {"objective_bound": limit})
        self._limit_time(budget)
        if highs.run() == highspy.HighsStatus.kError:
            # The number of threads is fixed by the first solve of a process.
            highspy.Highs.resetGlobalScheduler(True)
            if highs.run() == highspy.HighsStatus.kError:
                words = highs.modelStatusToString(highs.getModelStatus())
                raise SolverFailedError(f"HiGHS stopped with an error; model status: {words}")
        status = highs.getModelStatus()
        match status:
            case highspy.HighsModelStatus.kOptimal | highspy.HighsModelStatus.kObjectiveBound:
                return self._bounded(limit, optimal=status == highspy.HighsModelStatus.kOptimal)
            case highspy.HighsModelStatus.kInfeasible:
                return self._empty()
            case highspy.HighsModelStatus.kTimeLimit | highspy.HighsModelStatus.kInterrupt:
                return Relaxed(RelaxedStatus.STOPPED, -math.inf)
        return Relaxed(RelaxedStatus.FAILED, -math.inf)

    def _limit_time(self, budget: Budget) -> None:
        """Let HiGHS end with the budget; its clock counts all solves together."""
        left = budget.remaining_seconds
        limit = self._highs.getRunTime() + left if math.isfinite(left) else left
        configure(self._highs, {"time_limit": limit})
        self._budget = budget
        if not self._watched and self._matrix.nnz > 100_000:
            self._watched = True
            self._highs.cbSimplexInterrupt.subscribe(self._interrupt)

    def _interrupt(self, event: Any) -> None:  # noqa: ANN401  (highspy has no public event type)
        if self._budget.exhausted:
            event.interrupt()

    def _bounded(self, limit: float, *, optimal: bool) -> Relaxed:
        solution = self._highs.getSolution()
        duals = np.array(solution.row_dual, dtype=np.float64)
        bound = self._proved(duals, self._objective, self._offset)
        if bound >= limit:
            return Relaxed(RelaxedStatus.CUT, bound)
        if not optimal:
            return Relaxed(RelaxedStatus.FAILED, -math.inf)
        values = np.array(solution.col_value, dtype=np.float64)
        return Relaxed(RelaxedStatus.SOLVED, bound, values, duals)

    def _empty(self) -> Relaxed:
        _, there, ray = self._highs.getDualRay()  # type: ignore[attr-defined]
        if there:
            multipliers = np.array(ray, dtype=np.float64)
            size = np.abs(multipliers).max(initial=0.0)
            for sign in (1.0, -1.0) if size > 0 else ():
                scaled = sign * multipliers / size
                if self._proved(scaled, np.zeros_like(self._objective), 0.0) > 0.0:
                    return Relaxed(RelaxedStatus.EMPTY, math.inf)
        return Relaxed(RelaxedStatus.FAILED, -math.inf)

    def _proved(self, duals: FloatArray, objective: FloatArray, offset: float) -> float:
        """Return what multipliers of the rows prove of an objective; see the module."""
        if duals.shape != self._row_lower.shape:
            duals = np.zeros_like(self._row_lower)
        y = np.where(np.isfinite(duals), duals, 0.0)
        side = np.where(y > 0, self._row_lower, self._row_upper)
        # an open side can have no multiplier; rows without one have no part, whatever their sides
        used = (y != 0) & np.isfinite(side)
        y, side = np.where(used, y, 0.0), np.where(used, side, 0.0)
        reduced = objective - self._transposed @ y
        spread = np.abs(objective) + self._sizes @ np.abs(y)
        ends = np.minimum(reduced * self.lower, reduced * self.upper)
        reach = np.maximum(np.abs(self.lower), np.abs(self.upper))
        size = float(spread @ reach) + float(np.abs(y * side).sum()) + abs(offset)
        bound = float((y * side).sum()) + float(ends.sum()) + offset - 2.0 * self._units * size
        return bound if math.isfinite(bound) else -math.inf
