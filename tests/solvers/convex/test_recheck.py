"""What duals prove: never more than the minimum, whatever they are."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.budget import Budget
from solvers.convex.program import Program
from solvers.convex.programs import session_maker
from solvers.convex.recheck import safe_minimum, usable_duals
from solvers.errors import SolverUnavailableError
from solvers.exact import SolverName
from solvers.exact.model import MilpModel, Rows
from tests.helpers.programs import minimum


def _program(rng: np.random.Generator, columns: int = 6, rows: int = 5) -> MilpModel:
    """Return a feasible program with equalities, open sides and both sides closed."""
    matrix = rng.normal(size=(rows, columns)) * (rng.random((rows, columns)) < 0.7)
    lower, upper = -rng.random(columns), rng.random(columns)
    inside = matrix @ (lower + rng.random(columns) * (upper - lower))
    kinds = rng.integers(0, 4, rows)
    below = np.where(kinds == 1, -np.inf, inside - (kinds == 3) * 0.1)
    above = np.where(kinds == 2, np.inf, inside + (kinds == 3) * 0.1)
    return MilpModel(
        Rows(sp.csr_array(matrix), below, above),
        lower,
        upper,
        np.zeros(columns, dtype=np.bool_),
        rng.normal(size=columns),
        float(rng.normal()),
    )


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([0.0, 1e-6, 1.0, 1e6]))
def test_no_duals_prove_more_than_the_minimum(seed: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    model = _program(rng)
    duals = rng.normal(size=model.row_count) * size
    duals[rng.random(duals.size) < 0.1] = rng.choice([np.nan, np.inf, -np.inf])
    assert safe_minimum(model, duals) <= minimum(model) + 1e-7


@pytest.mark.parametrize("seed", range(8))
def test_optimal_duals_prove_the_minimum(seed: int) -> None:
    model = _program(np.random.default_rng(seed))
    program = Program(model, session_maker(SolverName.HIGHS))
    solution = program.minimum(model.objective, model.offset, Budget())
    assert solution.finished
    assert solution.lower == pytest.approx(minimum(model), abs=1e-6)


def test_infinite_sides_are_never_multiplied() -> None:
    model = _program(np.random.default_rng(1))
    open_ = replace(
        model,
        rows=Rows(
            model.rows.matrix,
            np.full(model.row_count, -np.inf),
            np.full(model.row_count, np.inf),
        ),
    )
    duals = np.ones(model.row_count)
    assert not usable_duals(open_.rows, duals).any()
    assert safe_minimum(open_, duals) == pytest.approx(open_.minimum_over_boxes(), abs=1e-9)


def test_overflow_proves_nothing() -> None:
    model = _program(np.random.default_rng(2))
    assert safe_minimum(model, np.full(model.row_count, 1e308)) == -math.inf


def test_the_bound_lies_below_in_exact_arithmetic() -> None:
    """Terms of 1e16 that cancel: plain summation would be off by more than 1."""
    matrix = sp.csr_array(np.array([[1e16, 1.0, -1e16]]))
    model = MilpModel(
        Rows(matrix, np.zeros(1), np.zeros(1)),
        np.array([0.0, -0.25, 0.0]),
        np.ones(3),
        np.zeros(3, dtype=np.bool_),
        np.array([1e16, 1.0, -1e16]),
        0.0,
    )
    assert safe_minimum(model, np.array([1.0])) <= 0.0
    assert safe_minimum(model, np.array([0.0])) <= -1e16


def test_added_rows_come_and_go() -> None:
    rng = np.random.default_rng(3)
    model = _program(rng)
    for name in (SolverName.HIGHS, SolverName.GUROBI):
        if name is SolverName.GUROBI:
            pytest.importorskip("gurobipy")
        program = Program(model, session_maker(name))
        before = program.minimum(model.objective, model.offset, Budget())
        row = sp.csr_array(model.objective[None])
        program.add(Rows(row, np.array([before.lower - model.offset + 0.05]), np.array([np.inf])))
        after = program.minimum(model.objective, model.offset, Budget())
        assert after.lower == pytest.approx(before.lower + 0.05, abs=1e-6)
        program.add(Rows(row, np.array([-1e3]), np.array([np.inf])))
        again = program.minimum(model.objective, model.offset, Budget())
        program.remove_idle(again.answer.duals, 1)
        assert program.cuts == 1
        last = program.minimum(model.objective, model.offset, Budget())
        assert last.lower == pytest.approx(after.lower, abs=1e-6)


def test_solvers_without_sessions_are_named() -> None:
    with pytest.raises(SolverUnavailableError, match="choose highs or gurobi"):
        session_maker(SolverName.SCIP)
