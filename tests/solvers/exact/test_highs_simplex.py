"""The session of linear programs: what it proves holds, whatever the solver says."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from solvers.budget import Budget
from solvers.exact import MilpModel
from solvers.exact.highs_simplex import RelaxedStatus, Simplex
from solvers.exact.model import Rows
from tests.helpers.programs import minimum


def program(seed: int, *, columns: int = 6, rows: int = 5) -> MilpModel:
    """Return a random program of boxed columns, feasible at the middle of its boxes."""
    generator = np.random.default_rng(seed)
    matrix = sp.csr_array(generator.normal(size=(rows, columns)))
    slack = generator.uniform(0.1, 1.0, rows)
    lower = np.where(generator.random(rows) < 0.3, -np.inf, -slack)
    return MilpModel(
        Rows(matrix, lower, slack),
        np.full(columns, -1.0),
        np.full(columns, 1.0),
        np.zeros(columns, dtype=bool),
        generator.normal(size=columns),
        float(generator.normal()),
    )


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_bound_is_the_optimum_from_below(seed: int) -> None:
    model = program(seed)
    answer = Simplex(model).minimise(Budget())
    assert answer.status is RelaxedStatus.SOLVED
    truth = minimum(model)
    assert answer.bound <= truth + 1e-9
    assert answer.bound == pytest.approx(truth, abs=1e-6)
    assert answer.values is not None
    assert model.objective @ answer.values + model.offset == pytest.approx(truth, abs=1e-6)


def test_boxes_and_objectives_change_in_place() -> None:
    model, generator = program(3), np.random.default_rng(0)
    session = Simplex(model)
    for _ in range(8):
        columns = generator.choice(6, size=2, replace=False)
        lower, upper = np.sort(generator.uniform(-0.4, 0.4, (2, 2)), axis=0)
        objective, offset = generator.normal(size=6), float(generator.normal())
        session.set_boxes(columns, lower, upper)
        session.set_objective(objective, offset)
        changed = MilpModel(
            model.rows, session.lower, session.upper, model.integral, objective, offset
        )
        truth = minimum(changed)
        answer = session.minimise(Budget())
        assert answer.bound <= truth + 1e-9
        if math.isfinite(truth):
            assert answer.bound == pytest.approx(truth, abs=1e-6)
        else:
            assert answer.status is RelaxedStatus.EMPTY
        session.set_boxes(columns, np.full(2, -1.0), np.full(2, 1.0))


def test_boxes_are_taken_in_any_order_and_more_than_once() -> None:
    model = program(8)
    session = Simplex(model)
    session.set_boxes(np.array([4, 1, 4]), np.array([0.0, 0.1, 0.0]), np.array([0.2, 0.3, 0.2]))
    changed = replace(model, column_lower=session.lower, column_upper=session.upper)
    assert session.lower.tolist() == [-1.0, 0.1, -1.0, -1.0, 0.0, -1.0]
    assert session.minimise(Budget()).bound == pytest.approx(minimum(changed), abs=1e-6)


def test_emptiness_is_proved_by_multipliers() -> None:
    ones = sp.csr_array(np.ones((1, 2)))
    model = MilpModel(
        Rows(ones, np.array([3.0]), np.array([np.inf])),
        np.zeros(2),
        np.ones(2),
        np.zeros(2, dtype=bool),
        np.ones(2),
        0.0,
    )
    answer = Simplex(model).minimise(Budget())
    assert answer.status is RelaxedStatus.EMPTY
    assert answer.bound == math.inf


@pytest.mark.parametrize("gap", [1e-13, 0.0])
def test_emptiness_within_rounding_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, gap: float
) -> None:
    """x + y ≥ 2 + gap over the unit box: a solver that calls this empty proves nothing."""
    ones = sp.csr_array(np.ones((1, 2)))
    model = MilpModel(
        Rows(ones, np.array([2.0 + gap]), np.array([np.inf])),
        np.zeros(2),
        np.ones(2),
        np.zeros(2, dtype=bool),
        np.ones(2),
        0.0,
    )
    session = Simplex(model)
    monkeypatch.setattr(session, "_highs", _Lying(session, np.array([1.0])))
    answer = session.minimise(Budget())
    assert answer.status is RelaxedStatus.FAILED
    assert answer.bound == -math.inf


class _Lying:
    """HiGHS, but it calls every program infeasible and gives a ray."""

    def __init__(self, session: Simplex, ray: NDArray[np.float64]) -> None:
        self._real, self._ray = session._highs, ray

    def getModelStatus(self) -> Any:  # noqa: ANN401
        import highspy  # noqa: PLC0415

        return highspy.HighsModelStatus.kInfeasible

    def getDualRay(self) -> tuple[Any, bool, NDArray[np.float64]]:
        return None, True, self._ray

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._real, name)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([0.0, 1e-6, 1.0, 1e6]))
def test_any_multipliers_prove_only_what_is_true(seed: int, scale: float) -> None:
    model = program(seed)
    duals = scale * np.random.default_rng(seed + 1).normal(size=5)
    duals[0] = np.random.default_rng(seed).choice([np.nan, np.inf, duals[0]])
    proved = Simplex(model)._proved(duals, model.objective, model.offset)
    assert proved <= minimum(model) + 1e-9


def test_a_limit_ends_the_solve_with_a_bound_that_reaches_it() -> None:
    model = program(5)
    truth = minimum(model)
    answer = Simplex(model).minimise(Budget(), truth - 0.1)
    assert answer.status is RelaxedStatus.CUT
    assert truth - 0.1 <= answer.bound <= truth + 1e-9
    assert Simplex(model).minimise(Budget(), truth + 0.1).status is RelaxedStatus.SOLVED


def test_no_time_proves_nothing() -> None:
    answer = Simplex(program(1)).minimise(Budget.of_seconds(0.0))
    assert (answer.status, answer.bound) == (RelaxedStatus.STOPPED, -math.inf)
