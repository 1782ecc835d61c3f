"""Candidates are believed only where everything holds exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from models import OnnxRuntime, load_network
from solvers.problem import Box, Clause, Specification, robustness
from solvers.replay import confirm, holds_exactly
from tests.helpers.networks import mlp

REGION = Box(np.zeros(2), np.full(2, 0.1))
INSIDE = np.array([0.05, 0.0], dtype=np.float32)
ABOVE = np.array([0.05, 0.1], dtype=np.float32)  # float32(0.1) is above 0.1
# Holds where output 1 reaches output 0.
SPECIFICATION = robustness(0, 2)


class FixedRuntime:
    """Gives the same outputs whatever it is asked."""

    def __init__(self, outputs: object, dtype: type[np.floating[Any]] = np.float32) -> None:
        self.outputs = np.asarray(outputs, dtype=dtype)
        self.asked: list[NDArray[np.float32]] = []

    def run(self, x: NDArray[np.float32]) -> NDArray[Any]:
        self.asked.append(x)
        return self.outputs


def test_a_counterexample_is_confirmed_with_what_was_run() -> None:
    runtime = FixedRuntime([[1.0, 2.0]])
    found = confirm(runtime, REGION, SPECIFICATION, INSIDE.astype(np.float64))
    assert found is not None
    np.testing.assert_array_equal(found.x, INSIDE)
    np.testing.assert_array_equal(found.y, np.array([1, 2], dtype=np.float32))
    assert found.x.dtype == found.y.dtype == np.float32
    assert runtime.asked[0].shape == (1, 2)
    assert runtime.asked[0].dtype == np.float32


@pytest.mark.parametrize(
    "candidate",
    [
        ABOVE,
        np.array([-1e-30, 0.0]),
        np.array([np.nan, 0.0]),
        np.array([np.inf, 0.0]),
        np.array([1e300, 0.0]),
        np.array([0.05]),
        np.array([[0.05, 0.0]]),
    ],
)
def test_a_candidate_that_is_not_in_the_region_is_not_even_run(
    candidate: NDArray[np.floating],
) -> None:
    runtime = FixedRuntime([[1.0, 2.0]])
    assert confirm(runtime, REGION, SPECIFICATION, candidate) is None
    assert runtime.asked == []


@pytest.mark.parametrize(
    "outputs",
    [
        [[2.0, 1.0]],
        [[np.nan, 2.0]],
        [[np.nan, np.nan]],
        [[1.0, np.inf]],
        [[1.0, 2.0, 3.0]],
        [[1.0, 2.0], [1.0, 2.0]],
        [1.0, 2.0],
        [],
    ],
)
def test_outputs_that_do_not_meet_the_condition_confirm_nothing(outputs: object) -> None:
    assert confirm(FixedRuntime(outputs), REGION, SPECIFICATION, INSIDE) is None


def test_a_tie_counts_and_the_smallest_difference_does_not() -> None:
    one = np.float32(1.0)
    assert confirm(FixedRuntime([[one, one]]), REGION, SPECIFICATION, INSIDE) is not None
    more = np.nextafter(one, np.float32(2.0))
    assert confirm(FixedRuntime([[more, one]]), REGION, SPECIFICATION, INSIDE) is None


def test_a_runtime_in_double_precision_is_judged_in_double_precision() -> None:
    runtime = FixedRuntime([[1.0 + 1e-12, 1.0]], np.float64)
    assert confirm(runtime, REGION, SPECIFICATION, INSIDE) is None


def test_rounding_of_the_sum_does_not_decide() -> None:
    # 1e16 + 1 - 1e16 is 1, and 0 in float64 in that order.
    clause = Clause(np.array([[1.0, 1.0, -1.0]]), np.zeros(1))
    big = np.array([2.0**60, 1.0, 2.0**60])
    assert not holds_exactly(Specification((clause,)), big)
    assert holds_exactly(Specification((clause,)), big * [1, -1, 1])


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=3, max_size=3), st.integers(0, 1000))
def test_far_from_zero_exact_and_floating_point_agree(values: list[float], seed: int) -> None:
    generator = np.random.default_rng(seed)
    clauses = tuple(Clause(generator.normal(size=(2, 3)), generator.normal(size=2)) for _ in "ab")
    specification, y = Specification(clauses), np.array(values)
    margin = float(specification.margin(y))
    if abs(margin) > 1e-9:
        assert holds_exactly(specification, y) == (margin <= 0)


def test_real_networks_are_replayed() -> None:
    network = load_network(mlp((2, 4, 2)))
    runtime = OnnxRuntime(network)
    x = np.full((1, 2), 0.05, dtype=np.float32)
    y = runtime.run(x[np.newaxis])[0]
    region = Box(np.zeros((1, 2)), np.full((1, 2), 0.1))
    loser, winner = int(y.argmin()), int(y.argmax())
    found = confirm(runtime, region, robustness(loser, 2), x)
    assert found is not None
    np.testing.assert_array_equal(found.y, y)
    assert confirm(runtime, region, robustness(winner, 2), x) is None
