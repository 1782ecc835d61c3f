"""Every method on random graphs of products, attention and normalisations."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings

from models import load_network
from models.network import Network
from solvers.bounds import BoundOptions, Interval, MemoryBudget, Scene
from solvers.bounds.ibp import refinable_nodes
from solvers.methods import BOUND_METHODS, Method
from tests.helpers.coupled_graphs import coupled_network, coupled_networks
from tests.helpers.exports import build, exported
from tests.helpers.random_graphs import seeds
from tests.solvers.bounds.support import (
    bound,
    check_sound,
    random_margins,
    random_region,
    values_at,
)

# Beyond these, squares of squares leave float64's precision behind.
WIDTHS = (0.0, 1e-9, 0.05, 0.5, 3.0, 1e3)

methods = pytest.mark.parametrize("method", BOUND_METHODS)


@methods
@settings(max_examples=40, derandomize=True)
@given(network=coupled_networks(), seed=seeds)
def test_bounds_hold_on_random_graphs(method: Method, network: Network, seed: int) -> None:
    region = random_region(network, seed, WIDTHS)
    margins = random_margins(network, region.batch, seed + 1)
    options = BoundOptions(iterations=2)
    check_sound(network, region, margins, bound(network, region, margins, method, options), seed)


@methods
def test_bounds_at_a_point_are_exact(method: Method) -> None:
    for seed in range(12):
        network = coupled_network(seed, 2)
        region = random_region(network, seed, (0.0, 0.0))
        margins = random_margins(network, 2, seed)
        value = values_at(network, margins, region.lower.unsqueeze(1)).squeeze(1)
        lower = bound(network, region, margins, method).lower
        torch.testing.assert_close(lower, value, rtol=1e-9, atol=1e-9)


def test_backward_passes_gain_on_small_regions() -> None:
    """Where planes are almost the functions, crown is far tighter than intervals."""
    gaps = {Method.IBP: 0.0, Method.CROWN: 0.0}
    for seed in range(8):
        network = coupled_network(seed, 3)
        region = random_region(network, seed, (1e-3,) * 4)
        margins = random_margins(network, 4, seed)
        at_center = values_at(network, margins, region.center.unsqueeze(1)).squeeze(1)
        for method in gaps:
            found = bound(network, region, margins, method)
            gaps[method] += float((at_center - found.lower).sum())
    assert 0 < gaps[Method.CROWN] < 0.7 * gaps[Method.IBP]


@pytest.mark.parametrize("name", ["transformer", "vit_layer_norm", "lstm", "gru"])
def test_rows_that_are_spared_had_nothing_to_gain(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What maps values one by one, or copies them, has tight bounds without a pass of its own."""
    module, x = build(name)
    network = load_network(exported(module, x, dynamo=False), check=False).to(torch.float64)
    region = Interval(x[None].double() - 0.02, x[None].double() + 0.02)
    scene = Scene(network, region)
    margins = random_margins(network, 1, 0)
    spared = bound(network, region, margins, Method.CROWN)
    fewer = len(refinable_nodes(scene))
    monkeypatch.setattr("solvers.bounds.ibp._tight_from_inputs", lambda _: set())
    assert fewer < len(refinable_nodes(scene))
    everything = bound(network, region, margins, Method.CROWN)
    torch.testing.assert_close(spared.lower, everything.lower, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("limit", [1, 3000])
def test_chunks_change_nothing(limit: int) -> None:
    for seed in range(4):
        network = coupled_network(seed, 3)
        region = random_region(network, seed, (0.1, 0.0))
        margins = random_margins(network, 2, seed, rows=5)
        whole = bound(network, region, margins, Method.CROWN)
        options = BoundOptions(memory=MemoryBudget(limit))
        parts = bound(network, region, margins, Method.CROWN, options)
        torch.testing.assert_close(parts.lower, whole.lower, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_mixing_planes_gains(seed: int) -> None:
    """More steps never give a looser bound of one and the same start."""
    network = coupled_network(seed, 2)
    region = random_region(network, seed, (0.3,) * 3)
    margins = random_margins(network, 3, seed)
    few, many = (
        bound(
            network,
            region,
            margins,
            Method.ALPHA_CROWN,
            BoundOptions(iterations=steps, optimise_intermediate=False),
        ).lower
        for steps in (0, 10)
    )
    assert (many >= few - 1e-9).all()
