"""Against the truth: activation patterns, the triangle relaxation, and the order of methods."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from models import operators as ops
from models.network import Network
from solvers.bounds import BoundOptions, Interval, Margins
from solvers.methods import BOUND_METHODS, Method
from tests.helpers.random_graphs import GraphBuilder, networks, relu_chain, seeds
from tests.solvers.bounds.linear_programs import exact_minimum, triangle_minimum
from tests.solvers.bounds.support import (
    bound,
    check_sound,
    descend,
    points_in,
    random_margins,
    random_region,
    uniform,
    values_at,
)

# linprog's own tolerance on constraints is 1e-7, on values of about 1.
SOLVER = 1e-6
RELAXING = [Method.FAST_LIN, Method.CROWN, Method.ALPHA_CROWN]


def single_margin(network: Network, batch: int) -> Margins:
    """Return the first output as the margin."""
    matrix = torch.zeros(batch, 1, network.output_size, dtype=torch.float64)
    matrix[:, :, 0] = 1
    return Margins(matrix, torch.zeros(batch, 1, dtype=torch.float64))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sizes", [(2, 5, 1), (3, 3, 3, 1)], ids=str)
def test_no_bound_exceeds_the_true_minimum(sizes: tuple[int, ...], seed: int) -> None:
    network = relu_chain(sizes, seed)
    region = random_region(network, seed, (0.7, 2.5))
    margins = single_margin(network, 2)
    for example in range(2):
        lower, upper = region.lower[example].flatten(), region.upper[example].flatten()
        truth = exact_minimum(network, lower.numpy(), upper.numpy(), np.ones(1))
        part = region[example : example + 1]
        reached = descend(network, margins[:1], part, points_in(part, 200, seed))
        # The reference itself: no sampled value may be below the minimum.
        assert values_at(network, margins[:1], reached).min() >= truth - SOLVER
        for method in BOUND_METHODS:
            found = bound(network, part, margins[:1], method).lower.item()
            assert found <= truth + SOLVER, method


@pytest.mark.parametrize("seed", range(6))
def test_bounds_are_exact_where_no_neuron_is_unstable(seed: int) -> None:
    network = relu_chain((3, 6, 6, 2), seed)
    region = random_region(network, seed, (1e-6, 0.0, 1e-4))
    margins = random_margins(network, region.batch, seed)
    for method in RELAXING:
        found = bound(network, region, margins, method)
        for node in network.graph.nodes:
            if isinstance(node.operator, ops.Relu):
                assert not found.intermediate[node.inputs[0]].unstable.any()
        for row in range(3):
            x = region.center.clone().requires_grad_()
            value = values_at(network, margins, x.unsqueeze(1))[:, 0, row]
            slope = torch.autograd.grad(value.sum(), x)[0]
            corner = torch.where(slope > 0, region.lower, region.upper).unsqueeze(1)
            least = values_at(network, margins, corner)[:, 0, row]
            torch.testing.assert_close(found.lower[:, row], least, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("method", RELAXING)
@pytest.mark.parametrize("seed", range(5))
def test_slopes_never_beat_the_triangle_relaxation(method: Method, seed: int) -> None:
    network = relu_chain((3, 6, 5, 2), 100 + seed)
    region = random_region(network, seed, (0.5, 1.5))
    margins = single_margin(network, 2)
    found = bound(network, region, margins, method)
    row = margins.matrix[0, 0].numpy()
    for example in range(2):
        best = triangle_minimum(network, found.intermediate, example, row)
        assert found.lower[example, 0] <= best + SOLVER


@pytest.mark.parametrize("seed", range(5))
def test_optimised_slopes_reach_the_triangle_of_one_layer(seed: int) -> None:
    """With one unstable layer, the best slopes are the dual of the triangle's linear program."""
    network = relu_chain((3, 8, 1), 200 + seed)
    region = random_region(network, seed, (1.0, 2.0))
    margins = single_margin(network, 2)
    options = BoundOptions(iterations=200, learning_rate=0.1)
    found = bound(network, region, margins, Method.ALPHA_CROWN, options)
    start = bound(network, region, margins, Method.CROWN)
    for example in range(2):
        best = triangle_minimum(network, found.intermediate, example, np.ones(1))
        reached, began = found.lower[example, 0].item(), start.lower[example, 0].item()
        assert reached <= best + SOLVER
        # Adam with a decaying step closes all but a sliver of what CROWN leaves open.
        assert best - reached <= 0.02 * (best - began) + 1e-4


@settings(max_examples=40, derandomize=True)
@given(network=networks(), seed=seeds)
def test_optimising_never_loses_to_its_start(network: Network, seed: int) -> None:
    region = random_region(network, seed, (0.0, 0.1, 1.0))
    margins = random_margins(network, region.batch, seed)
    start = bound(network, region, margins, Method.CROWN).lower
    for iterations in (0, 3):
        best = bound(
            network, region, margins, Method.ALPHA_CROWN, BoundOptions(iterations=iterations)
        ).lower
        assert (best >= start - 1e-9 * (1 + start.abs())).all()


@settings(max_examples=40, derandomize=True)
@given(seed=seeds)
def test_tightened_nodes_lie_within_interval_arithmetic(seed: int) -> None:
    network = relu_chain((4, 6, 6, 3), seed % 1000)
    region = random_region(network, seed, (0.0, 0.2, 2.0))
    margins = random_margins(network, region.batch, seed)
    loose = bound(network, region, margins, Method.IBP).intermediate
    crown = bound(network, region, margins, Method.CROWN).intermediate
    best = bound(network, region, margins, Method.ALPHA_CROWN).intermediate
    for wide, narrow in ((loose, crown), (crown, best)):
        for name, interval in narrow.items():
            slack = 1e-9 * (1 + wide[name].upper - wide[name].lower)
            assert (interval.lower >= wide[name].lower - slack).all()
            assert (interval.upper <= wide[name].upper + slack).all()


def test_more_iterations_are_never_worse() -> None:
    network = relu_chain((4, 12, 12, 3), 7)
    region = random_region(network, 7, (0.3, 0.8))
    margins = random_margins(network, 2, 7)
    found = [
        bound(network, region, margins, Method.ALPHA_CROWN, BoundOptions(iterations=n)).lower
        for n in (0, 5, 20)
    ]
    assert (found[1] >= found[0] - 1e-12).all()
    assert (found[2] >= found[1] - 1e-12).all()
    assert (found[2] > found[0] + 1e-3).any()


def test_stopping_when_positive_keeps_sound_bounds() -> None:
    network = relu_chain((3, 8, 8, 2), 3)
    region = random_region(network, 3, (0.1,))
    margins = random_margins(network, 1, 3)
    margins = Margins(margins.matrix, margins.offset - 100)
    options = BoundOptions(iterations=5, stop_when_positive=True)
    found = bound(network, region, margins, Method.ALPHA_CROWN, options)
    assert (found.lower > 0).all()
    check_sound(network, region, margins, found)


def test_known_bounds_are_used_and_never_loosened() -> None:
    network = relu_chain((3, 8, 8, 2), 11)
    region = random_region(network, 11, (1.0, 2.0))
    margins = random_margins(network, 2, 11)
    best = bound(network, region, margins, Method.ALPHA_CROWN)
    for method in BOUND_METHODS:
        alone = bound(network, region, margins, method)
        helped = bound(network, region, margins, method, known=best.intermediate)
        check_sound(network, region, margins, helped)
        for name, interval in helped.intermediate.items():
            assert (interval.lower >= best.intermediate[name].lower - 1e-12).all()
        assert (helped.lower >= alone.lower - 1e-9).any()


def test_subtracting_a_node_from_itself_is_seen_behind_a_relu() -> None:
    """A sum of two nodes that share an input is no exact interval: it has to be tightened."""
    builder = GraphBuilder((1, 3), 0)
    builder.add(ops.Add((1.0, -1.0)), "x", "x")
    builder.add(ops.Relu())
    network = builder.network()
    region = Interval(-torch.ones(1, 1, 3).double(), torch.ones(1, 1, 3).double())
    margins = Margins(-torch.eye(3).double().unsqueeze(0), torch.zeros(1, 3).double())
    lower = bound(network, region, margins, Method.CROWN).lower
    torch.testing.assert_close(lower, torch.zeros_like(lower), atol=1e-12, rtol=0)


def test_the_output_of_affine_layers_is_merged_into_the_margin() -> None:
    """Interval bounds of y − y are 0, since the margin is carried through the last layers."""
    network = relu_chain((3, 6, 2), 5)
    region = random_region(network, 5, (1.0,))
    matrix = uniform(5, 1, 1, 2)
    double = Margins(torch.cat([matrix, -matrix], 1), torch.zeros(1, 2).double())
    found = bound(network, region, double, Method.IBP).lower
    outputs = bound(network, region, double, Method.IBP).intermediate[network.graph.output]
    naive = matrix.clamp(min=0) @ outputs.lower.mT + matrix.clamp(max=0) @ outputs.upper.mT
    assert found[0, 0] >= naive.item() - 1e-12
