"""SCIP behind the seam."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
import pyscipopt
from pyscipopt.scip import PY_SCIP_EVENTTYPE as SCIP_EVENTTYPE

from solvers.budget import Budget
from solvers.errors import SolverFailedError
from solvers.exact.model import MilpModel
from solvers.exact.seam import (
    FloatArray,
    Licence,
    MilpOutcome,
    MilpSolver,
    Monitor,
    SolveRequest,
    SolveStatus,
)
from solvers.results import SolverReport

__all__ = ["ScipSolver"]

_STATUSES = {
    "optimal": SolveStatus.OPTIMAL,
    "gaplimit": SolveStatus.OPTIMAL,
    "infeasible": SolveStatus.INFEASIBLE,
    "timelimit": SolveStatus.STOPPED,
    "userinterrupt": SolveStatus.STOPPED,
    "duallimit": SolveStatus.STOPPED,
    "primallimit": SolveStatus.STOPPED,
}
# Cutting planes over the long rows of a first layer cost more than they bring: a few rounds at the
# root, none below, measured 2 to 10 times faster than SCIP's default.
_CUTS = {"separating/maxroundsroot": 3, "separating/maxrounds": 0}
_SOFT_INFINITY = 1e19
_WATCH_SECONDS = 0.1


class ScipSolver(MilpSolver):
    """SCIP, through linear expressions and an event handler. It has one thread."""

    @property
    def name(self) -> str:
        """`scip`."""
        return "scip"

    @property
    def licence(self) -> Licence:
        """SCIP is free software."""
        return Licence.OPEN

    def solve(
        self, model: MilpModel, request: SolveRequest, budget: Budget, monitor: Monitor
    ) -> MilpOutcome:
        """Minimise a program; see `MilpSolver.solve`."""
        scip = pyscipopt.Model()
        scip.hideOutput()
        variables = _build(scip, model)
        _configure(scip, request, budget)
        watched = [variables[index] for index in request.watched]
        # request.start is left out: completing it spared nodes, and cost more than they did
        handler = _Events(watched, monitor)
        scip.includeEventhdlr(handler, "tightrope", "reports incumbents and bounds")
        _optimize(scip, monitor)
        monitor.raise_pending()
        return _outcome(scip, watched, request)


class _Events(pyscipopt.Eventhdlr):
    """Passes incumbents and bounds on."""

    _KINDS = (
        SCIP_EVENTTYPE.BESTSOLFOUND,
        SCIP_EVENTTYPE.NODESOLVED,
        SCIP_EVENTTYPE.LPSOLVED,
    )

    def __init__(self, watched: list[Any], monitor: Monitor) -> None:
        self._watched = watched
        self._monitor = monitor

    def eventinit(self) -> None:
        """Subscribe."""
        for kind in self._KINDS:
            self.model.catchEvent(kind, self)

    def eventexit(self) -> None:
        """Unsubscribe."""
        for kind in self._KINDS:
            self.model.dropEvent(kind, self)

    def eventexec(self, event: Any) -> None:  # noqa: ANN401  (pyscipopt has no stubs)
        """Report, and interrupt where asked to."""
        if event.getType() == SCIP_EVENTTYPE.BESTSOLFOUND:
            solution = self.model.getBestSol()
            objective = float(self.model.getSolObjVal(solution))
            self._monitor.saw_incumbent(_values(self.model, solution, self._watched), objective)
        else:
            bound = _finite(self.model.getDualbound())
            self._monitor.saw_bound(bound, int(self.model.getNTotalNodes()))
        if self._monitor.should_stop:
            self.model.interruptSolve()


def _values(scip: pyscipopt.Model, solution: Any, variables: list[Any]) -> FloatArray:  # noqa: ANN401
    return np.array([scip.getSolVal(solution, variable) for variable in variables])


def _build(scip: pyscipopt.Model, model: MilpModel) -> list[Any]:
    variables = [
        scip.addVar(lb=low, ub=high, vtype="I" if integral else "C", obj=cost)
        for low, high, integral, cost in zip(
            model.column_lower.tolist(),
            model.column_upper.tolist(),
            model.integral.tolist(),
            model.objective.tolist(),
            strict=True,
        )
    ]
    matrix = model.rows.matrix
    values, indices, starts = matrix.data.tolist(), matrix.indices.tolist(), matrix.indptr.tolist()
    sides = zip(model.rows.lower.tolist(), model.rows.upper.tolist(), strict=True)
    for row, (lower, upper) in enumerate(sides):
        entries = range(starts[row], starts[row + 1])
        terms = pyscipopt.quicksum(values[k] * variables[indices[k]] for k in entries)
        scip.addCons(
            pyscipopt.ExprCons(
                terms,
                lhs=lower if math.isfinite(lower) else None,
                rhs=upper if math.isfinite(upper) else None,
            )
        )
    scip.addObjoffset(model.offset)
    return variables


def _configure(scip: pyscipopt.Model, request: SolveRequest, budget: Budget) -> None:
    tolerances = request.tolerances
    parameters: dict[str, Any] = {
        "numerics/feastol": tolerances.feasibility,
        "numerics/dualfeastol": tolerances.dual,
        "limits/absgap": tolerances.gap,
        "limits/gap": tolerances.gap,
        "randomization/randomseedshift": request.seed,
        "timing/clocktype": 2,
        "misc/catchctrlc": False,
        **_CUTS,
    }
    if math.isfinite(budget.deadline):
        parameters["limits/time"] = budget.remaining_seconds
    if math.isfinite(request.stop_bound):
        parameters["limits/dual"] = request.stop_bound
    for name, value in parameters.items():
        scip.setParam(name, value)


def _optimize(scip: pyscipopt.Model, monitor: Monitor) -> None:
    """Solve without the interpreter's lock; events can be rare, so a thread watches as well."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_WATCH_SECONDS):
            if monitor.should_stop:
                scip.interruptSolve()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        scip.optimizeNogil()
    finally:
        done.set()
        watcher.join()


def _outcome(scip: pyscipopt.Model, watched: list[Any], request: SolveRequest) -> MilpOutcome:
    words = str(scip.getStatus())
    if words not in _STATUSES:
        raise SolverFailedError(f"SCIP gave no usable answer; status: {words}")
    values, incumbent = None, math.inf
    if scip.getNSols() > 0:
        solution = scip.getBestSol()
        values = _values(scip, solution, watched)
        incumbent = float(scip.getSolObjVal(solution))
    version = f"{scip.getMajorVersion()}.{scip.getMinorVersion()}.{scip.getTechVersion()}"
    report = SolverReport("scip", version, Licence.OPEN, words, request.tolerances.to_dict())
    return MilpOutcome(
        status=_STATUSES[words],
        objective_bound=_finite(scip.getDualbound()),
        incumbent=incumbent,
        values=values,
        nodes=int(scip.getNTotalNodes()),
        report=report,
    )


def _finite(value: float) -> float:
    """Return a bound with SCIP's ±1e20 as infinities."""
    return math.copysign(math.inf, value) if abs(value) >= _SOFT_INFINITY else float(value)
