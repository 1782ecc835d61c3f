"""Linear bounds carried forward are functions of the inputs that vary, and of no others."""

from __future__ import annotations

import pytest
import torch

from solvers.bounds import Interval, MemoryBudget, Scene
from solvers.bounds.forward import carried, forward_bounds, margins_of_form
from tests.helpers.random_graphs import random_image_network, random_vector_network
from tests.solvers.bounds.support import check_nodes, points_in, random_region


def _fixed(region: Interval, kept: int) -> Interval:
    """Return the region with all inputs but a few fixed at their lower ends."""
    varies = torch.zeros_like(region.lower, dtype=torch.bool)
    varies.flatten(1)[:, :kept] = True
    return Interval(region.lower, torch.where(varies, region.upper, region.lower))


@pytest.mark.parametrize("kind", [random_vector_network, random_image_network])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kept", [0, 1, 2])
def test_bounds_hold_where_few_inputs_vary(kind: type, seed: int, kept: int) -> None:
    network = kind(seed, 6)
    kept = min(kept, network.graph.input.size)
    region = _fixed(random_region(network, seed, (0.4, 0.4)), kept)
    scene = Scene(network, region)
    bounds, form = forward_bounds(scene, MemoryBudget())
    assert carried(scene).tolist() == list(range(kept))
    assert form.lower_slope.shape[1] == kept
    x = points_in(region, 60, seed)
    check_nodes(network, bounds, x)
    matrix = torch.eye(network.output_size, dtype=torch.float64).expand(scene.batch, -1, -1)
    lower = margins_of_form(scene, form, matrix)
    reached = bounds[network.graph.output].lower.reshape(lower.shape)
    assert bool((lower <= reached + 1e-9).all())


def test_an_input_that_varies_in_one_region_is_carried_for_all() -> None:
    network = random_vector_network(1, 3)
    region = random_region(network, 1, (0.4, 0.4))
    upper = region.lower.clone()
    upper[0].flatten()[1] += 0.5
    scene = Scene(network, Interval(region.lower, upper))
    assert carried(scene).tolist() == [1]
    bounds, _ = forward_bounds(scene, MemoryBudget())
    check_nodes(network, bounds, points_in(scene.region, 40, 0))
