"""Regions and specifications."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import BoundsError, ShapeError, SpecificationError
from solvers.problem import Box, Case, Clause, Problem, Specification, linf_ball, robustness

coordinates = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=6)


def box(*corners: tuple[float, float]) -> Box:
    return Box(np.array([low for low, _ in corners]), np.array([up for _, up in corners]))


def test_a_box_states_its_shape_and_centre() -> None:
    region = box((0.0, 1.0), (-2.0, 2.0)).reshape((1, 2))
    assert region.shape == (1, 2)
    assert region.center.tolist() == [[0.5, 0.0]]


@given(st.floats(-1e308, 1e308), st.floats(-1e308, 1e308))
def test_the_centre_lies_inside_whatever_the_rounding(a: float, b: float) -> None:
    region = box((min(a, b), min(a, b) + 1e-300), (a, a))
    assert region.contains(region.center)


@pytest.mark.parametrize(
    ("corners", "message"),
    [
        ([(0.0, 1.0), (2.0, 1.0)], "input 1 has lower bound 2.0 above upper bound 1.0"),
        ([(0.0, np.inf)], "input 0 has a bound that is not finite"),
        ([(0.0, 0.0), (np.nan, 1.0)], "input 1 has a bound that is not finite"),
        ([(-np.inf, np.nan)], "input 0 has a bound that is not finite"),
    ],
)
def test_boxes_that_are_none(corners: list[tuple[float, float]], message: str) -> None:
    with pytest.raises(BoundsError, match=message):
        box(*corners)


def test_boxes_of_the_wrong_shape() -> None:
    with pytest.raises(ShapeError, match=r"corners have shapes \(2,\) and \(3,\)"):
        Box(np.zeros(2), np.ones(3))
    with pytest.raises(ShapeError, match="the region has 2 inputs, the network 6"):
        box((0.0, 1.0), (0.0, 1.0)).reshape((2, 3))


def test_membership_is_compared_exactly() -> None:
    region = box((0.0, 0.1))
    assert region.contains(np.array([0.1]))
    assert not region.contains(np.array([0.1], dtype=np.float32))  # a little above 0.1
    assert not region.contains(np.array([np.nan]))


@given(coordinates, st.floats(0.0, 2.0))
def test_balls_hold_what_is_near_and_valid(values: list[float], epsilon: float) -> None:
    center = np.array(values)
    ball = linf_ball(center, epsilon)
    assert ball.contains(center)
    assert ball.lower.min() >= 0.0
    assert ball.upper.max() <= 1.0
    reach = np.maximum(ball.upper - center, center - ball.lower)
    assert reach.max() <= epsilon + 1e-15
    free = linf_ball(center, epsilon, valid_range=None)
    np.testing.assert_array_equal(free.upper, center + epsilon)
    np.testing.assert_array_equal(ball.lower, np.maximum(free.lower, 0.0))


@pytest.mark.parametrize(
    ("center", "epsilon", "valid_range", "message"),
    [
        ([0.5], -0.1, (0.0, 1.0), "epsilon is -0.1; give a finite number that is 0 or more"),
        ([0.5], np.nan, (0.0, 1.0), "epsilon is nan"),
        ([0.5], np.inf, None, "epsilon is inf"),
        ([np.nan], 0.1, (0.0, 1.0), "values that are not finite"),
        ([np.inf], 0.1, None, "values that are not finite"),
        ([0.5, 255.0], 0.1, (0.0, 1.0), r"span \[0.5, 255\], outside the valid range \[0, 1\]"),
        ([-0.1], 0.1, (0.0, 1.0), "outside the valid range"),
        ([0.5], 0.1, (1.0, 0.0), r"the valid range \[1.0, 0.0\] is empty"),
        ([0.5], 0.1, (np.nan, 1.0), "is empty"),
    ],
)
def test_balls_that_are_refused(
    center: list[float], epsilon: float, valid_range: tuple[float, float] | None, message: str
) -> None:
    with pytest.raises(BoundsError, match=message):
        linf_ball(np.array(center), epsilon, valid_range=valid_range)


def test_a_clause_is_as_far_from_holding_as_its_worst_row() -> None:
    clause = Clause(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([1.0, 5.0]))
    y = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 9.0]])
    assert clause.margin(y).tolist() == [-1.0, 2.0, 4.0]


def test_a_specification_is_as_near_as_its_nearest_clause() -> None:
    clauses = tuple(Clause(np.array([[1.0]]), np.array([offset])) for offset in (1.0, 2.0))
    specification = Specification(clauses, ("small", "large"))
    assert specification.outputs == 1
    assert specification.margin(np.array([[0.0], [3.0]])).tolist() == [-2.0, 1.0]
    assert specification.holds_at(np.array([2.0]))
    assert not specification.holds_at(np.array([2.1]))
    assert not specification.holds_at(np.array([np.nan]))


@pytest.mark.parametrize(
    ("matrix", "offset", "message"),
    [
        (np.zeros((2, 3)), np.zeros(3), r"shape \(2, 3\) and an offset of shape \(3,\)"),
        (np.zeros(3), np.zeros(3), "must be"),
        (np.zeros((0, 3)), np.zeros(0), "without rows"),
        (np.full((1, 1), np.nan), np.zeros(1), "not finite"),
        (np.ones((1, 1)), np.array([np.inf]), "not finite"),
    ],
)
def test_clauses_that_are_none(matrix: np.ndarray, offset: np.ndarray, message: str) -> None:
    with pytest.raises(SpecificationError, match=message):
        Clause(matrix, offset)


def test_specifications_and_problems_that_are_none() -> None:
    one, two = (Clause(np.ones((1, n)), np.zeros(1)) for n in (1, 2))
    with pytest.raises(SpecificationError, match="no clause"):
        Specification(())
    with pytest.raises(SpecificationError, match="different numbers of outputs"):
        Specification((one, two))
    with pytest.raises(SpecificationError, match="one label per clause"):
        Specification((one,), ("a", "b"))
    first = Case(box((0.0, 1.0)), Specification((one,)))
    with pytest.raises(SpecificationError, match="no case"):
        Problem(())
    with pytest.raises(SpecificationError, match="regions of different shapes"):
        Problem((first, Case(box((0.0, 1.0), (0.0, 1.0)), first.specification)))
    with pytest.raises(SpecificationError, match="different numbers of outputs"):
        Problem((first, Case(first.region, Specification((two,)))))


@given(
    st.lists(st.floats(-10, 10), min_size=2, max_size=6).flatmap(
        lambda y: st.tuples(st.just(y), st.integers(0, len(y) - 1))
    )
)
def test_robustness_holds_where_another_class_wins_or_ties(case: tuple[list[float], int]) -> None:
    y, label = np.array(case[0]), case[1]
    specification = robustness(label, len(y))
    others = np.delete(y, label)
    assert float(specification.margin(y)) == y[label] - others.max()
    assert specification.holds_at(y) == bool(others.max() >= y[label])
    assert specification.labels == tuple(f"target {t}" for t in range(len(y)) if t != label)


def test_robustness_against_chosen_targets() -> None:
    specification = robustness(1, 4, (3,))
    assert specification.labels == ("target 3",)
    assert not specification.holds_at(np.array([9.0, 1.0, 9.0, 0.0]))
    assert specification.holds_at(np.array([0.0, 1.0, 0.0, 1.0]))


@pytest.mark.parametrize(
    ("label", "targets", "message"),
    [
        (3, None, "label 3 is out of range: the network has 3 outputs, so labels go from 0 to 2"),
        (-1, None, "label -1 is out of range"),
        (0, (0,), "target 0 is not a class"),
        (0, (3,), "target 3 is not a class"),
        (0, (), "no clause"),
    ],
)
def test_robustness_that_makes_no_sense(
    label: int, targets: tuple[int, ...] | None, message: str
) -> None:
    with pytest.raises(SpecificationError, match=message):
        robustness(label, 3, targets)


def test_a_region_fits_inputs_of_its_own_shape_alone() -> None:
    region = Box(np.zeros((1, 4)), np.ones((1, 4)))
    region.require_shape((1, 4))
    with pytest.raises(ShapeError, match=r"region has shape \(1, 4\), the network takes \(4,\)"):
        region.require_shape((4,))
