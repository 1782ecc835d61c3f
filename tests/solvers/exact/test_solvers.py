"""The adapters: one small program through each, their licences, and what they refuse."""

from __future__ import annotations

import math

import highspy
import numpy as np
import pytest
import scipy.sparse as sp

from solvers.budget import Budget
from solvers.errors import SolverFailedError, SolverUnavailableError
from solvers.exact import (
    Licence,
    MilpModel,
    MilpSolver,
    SolveRequest,
    SolverName,
    SolverSuite,
    Tolerances,
)
from solvers.exact.gurobi import GurobiSolver
from solvers.exact.highs import HighsSolver
from solvers.exact.model import Rows
from solvers.exact.scip import ScipSolver
from solvers.exact.seam import Monitor, SolveStatus
from solvers.exact.tree import TreeSolver
from tests.helpers.programs import minimum

SOLVERS: list[type[MilpSolver]] = [HighsSolver, ScipSolver, GurobiSolver]


def knapsack(*, integral: bool = True) -> MilpModel:
    """Minimise −3a − 4b − 2c + 0.5 with 2a + 3b + c <= 4.5 and 1 <= a + c <= 2, columns in [0, 2].

    Continuous and integral optima differ.
    """
    matrix = np.array([[2.0, 3.0, 1.0], [1.0, 0.0, 1.0]])
    return MilpModel(
        Rows(sp.csr_array(matrix), np.array([-math.inf, 1.0]), np.array([4.5, 2.0])),
        np.zeros(3),
        np.full(3, 2.0),
        np.full(3, integral),
        np.array([-3.0, -4.0, -2.0]),
        0.5,
    )


def monitor(budget: Budget, seen: list[float] | None = None, stop: float = math.inf) -> Monitor:
    def incumbent(values: np.ndarray, objective: float) -> bool:
        if seen is not None:
            seen.append(objective)
        return False

    return Monitor(budget, incumbent, lambda *_: None, stop_bound=stop)


def solve(
    solver: MilpSolver, model: MilpModel, *, threads: int = 1, seconds: float = 30.0
) -> tuple[SolveStatus, float, float]:
    budget = Budget.of_seconds(seconds)
    request = SolveRequest(Tolerances(gap=0.0), np.arange(3), threads=threads)
    outcome = solver.solve(model, request, budget, monitor(budget))
    if outcome.values is not None:
        assert outcome.values @ model.objective + model.offset == pytest.approx(outcome.incumbent)
    return outcome.status, outcome.objective_bound, outcome.incumbent


@pytest.mark.parametrize("kind", SOLVERS)
@pytest.mark.parametrize("integral", [True, False])
def test_small_program_is_solved(kind: type[MilpSolver], integral: bool) -> None:
    model = knapsack(integral=integral)
    status, bound, incumbent = solve(kind(), model)
    expected = minimum(model)
    assert status is SolveStatus.OPTIMAL
    assert bound == pytest.approx(expected, abs=1e-6)
    assert incumbent == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", SOLVERS)
def test_infeasible_program_is_called_so(kind: type[MilpSolver]) -> None:
    model = knapsack()
    rows = Rows(model.rows.matrix, np.array([-math.inf, 1.25]), np.array([4.5, 1.75]))
    impossible = MilpModel(
        rows,
        model.column_lower,
        model.column_upper,
        model.integral,
        model.objective,
        model.offset,
    )
    assert solve(kind(), impossible)[0] is SolveStatus.INFEASIBLE


@pytest.mark.parametrize("kind", SOLVERS)
def test_report_names_solver_version_licence_and_tolerances(kind: type[MilpSolver]) -> None:
    solver = kind()
    budget = Budget.of_seconds(30)
    request = SolveRequest(Tolerances(), np.arange(3))
    report = solver.solve(knapsack(), request, budget, monitor(budget)).report
    assert report.solver == solver.name
    assert report.licence == solver.licence.value
    assert report.version[0].isdigit()
    assert report.status
    assert report.tolerances == {"feasibility": 1e-6, "dual": 1e-9, "gap": 1e-4}


@pytest.mark.parametrize("kind", SOLVERS)
def test_error_in_a_hook_comes_out(kind: type[MilpSolver]) -> None:
    def fail(values: np.ndarray, objective: float) -> bool:
        raise RuntimeError("hook")

    budget = Budget.of_seconds(30)
    request = SolveRequest(Tolerances(), np.arange(3))
    with pytest.raises(RuntimeError, match="hook"):
        kind().solve(knapsack(), request, budget, Monitor(budget, fail, lambda *_: None))


@pytest.mark.parametrize("kind", SOLVERS)
@pytest.mark.parametrize("integral", [True, False])
def test_no_time_left_proves_nothing_false(kind: type[MilpSolver], integral: bool) -> None:
    model = knapsack(integral=integral)
    status, bound, incumbent = solve(kind(), model, seconds=0.0)
    assert status in {SolveStatus.STOPPED, SolveStatus.OPTIMAL}
    assert bound <= minimum(model) + 1e-6
    assert incumbent >= minimum(model) - 1e-6


def test_highs_may_change_its_threads_within_a_process() -> None:
    expected = minimum(knapsack())
    for threads in (1, 2, 1):
        status, bound, _ = solve(HighsSolver(), knapsack(), threads=threads)
        assert status is SolveStatus.OPTIMAL
        assert bound == pytest.approx(expected, abs=1e-6)


def test_highs_that_drops_a_coefficient_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(highspy.Highs, "getNumNz", lambda _: 4)
    with pytest.raises(SolverFailedError, match="took 4 of 5 coefficients"):
        solve(HighsSolver(), knapsack())


def test_highs_that_ends_in_an_unknown_state_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = highspy.HighsModelStatus.kUnknown
    monkeypatch.setattr(highspy.Highs, "getModelStatus", lambda _: unknown)
    with pytest.raises(SolverFailedError, match="no usable answer"):
        solve(HighsSolver(), knapsack())


def wide_model(columns: int) -> MilpModel:
    empty = sp.csr_array((0, columns))
    return MilpModel(
        Rows(empty, np.zeros(0), np.zeros(0)),
        np.zeros(columns),
        np.ones(columns),
        np.ones(columns, dtype=bool),
        np.ones(columns),
        0.0,
    )


def test_size_beyond_a_restricted_licence_is_unavailable() -> None:
    solver = GurobiSolver()
    if solver.licence is not Licence.RESTRICTED:
        pytest.skip("this machine's Gurobi licence is not the restricted one")
    with pytest.raises(SolverUnavailableError, match="2001 columns"):
        solve(solver, wide_model(2001))


def test_licence_server_that_is_not_there_makes_gurobi_unavailable() -> None:
    solver = GurobiSolver({"TokenServer": "localhost", "TSPort": 9})
    assert solver.licence is Licence.UNAVAILABLE
    with pytest.raises(SolverUnavailableError, match="no usable licence"):
        solve(solver, knapsack())


class _Licensed(HighsSolver):
    """Stands for Gurobi with a given licence."""

    def __init__(self, state: Licence) -> None:
        self._state = state

    @property
    def name(self) -> str:
        return "gurobi"

    @property
    def licence(self) -> Licence:
        return self._state


def suite(licence: Licence | None, *, scip: bool = True) -> SolverSuite:
    def missing() -> MilpSolver:
        raise ImportError("No module named 'pyscipopt'")

    factories = {SolverName.HIGHS: HighsSolver, SolverName.SCIP: ScipSolver if scip else missing}
    if licence is not None:
        factories[SolverName.GUROBI] = lambda: _Licensed(licence)
    return SolverSuite(factories=factories)


@pytest.mark.parametrize(
    ("licence", "scip", "expected", "linear"),
    [
        (Licence.FULL, True, "gurobi", "gurobi"),
        (Licence.RESTRICTED, True, "scip", "highs"),
        (Licence.UNAVAILABLE, True, "scip", "highs"),
        (None, True, "scip", "highs"),
        (None, False, "highs", "highs"),
    ],
)
def test_automatic_choice(licence: Licence | None, scip: bool, expected: str, linear: str) -> None:
    chosen = suite(licence, scip=scip)
    assert chosen.choose(SolverName.AUTO).name == expected
    assert chosen.choose_linear(SolverName.AUTO).name == linear


def test_signs_go_to_our_own_tree_and_values_to_scip() -> None:
    chosen = SolverSuite(factories={SolverName.TREE: TreeSolver, SolverName.SCIP: ScipSolver})
    assert chosen.choose(SolverName.AUTO).name == "scip"
    assert chosen.choose(SolverName.AUTO, signs=True).name == "tree"


def test_our_own_tree_stands_in_for_scip() -> None:
    factories = {SolverName.TREE: TreeSolver, SolverName.HIGHS: HighsSolver}
    assert SolverSuite(factories=factories).choose(SolverName.AUTO).name == "tree"


def test_the_tree_takes_its_linear_programs_from_highs() -> None:
    assert suite(Licence.FULL).choose_linear(SolverName.TREE).name == "highs"


def test_solver_asked_for_is_taken_even_when_restricted() -> None:
    assert suite(Licence.RESTRICTED).choose(SolverName.GUROBI).licence is Licence.RESTRICTED


def test_solver_that_is_missing_says_so_each_time() -> None:
    chosen = suite(None, scip=False)
    for _ in range(2):
        with pytest.raises(SolverUnavailableError, match="pyscipopt"):
            chosen.choose(SolverName.SCIP)


def test_suite_keeps_its_solvers() -> None:
    chosen = SolverSuite()
    assert chosen.get(SolverName.GUROBI) is chosen.get(SolverName.GUROBI)


def test_monitor_stops_once_and_keeps_the_first_reason() -> None:
    watched = monitor(Budget.of_seconds(30), stop=1.0)
    assert not watched.should_stop
    watched.saw_bound(1.0, 3)
    watched.stop("incumbent")
    assert watched.should_stop
    assert watched.stop_reason == "bound"


@pytest.mark.parametrize("reason", ["timeout", "cancelled"])
def test_monitor_asks_the_budget(reason: str) -> None:
    seconds = 0.0 if reason == "timeout" else None
    watched = monitor(Budget.of_seconds(seconds, lambda: reason == "cancelled"))
    assert watched.should_stop
    assert watched.stop_reason == reason
