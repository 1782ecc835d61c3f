"""Gurobi behind the seam, and what its licence allows."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from typing import Any

import gurobipy
import numpy as np
from gurobipy import GRB

from solvers.budget import Budget
from solvers.errors import SolverFailedError, SolverUnavailableError
from solvers.exact.model import MilpModel
from solvers.exact.seam import (
    Licence,
    MilpOutcome,
    MilpSolver,
    Monitor,
    SolveRequest,
    SolveStatus,
)
from solvers.results import SolverReport

__all__ = ["GurobiSolver"]

_RESTRICTED_COLUMNS = 2000
_LICENCE_ERRORS = (GRB.Error.NO_LICENSE, 10022)  # 10022: compute or licence server not reached
_SMALLEST_TOLERANCE = 1e-9
_STATUSES = {
    GRB.OPTIMAL: (SolveStatus.OPTIMAL, "optimal"),
    GRB.INFEASIBLE: (SolveStatus.INFEASIBLE, "infeasible"),
    GRB.INTERRUPTED: (SolveStatus.STOPPED, "interrupted"),
    GRB.TIME_LIMIT: (SolveStatus.STOPPED, "time limit"),
    GRB.USER_OBJ_LIMIT: (SolveStatus.STOPPED, "objective limit"),
}


class GurobiSolver(MilpSolver):
    """Gurobi. Keep one object for many solves: it holds the environment and its licence state.

    Args:
        parameters: For the environment, such as `WLSAccessID`, `TokenServer` or `LicenseFile`;
            environment variables of these names are not read by Gurobi.
    """

    def __init__(self, parameters: Mapping[str, str | int] | None = None) -> None:
        self._parameters = dict(parameters or {})
        self._lock = threading.Lock()
        self._environment: gurobipy.Env | None = None
        self._licence: Licence | None = None
        self._why = ""

    @property
    def name(self) -> str:
        """`gurobi`."""
        return "gurobi"

    @property
    def licence(self) -> Licence:
        """State of the licence, found out once: can it solve more than the free limit?"""
        with self._lock:
            if self._licence is None:
                self._licence = self._detect()
            return self._licence

    @property
    def licence_note(self) -> str:
        """What Gurobi says of a licence that it cannot use."""
        if self.licence is Licence.RESTRICTED:
            return "small programs only, and not in production"
        return self._why

    def solve(
        self, model: MilpModel, request: SolveRequest, budget: Budget, monitor: Monitor
    ) -> MilpOutcome:
        """Minimise a program; see `MilpSolver.solve`."""
        if self.licence is Licence.UNAVAILABLE:
            raise SolverUnavailableError(f"Gurobi has no usable licence: {self._why}")
        try:
            with gurobipy.Model(env=self._environment) as problem:
                return self._solve(problem, model, request, budget, monitor)
        except gurobipy.GurobiError as error:
            if error.errno == GRB.Error.SIZE_LIMIT_EXCEEDED:
                raise SolverUnavailableError(
                    f"this program ({model.column_count} columns, {model.row_count} rows) is "
                    "beyond Gurobi's restricted licence; choose highs or scip, or set a licence"
                ) from error
            raise SolverFailedError(f"Gurobi error {error.errno}: {error}") from error

    def _detect(self) -> Licence:
        try:
            environment = gurobipy.Env(empty=True)
            environment.setParam("OutputFlag", 0)
            for name, value in self._parameters.items():
                environment.setParam(name, value)
            environment.start()
            self._environment = environment
            with gurobipy.Model(env=environment) as probe:
                probe.addMVar(_RESTRICTED_COLUMNS + 1)
                probe.optimize()
        except gurobipy.GurobiError as error:
            if error.errno == GRB.Error.SIZE_LIMIT_EXCEEDED:
                return Licence.RESTRICTED
            self._why = str(error)
            if error.errno in _LICENCE_ERRORS:
                return Licence.UNAVAILABLE
            raise SolverFailedError(f"Gurobi error {error.errno}: {error}") from error
        return Licence.FULL

    def _solve(
        self,
        problem: gurobipy.Model,
        model: MilpModel,
        request: SolveRequest,
        budget: Budget,
        monitor: Monitor,
    ) -> MilpOutcome:
        columns = _build(problem, model)
        _configure(problem, request, budget)
        watched = [columns[int(index)] for index in request.watched]
        is_mip = model.integers > 0
        if request.start is not None and is_mip:
            for variable, value in zip(watched, request.start.tolist(), strict=True):
                variable.Start = value

        def callback(caller: gurobipy.Model, where: int) -> None:
            if where == GRB.Callback.MIPSOL:
                values = np.array(caller.cbGetSolution(watched), dtype=np.float64)
                monitor.saw_incumbent(values, caller.cbGet(GRB.Callback.MIPSOL_OBJ))
            elif where == GRB.Callback.MIP:
                bound = _finite(caller.cbGet(GRB.Callback.MIP_OBJBND))
                monitor.saw_bound(bound, int(caller.cbGet(GRB.Callback.MIP_NODCNT)))
            if monitor.should_stop:
                caller.terminate()

        problem.optimize(callback)
        monitor.raise_pending()
        return self._outcome(problem, watched, request, is_mip=is_mip)

    def _outcome(
        self,
        problem: gurobipy.Model,
        watched: list[Any],
        request: SolveRequest,
        *,
        is_mip: bool,
    ) -> MilpOutcome:
        if problem.Status not in _STATUSES:
            raise SolverFailedError(f"Gurobi gave no usable answer; status {problem.Status}")
        status, words = _STATUSES[problem.Status]
        values, incumbent = None, math.inf
        if problem.SolCount > 0 and (is_mip or status is SolveStatus.OPTIMAL):
            values = np.array([variable.X for variable in watched])
            incumbent = float(problem.ObjVal)
        if is_mip:
            bound = -math.inf if status is SolveStatus.INFEASIBLE else _finite(problem.ObjBound)
        else:
            bound = incumbent if status is SolveStatus.OPTIMAL else -math.inf
        version = ".".join(str(part) for part in gurobipy.gurobi.version())
        report = SolverReport("gurobi", version, self.licence, words, request.tolerances.to_dict())
        return MilpOutcome(status, bound, incumbent, values, int(problem.NodeCount), report)


def _build(problem: gurobipy.Model, model: MilpModel) -> list[Any]:
    kinds = np.where(model.integral, GRB.INTEGER, GRB.CONTINUOUS)
    columns = problem.addMVar(
        model.column_count,
        lb=model.column_lower,
        ub=model.column_upper,
        obj=model.objective,
        vtype=kinds,
    )
    problem.ObjCon = model.offset
    lower, upper, matrix = model.rows.lower, model.rows.upper, model.rows.matrix
    equal = lower == upper
    blocks = (
        (equal, "=", upper),
        (~equal & np.isfinite(upper), "<", upper),
        (~equal & np.isfinite(lower), ">", lower),
    )
    for chosen, sense, side in blocks:
        if chosen.any():
            problem.addMConstr(matrix[chosen], columns, sense, side[chosen])
    return list(columns.tolist())


def _configure(problem: gurobipy.Model, request: SolveRequest, budget: Budget) -> None:
    tolerances = request.tolerances
    parameters = problem.Params
    parameters.Threads = request.threads
    parameters.Seed = request.seed
    parameters.FeasibilityTol = max(tolerances.feasibility, _SMALLEST_TOLERANCE)
    parameters.IntFeasTol = max(tolerances.feasibility, _SMALLEST_TOLERANCE)
    parameters.OptimalityTol = max(tolerances.dual, _SMALLEST_TOLERANCE)
    parameters.MIPGap = tolerances.gap
    parameters.MIPGapAbs = tolerances.gap
    if math.isfinite(budget.deadline):
        parameters.TimeLimit = budget.remaining_seconds
    if math.isfinite(request.stop_bound):
        parameters.BestBdStop = request.stop_bound


def _finite(value: float) -> float:
    """Return a bound with Gurobi's ±1e100 as infinities."""
    return math.copysign(math.inf, value) if abs(value) >= GRB.INFINITY else float(value)
