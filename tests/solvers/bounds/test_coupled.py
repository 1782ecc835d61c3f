"""Every method on random graphs of products, attention and normalisations."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings

from models import load_network
from models import operators as ops
from models.network import Network
from solvers.bounds import BoundOptions, Interval, Margins, MemoryBudget, Scene
from solvers.bounds.ibp import refinable_nodes
from solvers.methods import BOUND_METHODS, Method
from tests.helpers.coupled_graphs import coupled_network, coupled_networks
from tests.helpers.exports import build, exported
from tests.helpers.random_graphs import GraphBuilder, seeds
from tests.solvers.bounds.support import (
    bound,
    check_margins,
    check_sound,
    points_in,
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


@methods
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_single_precision_agrees_up_to_its_rounding(method: Method, device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device on this machine")
    for seed in range(6):
        reference = coupled_network(seed, 2)
        region = random_region(reference, seed, (0.0, 0.01, 0.1))
        margins = random_margins(reference, 3, seed)
        options = BoundOptions(iterations=0)
        expected = bound(reference, region, margins, method, options).lower
        network = reference.to(torch.float32, device)
        there = Interval(region.lower.to(device).float(), region.upper.to(device).float())
        rows = Margins(margins.matrix.to(device).float(), margins.offset.to(device).float())
        found = bound(network, there, rows, method, options).lower
        assert found.dtype == torch.float32
        # float32 rounds to 6e-8; squares and quotients of rounded values multiply that.
        scale = 1 + expected.abs()
        assert ((found.cpu().double() - expected).abs() <= 1e-3 * scale).all()


@methods
def test_a_factor_of_which_nothing_is_known_gives_no_bound_rather_than_a_wrong_one(
    method: Method,
) -> None:
    """One over an interval around 0 is unbounded, and so is what it is multiplied with."""
    builder = GraphBuilder((1, 2), 0)
    reciprocal = builder.add(ops.Power(-1.0))
    product = builder.add(ops.Multiply(), builder.linear(2, of="x"), reciprocal)
    builder.add(ops.Softmax(), product)
    shares = builder.last
    network, scores = builder.network(shares), builder.network(product)
    lower = torch.tensor([[[-1.0, 0.5]], [[0.5, 0.5]]], dtype=torch.float64)
    region = Interval(lower, lower + 1.5)
    for target in (network, scores):
        eye = torch.eye(2, dtype=torch.float64)
        margins = Margins(eye.expand(2, 2, 2), eye.new_zeros(2, 2))
        found = bound(target, region, margins, method)
        assert not found.lower.isnan().any()
        x = points_in(region, 200, 0)
        check_margins(target, margins, found.lower, x)
        assert found.lower[1].isfinite().all()
    assert found.lower[0, 0] == -torch.inf
