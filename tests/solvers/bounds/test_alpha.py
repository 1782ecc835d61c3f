"""Optimised slopes: never worse than where they start, within time and memory."""

from __future__ import annotations

import pytest
import torch

from models.network import Network
from solvers.bounds import BoundOptions, MemoryBudget, Scene, bound_margins
from solvers.budget import Budget
from solvers.methods import Method
from tests.helpers.random_graphs import random_image_network, random_vector_network, relu_chain
from tests.solvers.bounds.support import check_sound, random_margins, random_region

KINDS = [random_vector_network, random_image_network]


def _scene(network: Network, seed: int, width: float = 0.3) -> Scene:
    return Scene(network, random_region(network, seed, (width, width)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("shared", [False, True])
def test_slopes_shared_or_not_are_sound_and_no_worse_than_crown(
    kind: type, seed: int, shared: bool
) -> None:
    network = kind(seed, 6)
    scene = _scene(network, seed)
    margins = random_margins(network, scene.batch, seed)
    options = BoundOptions(iterations=6, intermediate_iterations=3, share_slopes=shared)
    found = bound_margins(scene, margins, Method.ALPHA_CROWN, options=options)
    crown = bound_margins(scene, margins, Method.CROWN)
    assert bool((found.lower >= crown.lower - 1e-9).all())
    check_sound(network, scene.region, margins, found, seed)


@pytest.mark.parametrize("seed", range(4))
def test_slopes_of_their_own_are_at_least_as_good_on_average(seed: int) -> None:
    network = relu_chain([5, 20, 20, 6], seed)
    scene = _scene(network, seed, 0.5)
    margins = random_margins(network, scene.batch, seed, rows=12)
    own, shared = (
        bound_margins(
            scene,
            margins,
            Method.ALPHA_CROWN,
            options=BoundOptions(share_slopes=share, iterations=40),
        ).lower.mean()
        for share in (False, True)
    )
    assert own >= shared - 1e-6


@pytest.mark.parametrize("seed", range(4))
def test_more_work_inside_never_loosens_node_bounds(seed: int) -> None:
    network = relu_chain([4, 16, 16, 16, 3], seed)
    scene = _scene(network, seed, 0.4)
    margins = random_margins(network, scene.batch, seed)
    crown = bound_margins(scene, margins, Method.CROWN).intermediate
    found = bound_margins(scene, margins, Method.ALPHA_CROWN).intermediate
    gained = 0.0
    for name, interval in found.items():
        assert bool((interval.lower >= crown[name].lower - 1e-9).all())
        assert bool((interval.upper <= crown[name].upper + 1e-9).all())
        gained += float((interval.lower - crown[name].lower).sum())
    assert gained > 0, "ten hidden layers' worth of rows leave something to gain"


def test_a_spent_budget_still_gives_a_sound_bound() -> None:
    network = relu_chain([4, 16, 16, 3], 2)
    scene = _scene(network, 2)
    margins = random_margins(network, scene.batch, 2)
    found = bound_margins(scene, margins, Method.ALPHA_CROWN, budget=Budget.of_seconds(0.0))
    check_sound(network, scene.region, margins, found, 2)


def test_small_pieces_give_sound_bounds_no_worse_than_crown() -> None:
    network = random_image_network(3, 5)
    scene = _scene(network, 3)
    margins = random_margins(network, scene.batch, 3)
    options = BoundOptions(memory=MemoryBudget(1))
    found = bound_margins(scene, margins, Method.ALPHA_CROWN, options=options)
    crown = bound_margins(scene, margins, Method.CROWN)
    assert bool((found.lower >= crown.lower - 1e-9).all())
    check_sound(network, scene.region, margins, found, 3)


def test_nothing_is_left_behind_in_the_network() -> None:
    network = relu_chain([4, 12, 12, 3], 1)
    trained = {name: value.clone().requires_grad_() for name, value in network.parameters.items()}
    scene = _scene(network.with_parameters(trained), 1)
    bound_margins(scene, random_margins(network, scene.batch, 1), Method.ALPHA_CROWN)
    assert all(value.grad is None for value in trained.values())


def test_proved_margins_end_the_work_early() -> None:
    """With every margin proved at once, no slope is ascended and CROWN's bound is returned."""
    network = relu_chain([4, 12, 12, 3], 5)
    scene = _scene(network, 5, 0.01)
    margins = random_margins(network, scene.batch, 5)
    easy = type(margins)(margins.matrix, margins.offset - 1e3)
    stopped = BoundOptions(stop_when_positive=True, optimise_intermediate=False)
    found = bound_margins(scene, easy, Method.ALPHA_CROWN, options=stopped)
    crown = bound_margins(scene, easy, Method.CROWN)
    torch.testing.assert_close(found.lower, crown.lower)
