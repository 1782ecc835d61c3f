"""Solvers that lie, fail or run late: a wrong word must never become a proof or a verdict."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from solvers.budget import Budget
from solvers.errors import SolverFailedError, SolverUnavailableError
from solvers.exact import (
    ExactMode,
    ExactOptions,
    ExactResult,
    ExactStatus,
    Licence,
    MilpModel,
    MilpOutcome,
    MilpSolver,
    SolveRequest,
    SolverName,
    SolverSuite,
    exact_margin,
)
from solvers.exact.seam import Monitor, SolveStatus
from solvers.problem import Box, Case, Clause, Specification
from solvers.results import SolverReport
from tests.helpers.graphs import mlp
from tests.helpers.intervals import interval_bounds
from tests.helpers.programs import brute_force_margin

NETWORK = mlp((2, 3, 3, 2), seed=4)
REGION = Box(np.full(2, -0.5), np.full(2, 0.5))
ROW = np.array([[1.0, -1.0]])
EXACT = brute_force_margin(NETWORK, REGION, Clause(ROW, np.zeros(1)))
BOUNDS = interval_bounds(NETWORK, REGION)
SOLVERS = [SolverName.TREE, SolverName.HIGHS, SolverName.SCIP, SolverName.GUROBI]
REPORT = SolverReport("fake", "1", "open", "as told")


@dataclass
class FakeSolver(MilpSolver):
    """Answers what it is told to."""

    answer: Callable[[MilpModel, SolveRequest, Monitor], MilpOutcome]
    solves: list[MilpModel] = field(default_factory=list)

    @property
    def name(self) -> str:
        return "fake"

    @property
    def licence(self) -> Licence:
        return Licence.OPEN

    def solve(
        self,
        model: MilpModel,
        request: SolveRequest,
        budget: Budget,  # noqa: ARG002
        monitor: Monitor,
    ) -> MilpOutcome:
        self.solves.append(model)
        outcome = self.answer(model, request, monitor)
        monitor.raise_pending()
        return outcome


def outcome(
    status: SolveStatus = SolveStatus.OPTIMAL,
    bound: float = -math.inf,
    incumbent: float = math.inf,
    values: np.ndarray | None = None,
) -> MilpOutcome:
    return MilpOutcome(status, bound, incumbent, values, 7, REPORT)


def case_with(margin: float) -> Case:
    """One clause whose worst-case margin is as given."""
    return Case(REGION, Specification((Clause(ROW, np.array([EXACT - margin])),)))


def solve(
    solver: FakeSolver,
    *,
    margin: float,
    mode: ExactMode = ExactMode.DECIDE,
    incumbent: float = math.inf,
    budget: Budget | None = None,
) -> ExactResult:
    suite = SolverSuite(factories={SolverName.HIGHS: lambda: solver})
    return exact_margin(
        NETWORK,
        case_with(margin),
        BOUNDS,
        options=ExactOptions(mode=mode, solver=SolverName.HIGHS, suite=suite),
        budget=budget or Budget.of_seconds(60),
        incumbent=incumbent,
    )


def test_timeout_without_a_bound_proves_nothing() -> None:
    solver = FakeSolver(lambda *_: outcome(SolveStatus.STOPPED))
    result = solve(solver, margin=0.1, budget=Budget.of_seconds(0.2))
    assert result.status is ExactStatus.TIMEOUT
    assert not result.proved
    assert not result.refuted
    assert len(solver.solves) == 2  # each clause gets a second attempt


@pytest.mark.parametrize("status", [SolveStatus.OPTIMAL, SolveStatus.STOPPED])
def test_overstated_bound_is_an_error(status: SolveStatus) -> None:
    # the centre, which is always replayed, has a smaller margin than the bound claimed
    solver = FakeSolver(lambda *_: outcome(status, bound=50.0))
    with pytest.raises(SolverFailedError, match="disagree with the network"):
        solve(solver, margin=0.1)


def test_bound_above_an_incumbent_known_elsewhere_is_an_error() -> None:
    solver = FakeSolver(lambda *_: outcome(bound=0.5))
    with pytest.raises(SolverFailedError, match=r"an input with 0\.1 is known"):
        solve(solver, margin=0.1, incumbent=0.1, mode=ExactMode.OPTIMIZE)


@pytest.mark.parametrize("bound", [math.inf, math.nan])
def test_bound_that_is_no_number_is_an_error(bound: float) -> None:
    solver = FakeSolver(lambda *_: outcome(SolveStatus.STOPPED, bound=bound))
    with pytest.raises(SolverFailedError, match="for a finite margin"):
        solve(solver, margin=0.1)


def test_false_counterexample_is_not_a_verdict() -> None:
    def lie(model: MilpModel, request: SolveRequest, monitor: Monitor) -> MilpOutcome:
        monitor.saw_incumbent(np.zeros(2), -1e-7)
        assert not monitor.should_stop
        return outcome(bound=-1e-7, incumbent=-1e-7, values=np.zeros(2))

    result = solve(FakeSolver(lie), margin=0.05)
    assert result.status is ExactStatus.WITHIN_TOLERANCE
    assert not result.refuted
    assert result.upper > 0
    assert result.lower <= 0


def test_incumbent_below_its_own_bound_is_an_error() -> None:
    solver = FakeSolver(lambda *_: outcome(bound=0.05, incumbent=-0.5, values=np.zeros(2)))
    with pytest.raises(SolverFailedError, match="below its own objective bound"):
        solve(solver, margin=0.1)


def test_infeasible_is_an_error() -> None:
    solver = FakeSolver(lambda *_: outcome(SolveStatus.INFEASIBLE))
    with pytest.raises(SolverFailedError, match="infeasible"):
        solve(solver, margin=0.1)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_point_that_is_no_number_is_an_error(bad: float) -> None:
    def lie(model: MilpModel, request: SolveRequest, monitor: Monitor) -> MilpOutcome:
        monitor.saw_incumbent(np.array([0.0, bad]), -1.0)
        assert monitor.should_stop
        return outcome(SolveStatus.STOPPED)

    with pytest.raises(SolverFailedError, match="not finite"):
        solve(FakeSolver(lie), margin=0.1)


def test_point_outside_the_region_counts_only_inside_it() -> None:
    def lie(model: MilpModel, request: SolveRequest, monitor: Monitor) -> MilpOutcome:
        return outcome(SolveStatus.STOPPED, incumbent=-9.0, values=np.full(2, 40.0))

    result = solve(FakeSolver(lie), margin=0.1)
    assert result.candidate is not None
    assert REGION.contains(result.candidate)
    assert result.upper >= 0.1 - 1e-9


def test_bound_must_clear_the_safety() -> None:
    solver = FakeSolver(lambda *_: outcome(bound=5e-7))
    result = solve(solver, margin=0.1)
    assert result.status is ExactStatus.WITHIN_TOLERANCE
    assert not result.proved


def test_honest_bound_is_believed_less_the_safety() -> None:
    solver = FakeSolver(lambda *_: outcome(SolveStatus.STOPPED, bound=0.08))
    result = solve(solver, margin=0.1)
    assert result.status is ExactStatus.DECIDED
    assert result.proved
    safety = result.reports[0].tolerances["safety"]
    assert result.lower == pytest.approx(0.08 - safety, abs=1e-12)
    assert safety >= 1e-6
    assert result.nodes == 7


def test_unsound_bounds_are_found_by_replay() -> None:
    wrong = {name: (low, np.minimum(high, low + 1e-3)) for name, (low, high) in BOUNDS.items()}
    wrong["x"] = BOUNDS["x"]
    with pytest.raises(SolverFailedError, match="breaks the bounds given for node"):
        exact_margin(
            NETWORK,
            case_with(0.1),
            wrong,
            options=ExactOptions(solver=SolverName.HIGHS),
            budget=Budget.of_seconds(60),
        )


@pytest.mark.parametrize(
    "solver", [SolverName.TREE, SolverName.HIGHS, SolverName.SCIP, SolverName.GUROBI]
)
@pytest.mark.parametrize("seconds", [0.0, 0.02])
def test_no_time_is_a_status(solver: SolverName, seconds: float) -> None:
    result = exact_margin(
        NETWORK,
        case_with(0.1),
        BOUNDS,
        options=ExactOptions(solver=solver),
        budget=Budget.of_seconds(seconds),
        clause_lower=np.array([-0.3]),
    )
    assert result.status in {ExactStatus.TIMEOUT, ExactStatus.DECIDED}
    assert result.status is ExactStatus.TIMEOUT or seconds > 0
    assert -0.3 <= result.lower <= 0.1
    assert result.upper >= 0.1 - 1e-12, "rounding of the replayed margin"


@pytest.mark.parametrize(
    "solver", [SolverName.TREE, SolverName.HIGHS, SolverName.SCIP, SolverName.GUROBI]
)
def test_cancelled_in_mid_solve_returns_the_bracket_so_far(solver: SolverName) -> None:
    network = mlp((20, 30, 30, 30, 2), seed=1, scale=1.5)
    region = Box(np.full(20, -1.0), np.full(20, 1.0))
    stop = threading.Event()
    timer = threading.Timer(1.0, stop.set)
    timer.start()
    began = time.monotonic()
    result = exact_margin(
        network,
        Case(region, Specification((Clause(ROW, np.zeros(1)),))),
        interval_bounds(network, region),
        options=ExactOptions(mode=ExactMode.OPTIMIZE, solver=solver),
        budget=Budget.of_seconds(300, cancelled=stop.is_set),
    )
    timer.join()
    assert result.status is ExactStatus.CANCELLED
    assert "cancelled" in str(result.reason)
    assert result.lower < result.upper
    # not a timed assertion: without cancellation this program runs into the 300 s
    assert time.monotonic() - began < 250


def test_error_in_a_progress_hook_ends_the_search() -> None:
    def fail(_: object) -> None:
        raise RuntimeError("hook")

    network = mlp((3, 10, 10, 2), seed=2)
    region = Box(np.full(3, -1.0), np.full(3, 1.0))
    with pytest.raises(RuntimeError, match="hook"):
        exact_margin(
            network,
            Case(region, Specification((Clause(ROW, np.zeros(1)),))),
            interval_bounds(network, region),
            options=ExactOptions(mode=ExactMode.OPTIMIZE, solver=SolverName.HIGHS),
            budget=Budget.of_seconds(60),
            progress=fail,
        )


def test_solver_that_is_not_there_is_an_error() -> None:
    suite = SolverSuite(factories={})
    with pytest.raises(SolverUnavailableError, match="scip is not installed"):
        exact_margin(
            NETWORK,
            case_with(0.1),
            BOUNDS,
            options=ExactOptions(solver=SolverName.SCIP, suite=suite),
            budget=Budget.of_seconds(60),
        )
