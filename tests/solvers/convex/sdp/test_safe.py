"""Bounds from multipliers: whatever those are, nothing unproved comes out."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.budget import Budget
from solvers.convex.sdp import safe
from solvers.convex.sdp.interior import InteriorPoint, InteriorSettings
from solvers.convex.sdp.program import Program
from solvers.convex.sdp.rounding import cholesky_proves, gamma
from solvers.convex.sdp.safe import Multipliers, dual_matrix, safe_bound
from tests.helpers.graphs import mlp
from tests.helpers.lifted import LiftedCase, columns_at, inputs_of, lifted_case
from tests.helpers.programs import brute_force_margin

TINY = lifted_case(mlp((3, 3, 3, 3), seed=8), 0.7)
PROGRAM = TINY.program()
EXACT = brute_force_margin(TINY.network, TINY.case.region, TINY.case.specification.clauses[0])
BEST = InteriorPoint(PROGRAM, InteriorSettings(rounds=0, tolerance=1e-7), 0).run(Budget())


def random_multipliers(
    program: Program, generator: np.random.Generator, size: float
) -> Multipliers:
    return Multipliers(
        program.products,
        generator.normal(size=program.size - 1) * size,
        generator.normal(size=program.products.count) * size,
    )


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.floats(1e-6, 1e3))
def test_random_multipliers_prove_nothing_false(seed: int, size: float) -> None:
    given_ = random_multipliers(PROGRAM, np.random.default_rng(seed), size)
    assert safe_bound(PROGRAM, given_) <= EXACT + 1e-9


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), noise=st.floats(1e-12, 1.0))
def test_perturbed_optimal_multipliers_stay_below_the_optimum(seed: int, noise: float) -> None:
    generator = np.random.default_rng(seed)
    product = BEST.product * (1.0 + noise * generator.normal(size=BEST.product.size))
    diagonal = BEST.diagonal * (1.0 + noise * generator.normal(size=BEST.diagonal.size))
    bound = safe_bound(PROGRAM, Multipliers(BEST.products, diagonal, product))
    assert bound <= EXACT + 1e-9
    assert bound > -np.inf


def test_optimal_multipliers_lose_next_to_nothing_to_rounding() -> None:
    looser = InteriorPoint(PROGRAM, InteriorSettings(rounds=0, tolerance=1e-3), 0).run(Budget())
    best, near = safe_bound(PROGRAM, BEST), safe_bound(PROGRAM, looser)
    assert near <= best <= EXACT
    assert best - near < 1e-2


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf, 1e308])
def test_numbers_that_are_none_count_as_nothing(poison: float) -> None:
    for part in ("diagonal", "product"):
        values = getattr(BEST, part).copy()
        values[::2] = poison
        bound = safe_bound(PROGRAM, replace(BEST, **{part: values}))
        assert not np.isnan(bound)
        assert bound <= EXACT


def test_the_dual_matrix_is_the_lagrangian() -> None:
    generator = np.random.default_rng(3)
    given_ = random_multipliers(PROGRAM, generator, 1.0)
    matrix, forms = dual_matrix(PROGRAM, given_), PROGRAM.forms.matrix
    assert matrix == pytest.approx(matrix.T, abs=0.0)
    for _ in range(20):
        w = np.concatenate([[1.0], generator.uniform(-1, 1, PROGRAM.size - 1)])
        values = forms @ w
        pairs = values[given_.products.left] * values[given_.products.right]
        lagrangian = PROGRAM.objective.coefficients @ w - given_.product @ pairs
        lagrangian -= given_.diagonal @ (1.0 - w[1:] ** 2)
        assert w @ matrix @ w == pytest.approx(lagrangian, abs=1e-10)


def test_a_large_matrix_is_repaired_without_its_spectrum(monkeypatch: pytest.MonkeyPatch) -> None:
    thorough = safe_bound(PROGRAM, BEST)
    monkeypatch.setattr(safe, "_DENSE_SPECTRUM", 0)
    quick = safe_bound(PROGRAM, BEST)
    assert quick == pytest.approx(thorough, abs=1e-3)
    wild = random_multipliers(PROGRAM, np.random.default_rng(0), 1.0)
    assert safe_bound(PROGRAM, wild) <= EXACT


def rational_determinants(matrix: np.ndarray) -> list[Fraction]:
    """Return the leading principal minors, exactly, by elimination in fractions."""
    rows = [[Fraction(value) for value in row] for row in matrix.tolist()]
    minors, product = [], Fraction(1)
    for pivot in range(len(rows)):
        product *= rows[pivot][pivot]
        minors.append(product)
        if rows[pivot][pivot] == 0:
            break
        for below in range(pivot + 1, len(rows)):
            share = rows[below][pivot] / rows[pivot][pivot]
            rows[below] = [a - share * b for a, b in zip(rows[below], rows[pivot], strict=True)]
    return minors


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000), rank=st.integers(1, 7), shift=st.sampled_from([0, -50, 50, -53])
)
def test_what_cholesky_proves_holds_in_exact_arithmetic(seed: int, rank: int, shift: int) -> None:
    generator = np.random.default_rng(seed)
    half = generator.normal(size=(7, rank))
    matrix = half @ half.T
    matrix = (matrix + matrix.T) / 2 + np.sign(shift) * 2.0 ** -abs(shift) * np.eye(7)
    proved = cholesky_proves(matrix)
    if proved > -np.inf:
        # λmin > proved exactly where matrix − proved is positive definite: all minors positive
        lifted = [[Fraction(v) for v in row] for row in matrix.tolist()]
        for index in range(7):
            lifted[index][index] -= Fraction(proved)
        minors = rational_determinants(np.array(lifted, dtype=object))
        assert len(minors) == 7
        assert all(minor > 0 for minor in minors)


def test_cholesky_refuses_what_is_not_positive_or_not_finite() -> None:
    assert cholesky_proves(np.diag([1.0, -1e-8])) == -np.inf
    assert cholesky_proves(np.array([[np.nan]])) == -np.inf
    assert cholesky_proves(np.eye(3)) == pytest.approx(0.0, abs=1e-13)
    assert gamma(100) > 100 * np.finfo(float).eps / 2


def test_errors_of_forms_are_paid_for() -> None:
    paid = replace(PROGRAM, forms=replace(PROGRAM.forms, error=PROGRAM.forms.error + 1e-3))
    assert safe_bound(paid, BEST) < safe_bound(PROGRAM, BEST) - 1e-4


def test_the_bound_lies_below_every_run_of_a_larger_network() -> None:
    case: LiftedCase = lifted_case(mlp((6, 30, 30, 4), seed=3), 0.3)
    program = case.program()
    method = InteriorPoint(program, InteriorSettings(rounds=1), 0)
    bound = safe_bound(program, method.run(Budget()))
    for x in inputs_of(case.case, 400):
        w = columns_at(case, x)
        assert program.objective.scale * (program.objective.coefficients @ w) >= bound
    assert bound > case.crown[0]
