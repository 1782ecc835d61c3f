"""Our own branch and bound: the optimum by enumeration, and sound whenever it is stopped."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from solvers.budget import Budget
from solvers.exact import MilpModel, MilpOutcome, SolveRequest, Tolerances
from solvers.exact.highs_simplex import Relaxed, RelaxedStatus, Simplex
from solvers.exact.model import Rows
from solvers.exact.seam import Monitor, SolveStatus
from solvers.exact.tree import TreeSolver
from tests.helpers.programs import minimum

PAIRS = np.array([[0, 1], [2, 3], [4, 5]])


def program(seed: int, *, binaries: int = 2) -> MilpModel:
    """Return a program with three exclusive pairs, two free columns and some binaries."""
    generator = np.random.default_rng(seed)
    columns = 8 + binaries
    matrix = generator.normal(size=(5, columns))
    lower = np.concatenate([np.zeros(6), -np.ones(2), np.zeros(binaries)])
    inside = matrix @ np.where(np.arange(columns) % 2 == 0, 0.0, 0.3) * np.ones(5)
    width = generator.uniform(0.2, 1.0, 5)
    integral = np.arange(columns) >= 8
    return MilpModel(
        Rows(sp.csr_array(matrix), inside - width, inside + width),
        lower,
        np.ones(columns),
        integral,
        generator.normal(size=columns),
        0.5,
    )


def enumerated(model: MilpModel, pairs: NDArray[np.int64]) -> float:
    """Return the optimum over all ways to make one column of each pair 0."""
    best = math.inf
    for sides in itertools.product((0, 1), repeat=len(pairs)):
        upper = model.column_upper.copy()
        upper[pairs[np.arange(len(pairs)), sides]] = 0.0
        best = min(best, minimum(replace(model, column_upper=upper)))
    return best


def solve(
    model: MilpModel,
    *,
    pairs: NDArray[np.int64] = PAIRS,
    stop: float = math.inf,
    budget: Budget | None = None,
    bounds: list[float] | None = None,
    points: list[NDArray[np.float64]] | None = None,
) -> MilpOutcome:
    seen: list[float] = [] if bounds is None else bounds
    tried: list[NDArray[np.float64]] = [] if points is None else points
    budget = Budget() if budget is None else budget

    def take(values: NDArray[np.float64], _: float) -> bool:
        tried.append(values)
        return False

    monitor = Monitor(budget, take, lambda bound, _: seen.append(bound), stop_bound=stop)
    request = SolveRequest(
        Tolerances(gap=0.0), np.arange(model.column_count), stop_bound=stop, pairs=pairs
    )
    return TreeSolver().solve(model, request, budget, monitor)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), binaries=st.integers(0, 3))
def test_the_optimum_is_that_of_enumeration(seed: int, binaries: int) -> None:
    model = program(seed, binaries=binaries)
    truth = enumerated(model, PAIRS)
    outcome = solve(model)
    assert outcome.proved
    if math.isinf(truth):
        assert outcome.status is SolveStatus.INFEASIBLE
        assert outcome.values is None
        return
    assert outcome.status is SolveStatus.OPTIMAL
    assert outcome.objective_bound <= truth + 1e-9
    assert outcome.objective_bound == pytest.approx(truth, abs=1e-6)
    assert outcome.incumbent == pytest.approx(truth, abs=1e-6)
    assert outcome.values is not None
    assert (outcome.values[PAIRS].min(axis=1) <= 1e-6).all()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), nodes=st.integers(0, 6))
def test_bounds_hold_whenever_it_is_stopped(seed: int, nodes: int) -> None:
    model = program(seed)
    truth = enumerated(model, PAIRS)
    bounds: list[float] = []
    outcome = solve(model, bounds=bounds, budget=Budget(cancelled=lambda: len(bounds) > nodes))
    assert all(bound <= truth + 1e-9 for bound in bounds)
    assert outcome.objective_bound <= truth + 1e-9
    assert bounds == sorted(bounds)


def test_a_stop_bound_spares_work() -> None:
    model = program(11)
    truth = enumerated(model, PAIRS)
    outcome = solve(model, stop=truth - 0.05)
    assert truth - 0.05 <= outcome.objective_bound <= truth + 1e-9
    assert outcome.nodes <= solve(model).nodes


def test_points_of_relaxations_are_offered() -> None:
    points: list[NDArray[np.float64]] = []
    model = program(2)
    solve(model, points=points)
    assert points
    assert all(point.shape == (model.column_count,) for point in points)


def test_relaxations_that_fail_prove_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = Relaxed(RelaxedStatus.FAILED, -math.inf)
    monkeypatch.setattr(Simplex, "minimise", lambda *_: failed)
    outcome = solve(program(0))
    assert outcome.status is SolveStatus.STOPPED
    assert outcome.objective_bound == -math.inf


def test_failures_near_the_root_are_made_up_for_below(monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = Simplex.minimise, []

    def flaky(self: Simplex, budget: Budget, limit: float = math.inf) -> Relaxed:
        calls.append(limit)
        if len(calls) <= 2:
            return Relaxed(RelaxedStatus.FAILED, -math.inf)
        return real(self, budget, limit)

    model = program(4)
    truth = enumerated(model, PAIRS)
    monkeypatch.setattr(Simplex, "minimise", flaky)
    outcome = solve(model)
    assert outcome.status is SolveStatus.OPTIMAL
    assert outcome.objective_bound == pytest.approx(truth, abs=1e-6)


@pytest.mark.parametrize("which", range(1, 6))
def test_a_solve_that_ends_before_the_budget_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    """HiGHS has a clock of its own: what it stopped on must not count as proved."""
    real, calls = Simplex.minimise, []

    def hasty(self: Simplex, budget: Budget, limit: float = math.inf) -> Relaxed:
        calls.append(limit)
        if len(calls) == which:
            return Relaxed(RelaxedStatus.STOPPED, -math.inf)
        return real(self, budget, limit)

    model = program(4)
    truth = enumerated(model, PAIRS)
    monkeypatch.setattr(Simplex, "minimise", hasty)
    outcome = solve(model)
    assert outcome.objective_bound <= truth + 1e-9
