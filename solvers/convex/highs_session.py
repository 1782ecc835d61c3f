"""HiGHS as a session of linear programs."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import highspy
import numpy as np
from numpy.typing import NDArray

from solvers.budget import Budget
from solvers.convex.programs import LinearAnswer, LinearSession, LinearStatus
from solvers.errors import SolverFailedError
from solvers.exact.highs_program import configure, pass_model, require_whole

if TYPE_CHECKING:
    from solvers.exact.model import MilpModel, Rows

__all__ = ["HighsSession"]

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]

_STATUSES = {
    highspy.HighsModelStatus.kOptimal: LinearStatus.OPTIMAL,
    highspy.HighsModelStatus.kTimeLimit: LinearStatus.STOPPED,
    highspy.HighsModelStatus.kInterrupt: LinearStatus.STOPPED,
}
_OPTIONS: dict[str, Any] = {
    "output_flag": False,
    "threads": 1,
    "parallel": "off",
    "primal_feasibility_tolerance": 1e-7,
    "dual_feasibility_tolerance": 1e-7,
    "small_matrix_value": 1e-12,
}


class HighsSession(LinearSession):
    """One linear program inside HiGHS, which keeps its basis from solve to solve.

    Args:
        model: Its integrality is ignored.

    Raises:
        SolverFailedError: HiGHS took another program than it was given.
    """

    def __init__(self, model: MilpModel) -> None:
        self._highs: highspy.Highs = highspy.Highs()  # type: ignore[no-untyped-call]
        configure(self._highs, _OPTIONS)
        self._columns = np.arange(model.column_count, dtype=np.int32)
        self._nonzeros = model.nonzeros
        self._budget = Budget()
        self._interrupts = False
        # the objective comes with every solve
        nothing = np.zeros(model.column_count)
        pass_model(self._highs, replace(model.relaxed(), objective=nothing, offset=0.0))

    def minimise(self, objective: FloatArray, budget: Budget) -> LinearAnswer:
        """Solve with an objective; see `LinearSession.minimise`."""
        highs = self._highs
        highs.changeColsCost(self._columns.size, self._columns, objective)
        limit = math.inf
        if math.isfinite(budget.deadline):
            # HiGHS counts the time of all solves together
            limit = highs.getRunTime() + budget.remaining_seconds
        highs.setOptionValue("time_limit", limit)
        self._budget = budget
        if not self._interrupts:
            self._interrupts = True
            highs.cbSimplexInterrupt.subscribe(self._interrupt)
        if highs.run() == highspy.HighsStatus.kError:
            # The number of threads is fixed by the first solve of a process.
            highspy.Highs.resetGlobalScheduler(True)
            if highs.run() == highspy.HighsStatus.kError:
                words = highs.modelStatusToString(highs.getModelStatus())
                raise SolverFailedError(f"HiGHS stopped with an error; model status: {words}")
        return self._answer()

    def add_rows(self, rows: Rows) -> None:
        """Append rows."""
        matrix = rows.matrix
        self._highs.addRows(
            rows.lower.size,
            rows.lower,
            rows.upper,
            matrix.nnz,
            matrix.indptr[:-1].astype(np.int32),
            matrix.indices.astype(np.int32),
            matrix.data,
        )
        self._nonzeros += int(matrix.nnz)
        require_whole(self._highs, self._nonzeros)

    def remove_rows(self, index: IndexArray) -> None:
        """Remove rows by position."""
        if index.size:
            self._highs.deleteRows(index.size, index.astype(np.int32))
            self._nonzeros = self._highs.getNumNz()

    def _interrupt(self, event: Any) -> None:  # noqa: ANN401  (highspy has no public event type)
        if self._budget.exhausted:
            event.interrupt()

    def _answer(self) -> LinearAnswer:
        status = _STATUSES.get(self._highs.getModelStatus(), LinearStatus.FAILED)
        solution = self._highs.getSolution()
        return LinearAnswer(
            status,
            np.array(solution.col_value, dtype=np.float64),
            np.array(solution.row_dual, dtype=np.float64),
        )
