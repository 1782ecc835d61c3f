"""Hidden bounds by linear programs: tighter, sound, and the same on any number of threads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.network import Network
from solvers.budget import Budget
from solvers.convex.margins import ProgramOptions
from solvers.convex.programs import LinearAnswer
from solvers.convex.tighten import tighten_by_programs
from solvers.problem import Case
from tests.helpers.intervals import interval_bounds
from tests.solvers.convex.support import case_of, convolutional, dense, lying

OPTIONS = ProgramOptions()


def _hold(network: Network, case: Case, bounds: object) -> bool:
    assert isinstance(bounds, dict)
    rng = np.random.default_rng(0)
    share = rng.random((400, *network.input_shape))
    share[::2] = share[::2] > 0.5
    x = case.region.lower + share * (case.region.upper - case.region.lower)
    values = network.graph.evaluate(torch.from_numpy(x), network.parameters)
    return all(
        (values[name].numpy() >= lower - 1e-9).all()
        and (values[name].numpy() <= upper + 1e-9).all()
        for name, (lower, upper) in bounds.items()
    )


@pytest.mark.parametrize("seed", range(3))
def test_bounds_are_tighter_and_hold(seed: int) -> None:
    for network in (dense(seed, (4, 12, 12, 3)), convolutional(seed)):
        case = case_of(network, seed, 0.2)
        start = interval_bounds(network, case.region)
        found = tighten_by_programs(
            network, case.region, start, options=OPTIONS, budget=Budget(), workers=2
        )
        gained = [
            float(((high - low) - (found[name][1] - found[name][0])).sum())
            for name, (low, high) in start.items()
        ]
        assert min(gained) >= 0
        assert max(gained) > 0.01
        assert _hold(network, case, found)


def test_threads_change_nothing() -> None:
    network = dense(5, (4, 12, 12, 3))
    case = case_of(network, 5)
    start = interval_bounds(network, case.region)
    one, three = (
        tighten_by_programs(
            network, case.region, start, options=OPTIONS, budget=Budget(), workers=workers
        )
        for workers in (1, 3)
    )
    for name, (lower, upper) in one.items():
        np.testing.assert_allclose(three[name][0], lower, atol=1e-6)
        np.testing.assert_allclose(three[name][1], upper, atol=1e-6)


def test_a_spent_budget_leaves_what_is_known() -> None:
    network = dense(6)
    case = case_of(network, 6)
    start = interval_bounds(network, case.region)
    found = tighten_by_programs(
        network, case.region, start, options=OPTIONS, budget=Budget.of_seconds(0.0)
    )
    assert all(found[name][0] is lower for name, (lower, _) in start.items())


def test_a_lying_solver_never_gives_unsound_bounds() -> None:
    def lie(answer: LinearAnswer) -> LinearAnswer:
        return replace(answer, values=answer.values * 0, duals=answer.duals * -3 + 0.1)

    network = dense(7)
    case = case_of(network, 7)
    start = interval_bounds(network, case.region)
    options = ProgramOptions(maker=lying(lie))
    found = tighten_by_programs(network, case.region, start, options=options, budget=Budget())
    assert _hold(network, case, found)
