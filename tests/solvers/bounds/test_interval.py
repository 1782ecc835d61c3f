"""Intervals: rounding outward, intersection, overflow."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from solvers.bounds import Interval, boxes_to_interval
from solvers.problem import Box

# Within float32's range: what lies beyond is no input of a float32 network.
numbers = st.floats(-3e38, 3e38, allow_nan=False)
pairs = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=6)


def box_of(values: list[tuple[float, float]]) -> Box:
    ends = np.sort(np.array(values, dtype=np.float64), axis=1)
    return Box(ends[:, 0], ends[:, 1])


def interval(lower: list[float], upper: list[float]) -> Interval:
    return Interval(torch.tensor([lower]), torch.tensor([upper]))


@given(pairs)
def test_float32_bounds_contain_the_box_and_are_as_close_as_can_be(
    values: list[tuple[float, float]],
) -> None:
    box = box_of(values)
    found = boxes_to_interval([box], torch.float32)
    lower, upper = found.lower[0].numpy(), found.upper[0].numpy()
    assert lower.dtype == np.float32
    assert (lower.astype(np.float64) <= box.lower).all()
    assert (upper.astype(np.float64) >= box.upper).all()
    assert (np.nextafter(lower, np.float32(np.inf)).astype(np.float64) > box.lower).all()
    assert (np.nextafter(upper, np.float32(-np.inf)).astype(np.float64) < box.upper).all()


@given(pairs)
def test_float64_bounds_are_the_box(values: list[tuple[float, float]]) -> None:
    box = box_of(values)
    found = boxes_to_interval([box, box], torch.float64)
    assert found.batch == 2
    assert (found.lower[1].numpy() == box.lower).all()
    assert (found.upper[1].numpy() == box.upper).all()


def test_a_float32_number_stays_what_it_is() -> None:
    box = box_of([(0.5, 0.5), (float(np.float32(0.1)), 1.0)])
    found = boxes_to_interval([box], torch.float32)
    assert found.lower[0].tolist() == [0.5, float(np.float32(0.1))]


def test_an_intersection_is_the_tighter_of_both() -> None:
    both = interval([0.0, -1.0], [2.0, 5.0]).intersect(interval([1.0, -2.0], [3.0, 4.0]))
    assert both.lower.tolist() == [[1.0, -1.0]]
    assert both.upper.tolist() == [[2.0, 4.0]]


def test_bounds_that_rounding_made_cross_keep_both_ends() -> None:
    both = interval([1.0], [1.0]).intersect(interval([1.0 + 1e-6], [1.0 + 1e-6]))
    assert (both.lower <= both.upper).all()
    assert both.lower.item() == 1.0
    assert both.upper.item() > 1.0


def test_not_a_number_gives_way_to_what_is_known() -> None:
    nothing = interval([torch.nan, -1.0], [2.0, torch.nan])
    known = interval([0.0, -3.0], [5.0, 4.0])
    for both in (nothing.intersect(known), known.intersect(nothing)):
        assert both.lower.tolist() == [[0.0, -1.0]]
        assert both.upper.tolist() == [[2.0, 4.0]]


def test_overflow_leaves_bounds_open() -> None:
    inf = torch.inf
    opened = interval([torch.nan, inf, -inf, 1.0], [torch.nan, inf, -inf, 2.0]).finite_or_open()
    assert opened.lower.tolist() == [[-inf, -inf, -inf, 1.0]]
    assert opened.upper.tolist() == [[inf, inf, inf, 2.0]]


def test_zero_at_an_end_is_stable() -> None:
    unstable = interval([-1.0, 0.0, -1.0, 0.0], [1.0, 1.0, 0.0, 0.0]).unstable
    assert unstable.tolist() == [[True, False, False, False]]
