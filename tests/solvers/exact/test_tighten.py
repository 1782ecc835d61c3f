"""Tightening by linear programs: never loose, never wrong, never over its time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.budget import Budget
from solvers.exact import ExactOptions, SolverName
from solvers.exact.tighten import tighten_bounds
from solvers.problem import Box
from tests.helpers.graphs import mlp
from tests.helpers.intervals import interval_bounds

OPTIONS = ExactOptions(solver=SolverName.HIGHS)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_tightened_bounds_are_tighter_and_hold_at_samples(seed: int) -> None:
    network = mlp((3, 6, 6, 2), seed=seed)
    region = Box(np.full(3, -0.6), np.full(3, 0.6))
    bounds = interval_bounds(network, region)
    tight = tighten_bounds(network, region, bounds, options=OPTIONS, budget=Budget())
    x = np.random.default_rng(seed).uniform(region.lower, region.upper, (200, 3))
    values = network.to(torch.float64).graph.evaluate(
        torch.from_numpy(x), network.to(torch.float64).parameters
    )
    assert tight.keys() == bounds.keys()
    for name, (lower, upper) in tight.items():
        assert (lower >= bounds[name][0]).all()
        assert (upper <= bounds[name][1]).all()
        assert (lower <= upper).all()
        value = values[name].numpy()
        # half the slack of the interval bounds
        assert (value >= lower - 5e-10).all()
        assert (value <= upper + 5e-10).all()


def test_second_layer_gains() -> None:
    network = mlp((3, 8, 8, 2), seed=1)
    region = Box(np.full(3, -0.6), np.full(3, 0.6))
    bounds = interval_bounds(network, region)
    tight = tighten_bounds(network, region, bounds, options=OPTIONS, budget=Budget())
    unstable = (bounds["n3"][0] < 0) & (bounds["n3"][1] > 0)
    before = (bounds["n3"][1] - bounds["n3"][0])[unstable]
    after = (tight["n3"][1] - tight["n3"][0])[unstable]
    assert unstable.any()
    assert after.mean() < 0.95 * before.mean()
    for side in (0, 1):
        np.testing.assert_array_equal(tight["n5"][side], bounds["n5"][side])


@pytest.mark.parametrize("cancelled", [True, False])
def test_no_budget_changes_nothing(cancelled: bool) -> None:
    network = mlp((3, 6, 6, 2), seed=0)
    region = Box(np.full(3, -0.6), np.full(3, 0.6))
    bounds = interval_bounds(network, region)
    budget = Budget(cancelled=lambda: True) if cancelled else Budget.of_seconds(0.0)
    tight = tighten_bounds(network, region, bounds, options=OPTIONS, budget=budget)
    for name, pair in bounds.items():
        np.testing.assert_array_equal(tight[name], pair)
