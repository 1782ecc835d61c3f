"""HiGHS behind the seam."""

from __future__ import annotations

import math
from typing import Any

import highspy
import numpy as np

from solvers.budget import Budget
from solvers.errors import SolverFailedError
from solvers.exact.highs_program import configure, pass_model
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

__all__ = ["HighsSolver"]

_STATUSES = {
    "kOptimal": SolveStatus.OPTIMAL,
    "kInfeasible": SolveStatus.INFEASIBLE,
    "kInterrupt": SolveStatus.STOPPED,
    "kHighsInterrupt": SolveStatus.STOPPED,
    "kTimeLimit": SolveStatus.STOPPED,
    "kObjectiveBound": SolveStatus.STOPPED,
    "kObjectiveTarget": SolveStatus.STOPPED,
}


class HighsSolver(MilpSolver):
    """HiGHS, through arrays and callbacks."""

    @property
    def name(self) -> str:
        """`highs`."""
        return "highs"

    @property
    def licence(self) -> Licence:
        """HiGHS is free software."""
        return Licence.OPEN

    def solve(
        self, model: MilpModel, request: SolveRequest, budget: Budget, monitor: Monitor
    ) -> MilpOutcome:
        """Minimise a program; see `MilpSolver.solve`."""
        highs: highspy.Highs = highspy.Highs()  # type: ignore[no-untyped-call]
        _configure(highs, request, budget)
        pass_model(highs, model)
        # request.start is left out: completing a point from its inputs takes HiGHS a search of its
        # own, which was measured to last longer than the one it should have shortened
        _subscribe(highs, model, request, monitor)
        _run(highs)
        monitor.raise_pending()
        return _outcome(highs, model, request)


def _configure(highs: highspy.Highs, request: SolveRequest, budget: Budget) -> None:
    tolerances = request.tolerances
    options: dict[str, Any] = {
        "output_flag": False,
        "threads": request.threads,
        "parallel": "off" if request.threads == 1 else "on",
        "random_seed": request.seed,
        "mip_feasibility_tolerance": tolerances.feasibility,
        "primal_feasibility_tolerance": tolerances.feasibility,
        "dual_feasibility_tolerance": tolerances.dual,
        "mip_abs_gap": tolerances.gap,
        "mip_rel_gap": tolerances.gap,
        "small_matrix_value": 1e-12,
    }
    if math.isfinite(budget.deadline):
        options["time_limit"] = budget.remaining_seconds
    configure(highs, options)


def _subscribe(
    highs: highspy.Highs, model: MilpModel, request: SolveRequest, monitor: Monitor
) -> None:
    is_mip = model.integers > 0

    def interrupt(event: Any) -> None:  # noqa: ANN401  (highspy has no public event type)
        if is_mip:
            monitor.saw_bound(_bound(event.data_out.mip_dual_bound), event.data_out.mip_node_count)
        if monitor.should_stop:
            event.interrupt()

    def improved(event: Any) -> None:  # noqa: ANN401
        values = np.array(event.data_out.mip_solution, dtype=np.float64)
        objective = float(event.data_out.objective_function_value)
        monitor.saw_incumbent(values[request.watched], objective)

    highs.cbSimplexInterrupt.subscribe(interrupt)
    highs.cbIpmInterrupt.subscribe(interrupt)
    if is_mip:
        highs.cbMipInterrupt.subscribe(interrupt)
        highs.cbMipImprovingSolution.subscribe(improved)


def _run(highs: highspy.Highs) -> None:
    if highs.run() != highspy.HighsStatus.kError:
        return
    # The number of threads is fixed by the first solve of a process; another one is an error
    # until the scheduler starts afresh.
    highspy.Highs.resetGlobalScheduler(True)
    if highs.run() == highspy.HighsStatus.kError:
        words = highs.modelStatusToString(highs.getModelStatus())
        raise SolverFailedError(f"HiGHS stopped with an error; model status: {words}")


def _outcome(highs: highspy.Highs, model: MilpModel, request: SolveRequest) -> MilpOutcome:
    raw = highs.getModelStatus()
    words = highs.modelStatusToString(raw)
    if raw.name not in _STATUSES:
        raise SolverFailedError(f"HiGHS gave no usable answer; model status: {words}")
    status, info = _STATUSES[raw.name], highs.getInfo()
    feasible = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
    is_mip = model.integers > 0
    values = None
    if feasible and (is_mip or status is SolveStatus.OPTIMAL):
        values = np.array(highs.getSolution().col_value, dtype=np.float64)[request.watched]
    incumbent = float(info.objective_function_value) if values is not None else math.inf
    if is_mip:
        bound = _bound(info.mip_dual_bound)
    else:
        # an unfinished linear program proves nothing; a finished one its own objective
        bound = incumbent if status is SolveStatus.OPTIMAL else -math.inf
    report = SolverReport(
        "highs", highs.version(), Licence.OPEN, words, request.tolerances.to_dict()
    )
    nodes = max(0, int(info.mip_node_count))
    return MilpOutcome(status, bound, incumbent, values, nodes, report)


def _bound(value: float) -> float:
    """Return an objective bound; HiGHS writes −∞ before it has one."""
    return float(value)
