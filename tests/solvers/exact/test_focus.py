"""Bounds where the margin is at most a cutoff: no such input is lost."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.network import Network
from solvers.budget import Budget
from solvers.exact import BoundTightening, ExactMode, ExactOptions, ExactStatus, exact_margin
from solvers.exact.focus import Focus, focus_rounds
from solvers.problem import Box, Case, Clause, Specification
from tests.helpers.graphs import mlp
from tests.helpers.intervals import interval_bounds
from tests.helpers.programs import brute_force_margin

ROW = np.array([[1.0, -1.0, 0.0]])
REGION = Box(np.full(3, -0.7), np.full(3, 0.7))
CLAUSE = Clause(ROW, np.zeros(1))
CASE = Case(REGION, Specification((CLAUSE,)))


def rounds(network: Network, cutoff: float, *, threads: int = 1) -> list[Focus]:
    return list(
        focus_rounds(
            network,
            CASE,
            interval_bounds(network, REGION),
            clause=CLAUSE,
            cutoff=lambda: cutoff,
            options=ExactOptions(threads=threads),
            budget=Budget.of_seconds(60),
        )
    )


def focused(network: Network, cutoff: float, *, threads: int = 1) -> Focus:
    return rounds(network, cutoff, threads=threads)[-1]


def inputs_below(network: Network, cutoff: float, seed: int) -> torch.Tensor:
    """Return sampled inputs whose margin is at most a cutoff, shape `(some, 3)`."""
    x = np.random.default_rng(seed).uniform(REGION.lower, REGION.upper, (4000, 3))
    x[:8] = np.array(np.meshgrid(*[[-0.7, 0.7]] * 3)).reshape(3, -1).T
    y = network.to(torch.float64)(torch.from_numpy(x)).numpy()
    return torch.from_numpy(x[CLAUSE.margin(y.reshape(4000, -1)) <= cutoff])


@pytest.mark.parametrize("threads", [1, 2])
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0.05, 0.6))
def test_no_input_below_the_cutoff_leaves_the_bounds(threads: int, seed: int, share: float) -> None:
    network = mlp((3, 5, 5, 3), seed=seed).to(torch.float64)
    values = network(torch.from_numpy(np.random.default_rng(0).uniform(-0.7, 0.7, (500, 3))))
    margins = CLAUSE.margin(values.numpy().reshape(500, -1))
    cutoff = float(np.quantile(margins, share))
    result = focused(network, cutoff, threads=threads)
    assert not result.empty
    inside = inputs_below(network, cutoff, seed)
    assert len(inside)
    for name, value in network.graph.evaluate(inside, network.parameters).items():
        if name in result.bounds:
            lower, upper = result.bounds[name]
            assert (value.numpy() >= lower - 1e-9).all()
            assert (value.numpy() <= upper + 1e-9).all()


def test_rounds_only_tighten_and_say_which_is_the_last() -> None:
    network = mlp((3, 8, 8, 3), seed=3)
    found = rounds(network, float(inputs_margin(network)) + 0.3)
    assert [focus.last for focus in found] == [False] * (len(found) - 1) + [True]
    for before, after in itertools.pairwise(found):
        assert before.seconds <= after.seconds
        for name, (lower, upper) in after.bounds.items():
            assert (lower >= before.bounds[name][0]).all()
            assert (upper <= before.bounds[name][1]).all()


def test_no_time_for_tightening_ends_it_at_once() -> None:
    network = mlp((3, 8, 8, 3), seed=3)
    bounds = interval_bounds(network, REGION)
    (only,) = focus_rounds(
        network,
        CASE,
        bounds,
        clause=CLAUSE,
        cutoff=lambda: 0.0,
        options=ExactOptions(tightening_share=0.0),
        budget=Budget.of_seconds(60),
    )
    assert only.last
    assert not only.empty
    for name, pair in bounds.items():
        np.testing.assert_array_equal(only.bounds[name], pair)


def test_a_smaller_cutoff_leaves_tighter_bounds() -> None:
    network = mlp((3, 8, 8, 3), seed=1)
    exact = brute_force_margin(mlp((3, 3, 3, 3), seed=1), REGION, CLAUSE)
    widths = []
    for cutoff in (exact + 50.0, float(inputs_margin(network)) + 0.1):
        bounds = focused(network, cutoff).bounds
        widths.append(sum(float((upper - lower).sum()) for lower, upper in bounds.values()))
    assert widths[1] < 0.9 * widths[0]


def inputs_margin(network: Network) -> float:
    """Return the least margin of many samples."""
    x = np.random.default_rng(5).uniform(REGION.lower, REGION.upper, (4000, 3))
    y = network.to(torch.float64)(torch.from_numpy(x)).numpy()
    return float(CLAUSE.margin(y.reshape(4000, -1)).min())


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_empty_means_that_the_margin_is_above_the_cutoff(seed: int) -> None:
    network = mlp((3, 3, 3, 3), seed=seed)
    exact = brute_force_margin(network, REGION, CLAUSE)
    assert focused(network, exact - 20.0).empty
    assert not focused(network, exact + 1e-6).empty


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), tightening=st.sampled_from(list(BoundTightening)))
def test_the_exact_value_does_not_depend_on_the_tightening(
    seed: int, tightening: BoundTightening
) -> None:
    network = mlp((3, 3, 3, 3), seed=seed)
    exact = brute_force_margin(network, REGION, CLAUSE)
    result = exact_margin(
        network,
        CASE,
        interval_bounds(network, REGION),
        options=ExactOptions(mode=ExactMode.OPTIMIZE, tightening=tightening),
        budget=Budget.of_seconds(60),
    )
    assert result.status is ExactStatus.OPTIMAL
    assert result.lower <= exact + 1e-7
    assert result.upper >= exact - 1e-7
    assert result.upper - result.lower <= 3e-4
