"""Which float32 inputs belong to a region stated in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import BoundsError
from solvers.balls import Norm, NormBall
from solvers.float32_region import runnable_box
from solvers.problem import Box

numbers = st.floats(-1e30, 1e30, allow_nan=False) | st.floats(-1.0, 1.0)


def interval(lower: float, upper: float) -> Box:
    return Box(np.array([lower]), np.array([upper]))


@given(numbers, numbers)
def test_bounds_are_the_outermost_float32_numbers_inside(a: float, b: float) -> None:
    lower, upper = min(a, b), max(a, b)
    found = runnable_box(interval(lower, upper))
    low, up = found.lower[0], found.upper[0]
    assert low.dtype == up.dtype == np.float32
    assert low <= up
    below, above = np.nextafter(low, np.float32(-np.inf)), np.nextafter(up, np.float32(np.inf))
    if lower <= float(low) <= upper:
        assert lower <= float(up) <= upper
        assert float(below) < lower
        assert float(above) > upper
    else:  # nothing lies inside, so the neighbours stand in
        assert (low, up) == (np.float32(lower), np.float32(upper))
        assert float(above) > upper
        assert float(below) < lower


def test_a_fixed_input_is_the_float32_number_nearest_to_it() -> None:
    found = runnable_box(interval(0.1, 0.1))
    assert found.lower[0] == found.upper[0] == np.float32(0.1)
    assert found.contains(np.array([0.1], dtype=np.float32))
    assert not found.contains(np.nextafter(np.array([0.1], dtype=np.float32), np.float32(1)))


@given(numbers, numbers)
def test_inputs_stand_for_numbers_of_the_region(a: float, b: float) -> None:
    region = interval(min(a, b), max(a, b))
    found = runnable_box(region)
    for x in (found.lower, found.upper):
        meant = found.meant(x)
        assert (meant >= region.lower).all()
        assert (meant <= region.upper).all()
        assert (meant == x).all() == (not found.narrow.any())


def test_a_narrow_interval_of_a_ball_stands_for_its_center() -> None:
    center = np.array([0.1, 0.5])
    ball = NormBall(center, np.array([1e-12, 0.5]), Norm.TWO)
    found = runnable_box(Box(center - ball.radii, center + ball.radii, ball))
    x = found.nearest(np.array([0.1, 0.75]))
    assert found.meant(x).tolist() == [0.1, 0.75]


def test_a_bound_between_two_numbers_is_not_widened() -> None:
    found = runnable_box(interval(0.0, 0.1))
    assert float(found.upper[0]) <= 0.1
    assert not found.contains(np.array([0.1], dtype=np.float32))  # float32(0.1) is above 0.1


def test_only_float32_of_the_right_shape_lies_inside() -> None:
    found = runnable_box(interval(0.0, 1.0))
    assert found.contains(np.array([0.5], dtype=np.float32))
    assert not found.contains(np.array([0.5]))
    assert not found.contains(np.array([[0.5]], dtype=np.float32))
    assert not found.contains(np.array([np.nan], dtype=np.float32))


@given(st.floats(allow_nan=False), numbers, numbers)
def test_the_nearest_point_lies_inside(x: float, a: float, b: float) -> None:
    found = runnable_box(interval(min(a, b), max(a, b)))
    assert found.contains(found.nearest(np.array([x])))


def test_bounds_beyond_float32_are_refused() -> None:
    with pytest.raises(BoundsError, match=r"input 0 has bounds \[1e\+300, 1e\+301\] beyond"):
        runnable_box(interval(1e300, 1e301))
    # Infinity is no input, but numbers below it are.
    assert np.isfinite(runnable_box(interval(0.0, 1e300)).upper[0])
