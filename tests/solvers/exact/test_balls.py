"""The exact margin over balls: L1 exactly, L2 from outside and from inside."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.network import Network
from solvers.balls import Norm
from solvers.budget import Budget
from solvers.exact import ExactMode, ExactOptions, ExactResult, ExactStatus, exact_margin
from solvers.problem import Box, Case, Clause, Specification, norm_ball
from tests.helpers.graphs import mlp
from tests.helpers.intervals import interval_bounds
from tests.helpers.programs import brute_force_margin, margin_at

ATOL = 3e-4


def case_of(seed: int, norm: Norm, *, by: float = 0.0) -> Case:
    """A ball with radii of its own, cut by a range on some sides; two clauses."""
    random = np.random.default_rng(seed)
    region = norm_ball(
        random.uniform(-0.5, 0.5, 3), random.uniform(0.3, 0.9, 3), norm, valid_range=(-0.8, 0.8)
    )
    clauses = tuple(
        Clause(random.normal(size=(2, 3)), random.normal(size=2) - by) for _ in range(2)
    )
    return Case(region, Specification(clauses))


def solve(network: Network, case: Case, **settings: Any) -> ExactResult:  # noqa: ANN401
    bounds = interval_bounds(network, Box(case.region.lower, case.region.upper))
    options = ExactOptions(**settings)
    return exact_margin(network, case, bounds, options=options, budget=Budget.of_seconds(60))


def truth(network: Network, case: Case) -> float:
    return min(brute_force_margin(network, case.region, c) for c in case.specification.clauses)


@pytest.mark.parametrize("seed", range(4))
def test_the_optimum_over_an_l1_ball_equals_brute_force(seed: int) -> None:
    network, case = mlp((3, 3, 3, 3), seed=seed), case_of(seed, Norm.ONE)
    result = solve(network, case, mode=ExactMode.OPTIMIZE)
    expected = truth(network, case)
    assert result.status is ExactStatus.OPTIMAL
    assert expected - ATOL <= result.lower <= expected + 1e-9
    assert expected - 1e-9 <= result.upper <= expected + ATOL
    assert result.candidate is not None
    assert case.region.contains(result.candidate)


@pytest.mark.parametrize("by", [-0.05, 0.05])
def test_the_sign_over_an_l1_ball_is_decided(by: float) -> None:
    network = mlp((3, 3, 3, 3), seed=5)
    near = case_of(5, Norm.ONE, by=by - truth(network, case_of(5, Norm.ONE)))
    result = solve(network, near, mode=ExactMode.DECIDE)
    assert result.status is ExactStatus.DECIDED
    assert (result.proved, result.refuted) == (by > 0, by < 0)


@pytest.mark.parametrize("seed", range(4))
def test_an_l2_ball_is_bracketed(seed: int) -> None:
    network, case = mlp((3, 3, 3, 3), seed=seed), case_of(seed, Norm.TWO)
    result = solve(network, case, mode=ExactMode.OPTIMIZE)
    random = np.random.default_rng(seed)
    steps = random.normal(size=(400, 3)) * random.choice([0.3, 1, 10], (400, 1))
    points = [case.region.pulled_in(case.region.center + step) for step in steps]
    sampled = min(margin_at(network, c, x) for c in case.specification.clauses for x in points)
    assert result.lower <= sampled
    assert result.lower <= result.upper
    assert result.candidate is not None
    assert case.region.contains(result.candidate)
    box = Case(Box(case.region.lower, case.region.upper), case.specification)
    assert result.lower >= solve(network, box, mode=ExactMode.OPTIMIZE).lower - ATOL
    if result.upper - result.lower > ATOL:
        assert result.status is ExactStatus.RELAXED
        assert result.reason is not None
        assert "L2 ball" in result.reason


def test_an_l2_ball_never_claims_an_optimum_that_it_has_not() -> None:
    found = [
        solve(mlp((3, 3, 3, 3), seed=seed), case_of(seed, Norm.TWO), mode=ExactMode.OPTIMIZE)
        for seed in range(4)
    ]
    assert any(result.status is ExactStatus.RELAXED for result in found)
    for result in found:
        if result.status is ExactStatus.OPTIMAL:
            assert result.upper - result.lower <= ATOL


@pytest.mark.parametrize("by", [-1.0, 3.0])
def test_clear_signs_over_an_l2_ball_are_decided(by: float) -> None:
    network = mlp((3, 3, 3, 3), seed=1)
    plain = case_of(1, Norm.TWO)
    inside = solve(network, plain, mode=ExactMode.OPTIMIZE)
    end = inside.upper if by < 0 else inside.lower
    result = solve(network, case_of(1, Norm.TWO, by=np.sign(by) * 0.05 - end))
    assert result.status is ExactStatus.DECIDED
    assert (result.proved, result.refuted) == (by > 0, by < 0)


@pytest.mark.parametrize("norm", [Norm.ONE, Norm.TWO])
def test_a_ball_of_radius_zero_is_its_centre(norm: Norm) -> None:
    network = mlp((3, 3, 3, 3), seed=2)
    center = np.array([0.1, 0.2, 0.3])
    specification = case_of(2, norm).specification
    result = solve(network, Case(norm_ball(center, 0.0, norm), specification))
    expected = min(margin_at(network, c, center) for c in specification.clauses)
    assert result.status is ExactStatus.DECIDED
    assert result.upper == pytest.approx(expected, abs=1e-12)
