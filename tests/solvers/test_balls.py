"""Balls: membership decided exactly and against the point if in doubt, points pulled inside."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import BoundsError, ShapeError
from solvers.balls import Norm, NormBall
from solvers.float32_region import runnable_box
from solvers.problem import Box, linf_ball, norm_ball

ROUND = (Norm.TWO, Norm.ONE)
norms = st.sampled_from(ROUND)
seeds = st.integers(0, 2**32 - 1)


def exact_length(ball: NormBall, x: np.ndarray) -> Fraction:
    """Return the sum of the p-th powers of scaled distances, without any rounding."""
    power = 2 if ball.norm is Norm.TWO else 1
    return sum(
        (
            abs((Fraction(float(a)) - Fraction(float(c))) / Fraction(float(r))) ** power
            for a, c, r in zip(x.ravel(), ball.center.ravel(), ball.radii.ravel(), strict=True)
        ),
        Fraction(0),
    )


@given(seeds, norms, st.booleans())
def test_membership_agrees_with_rational_arithmetic(seed: int, norm: Norm, equal: bool) -> None:
    random = np.random.default_rng(seed)
    radii = np.full(4, 0.25) if equal else random.uniform(0.01, 1, 4)
    ball = NormBall(random.uniform(-1, 1, 4), radii, norm)
    direction = random.normal(size=4)
    surface = ball.center + direction / ball.length(ball.center + direction)
    for step in range(-3, 4):
        x = surface * (1 + step * 2.0**-52)
        assert ball.contains(x) == (exact_length(ball, x) <= 1)


@pytest.mark.parametrize("norm", ROUND)
def test_the_sphere_itself_is_inside_and_the_next_number_is_not(norm: Norm) -> None:
    ball = NormBall(np.zeros(3), np.full(3, 0.5), norm)
    pole = np.array([0.5, 0.0, 0.0])
    assert ball.contains(pole)
    assert not ball.contains(np.array([np.nextafter(0.5, 1), 0.0, 0.0]))
    assert not ball.contains(np.array([0.5, 1e-200, 0.0])), "far below the rounding of any sum"


def test_a_point_in_doubt_is_refused() -> None:
    # With radii 1 and 3 the quotient 1/3 is no binary number; 2/3 in float64 is below 2/3.
    ball = NormBall(np.zeros(2), np.array([1.0, 3.0]), Norm.ONE)
    assert ball.contains(np.array([2 / 3, 1.0]))
    assert not ball.contains(np.array([np.nextafter(2 / 3, 1), 1.0]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("norm", ROUND)
def test_what_is_not_a_number_is_outside(bad: float, norm: Norm) -> None:
    region = norm_ball(np.full(2, 0.5), 0.2, norm)
    assert not NormBall(np.zeros(2), np.ones(2), norm).contains(np.array([0.0, bad]))
    assert not runnable_box(region).contains(np.array([0.5, bad], dtype=np.float32))


def test_a_point_of_another_shape_is_outside() -> None:
    assert not NormBall(np.zeros(2), np.ones(2), Norm.TWO).contains(np.zeros((1, 2)))


@pytest.mark.parametrize("norm", ROUND)
def test_values_without_a_radius_must_be_the_centre(norm: Norm) -> None:
    ball = NormBall(np.zeros(2), np.array([1.0, 0.0]), norm)
    assert ball.contains(np.array([0.9, 0.0]))
    assert not ball.contains(np.array([0.0, 5e-324]))
    assert ball.pulled_in(np.array([2.0, 1.0]))[1] == 0.0


@given(seeds, norms, st.sampled_from([1e-30, 1e-9, 1e-3, 0.4, 50.0]))
def test_points_are_pulled_inside(seed: int, norm: Norm, scale: float) -> None:
    random = np.random.default_rng(seed)
    center = random.uniform(0, 1, (2, 3))
    region = norm_ball(center, scale * random.uniform(0, 1, (2, 3)), norm)
    x = center + scale * random.normal(size=(2, 3)) * random.choice([0.1, 1.0, 100.0])
    inside = region.pulled_in(x)
    assert region.contains(inside)
    np.testing.assert_array_equal(region.pulled_in(inside), inside)


@given(seeds, norms, st.sampled_from([1e-4, 0.1, 3.0]))
def test_float32_inputs_are_pulled_inside(seed: int, norm: Norm, scale: float) -> None:
    random = np.random.default_rng(seed)
    center = random.uniform(0, 1, 6)  # not float32 numbers
    region = norm_ball(center, scale * random.uniform(0.5, 1, 6), norm)
    runnable = runnable_box(region)
    x = runnable.nearest(center + scale * random.normal(size=6))
    assert x.dtype == np.float32
    assert runnable.contains(x)
    assert region.contains(x)


def test_a_ball_without_a_float32_input_has_none() -> None:
    # Each interval holds a float32 number, but all of them together lie outside the ball.
    center = np.full(100, 1.0) + 2.0**-25
    region = norm_ball(center, 2.0**-24, Norm.ONE, valid_range=None)
    runnable = runnable_box(region)
    assert not runnable.contains(runnable.nearest(center))


def test_fixed_inputs_stand_for_the_float32_numbers_nearest() -> None:
    radii = np.array([0.5, 0.0])
    runnable = runnable_box(norm_ball(np.array([0.5, 0.1]), radii, Norm.TWO))
    x = np.array([1.0, 0.1], dtype=np.float32)
    assert runnable.contains(x)
    assert not runnable.contains(np.nextafter(x, np.ones(2, dtype=np.float32)))


@given(seeds, norms)
def test_the_box_holds_the_ball_and_stays_in_the_valid_range(seed: int, norm: Norm) -> None:
    random = np.random.default_rng(seed)
    center, radii = random.uniform(0, 1, 3), random.uniform(0, 1, 3)
    free = norm_ball(center, radii, norm, valid_range=None)
    assert all(
        Fraction(low) <= Fraction(c) - Fraction(r)
        for low, c, r in zip(free.lower, center, radii, strict=True)
    )
    assert all(
        Fraction(up) >= Fraction(c) + Fraction(r)
        for up, c, r in zip(free.upper, center, radii, strict=True)
    )
    cut = norm_ball(center, radii, norm)
    assert cut.lower.min() >= 0
    assert cut.upper.max() <= 1
    np.testing.assert_array_equal(cut.center, center)


def test_a_ball_of_the_maximum_norm_is_a_box() -> None:
    center = np.array([0.5, 0.9])
    found = norm_ball(center, 0.2, Norm.INF)
    wanted = linf_ball(center, 0.2)
    assert found.ball is None
    np.testing.assert_array_equal(found.lower, wanted.lower)
    np.testing.assert_array_equal(found.upper, wanted.upper)


def test_radii_may_differ() -> None:
    found = linf_ball(np.full(2, 0.5), np.array([0.1, 0.0]))
    np.testing.assert_array_equal(found.lower, [0.4, 0.5])
    with pytest.raises(ShapeError, match="one per value"):
        linf_ball(np.full(2, 0.5), np.array([0.1, 0.2, 0.3]))


def test_a_region_keeps_its_ball_in_another_shape() -> None:
    region = norm_ball(np.full(4, 0.5), 0.1, Norm.TWO).reshape((2, 2))
    assert region.ball is not None
    assert region.ball.center.shape == (2, 2)
    assert not region.contains(np.full((2, 2), 0.6))


@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("epsilon", [-0.1, np.nan, np.inf])
def test_the_radius_is_a_finite_number(norm: Norm, epsilon: float) -> None:
    with pytest.raises(BoundsError, match="0 or more"):
        norm_ball(np.full(2, 0.5), epsilon, norm)


@pytest.mark.parametrize("norm", list(Norm))
def test_data_lie_in_the_valid_range(norm: Norm) -> None:
    with pytest.raises(BoundsError, match="outside the valid range"):
        norm_ball(np.array([0.5, 255.0]), 0.1, norm)
    with pytest.raises(BoundsError, match="is empty"):
        norm_ball(np.array([0.5]), 0.1, norm, valid_range=(1.0, 0.0))
    with pytest.raises(BoundsError, match="not finite"):
        norm_ball(np.array([np.nan]), 0.1, norm)


def test_balls_that_make_no_sense_are_refused() -> None:
    zero, one = np.zeros(2), np.ones(2)
    with pytest.raises(BoundsError, match="is a box"):
        NormBall(zero, one, Norm.INF)
    with pytest.raises(ShapeError):
        NormBall(zero, np.ones(3), Norm.TWO)
    with pytest.raises(BoundsError, match="radii"):
        NormBall(zero, -one, Norm.TWO)
    with pytest.raises(BoundsError, match="centre"):
        NormBall(zero * np.nan, one, Norm.TWO)
    with pytest.raises(BoundsError, match="outside its box"):
        Box(one, one + 1, NormBall(zero, one, Norm.TWO))
    with pytest.raises(ShapeError, match="its box"):
        Box(zero, one, NormBall(np.zeros(3), np.ones(3), Norm.TWO))
