"""Gurobi as a session of linear programs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gurobipy
import numpy as np
from gurobipy import GRB
from numpy.typing import NDArray

from solvers.budget import Budget
from solvers.convex.programs import LinearAnswer, LinearSession, LinearStatus
from solvers.errors import SolverFailedError, SolverUnavailableError

if TYPE_CHECKING:
    from solvers.exact.model import MilpModel, Rows

__all__ = ["GurobiSession"]

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]

_STATUSES = {
    GRB.OPTIMAL: LinearStatus.OPTIMAL,
    GRB.INTERRUPTED: LinearStatus.STOPPED,
    GRB.TIME_LIMIT: LinearStatus.STOPPED,
}
_PARAMETERS: dict[str, float] = {
    "OutputFlag": 0,
    "Threads": 1,
    "Method": 1,
    "FeasibilityTol": 1e-7,
    "OptimalityTol": 1e-7,
}


class GurobiSession(LinearSession):
    """One linear program inside Gurobi, which keeps its basis from solve to solve.

    Args:
        model: Its integrality is ignored.

    Raises:
        SolverUnavailableError: There is no usable licence.
    """

    def __init__(self, model: MilpModel) -> None:
        try:
            environment = gurobipy.Env(params=_PARAMETERS)
        except gurobipy.GurobiError as error:
            raise SolverUnavailableError(f"Gurobi has no usable licence: {error}") from error
        self._problem = gurobipy.Model(env=environment)
        self._columns = self._problem.addMVar(
            model.column_count, lb=model.column_lower, ub=model.column_upper
        )
        self._rows: list[Any] = []
        # of every constraint inside Gurobi, the row that it is a side of
        self._owners: IndexArray = np.zeros(0, dtype=np.int64)
        self._count = 0
        self.add_rows(model.rows)

    def minimise(self, objective: FloatArray, budget: Budget) -> LinearAnswer:
        """Solve with an objective; see `LinearSession.minimise`."""
        problem = self._problem
        self._columns.setAttr("Obj", objective)
        limit = budget.remaining_seconds if math.isfinite(budget.deadline) else GRB.INFINITY
        problem.Params.TimeLimit = limit

        def stop(caller: gurobipy.Model, _where: int) -> None:
            if budget.exhausted:
                caller.terminate()

        return self._guarded(lambda: self._solve(stop))

    def add_rows(self, rows: Rows) -> None:
        """Append rows; one with two different sides becomes two constraints."""
        matrix: Any = rows.matrix
        equal = rows.lower == rows.upper
        above = np.flatnonzero(np.isfinite(rows.upper))
        below = np.flatnonzero(np.isfinite(rows.lower) & ~equal)
        parts = (
            (above, np.where(equal[above], "=", "<"), rows.upper),
            (below, np.full(below.size, ">"), rows.lower),
        )
        for at, senses, sides in parts:
            if at.size:
                added = self._problem.addMConstr(matrix[at], self._columns, senses, sides[at])
                self._rows.extend(added.tolist())
                self._owners = np.concatenate([self._owners, self._count + at])
        self._count += rows.lower.size
        self._problem.update()

    def remove_rows(self, index: IndexArray) -> None:
        """Remove rows by position."""
        gone = np.zeros(self._count, dtype=np.bool_)
        gone[index] = True
        going = gone[self._owners]
        self._problem.remove([self._rows[at] for at in np.flatnonzero(going)])
        self._rows = [self._rows[at] for at in np.flatnonzero(~going)]
        self._owners = (np.cumsum(~gone) - 1)[self._owners[~going]]
        self._count = int((~gone).sum())
        self._problem.update()

    def _solve(self, stop: Callable[[gurobipy.Model, int], None]) -> LinearAnswer:
        problem = self._problem
        problem.optimize(stop)
        status = _STATUSES.get(problem.Status, LinearStatus.FAILED)
        count = self._columns.size
        values, duals = np.full(count, np.nan), np.zeros(self._count)
        if status is LinearStatus.OPTIMAL:
            values = np.asarray(self._columns.X, dtype=np.float64)
            multipliers = np.array(problem.getAttr("Pi", self._rows), dtype=np.float64)
            np.add.at(duals, self._owners, multipliers)
        return LinearAnswer(status, values, duals)

    def _guarded(self, solve: Callable[[], LinearAnswer]) -> LinearAnswer:
        try:
            return solve()
        except gurobipy.GurobiError as error:
            if error.errno == GRB.Error.SIZE_LIMIT_EXCEEDED:
                raise SolverUnavailableError(
                    f"a program of {self._columns.size} columns and {len(self._rows)} rows is "
                    "beyond Gurobi's restricted licence; choose highs, or set a licence"
                ) from error
            raise SolverFailedError(f"Gurobi error {error.errno}: {error}") from error
