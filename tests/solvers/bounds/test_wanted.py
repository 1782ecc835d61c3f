"""Values that margins depend on: nothing they move with is left out, nothing else gets rows."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings

from models import operators as ops
from models.network import Network
from solvers.bounds import Margins, Scene, bound_margins
from solvers.bounds.wanted import wanted_values
from solvers.methods import Method
from solvers.problem import Box, Case
from solvers.search.contract import SearchStatus
from solvers.search.neurons import NeuronSearchOptions
from solvers.search.neurons.layout import layout_of
from tests.helpers.random_graphs import GraphBuilder, networks, seeds
from tests.solvers.bounds.support import check_sound, points_in, random_region, uniform
from tests.solvers.search.neurons.support import below, search

WIDTHS = (0.05, 0.5, 3.0)
METHODS = (Method.CROWN, Method.ALPHA_CROWN)


def one_output(network: Network, seed: int, batch: int) -> Margins:
    """Return margins that read one output."""
    matrix = torch.zeros(batch, 1, network.output_size, dtype=torch.float64)
    matrix[:, 0, seed % network.output_size] = 1.0
    return Margins(matrix, torch.zeros(batch, 1, dtype=torch.float64))


def two_flows(width: int = 6) -> Network:
    """Return products and squares of the halves of a layer, two functions that share no value."""
    b = GraphBuilder((4,), seed=3)
    b.linear(width)
    hidden = b.add(ops.Relu())
    b.linear(2, of=hidden)
    left = b.add(ops.Sin())
    b.linear(2, of=hidden)
    right = b.add(ops.Sigmoid())
    product = b.add(ops.Multiply(), left, right)
    b.add(ops.Scale(b.normal(2), b.normal(2)), product)
    b.add(ops.Power(2.0))
    return b.network()


@settings(max_examples=150, derandomize=True)
@given(network=networks(), seed=seeds)
def test_no_value_that_moves_an_output_is_left_out(network: Network, seed: int) -> None:
    margins = one_output(network, seed, 1)
    wanted = wanted_values(network, margins.matrix)
    x = points_in(random_region(network, seed, (3.0,)), 20, seed)[0].requires_grad_()
    values = network.graph.evaluate(x, network.parameters)
    read = (margins.matrix[0] * values[network.graph.output].flatten(1)).sum()
    names = [name for name in wanted if values[name].requires_grad]
    parts = [values[name] for name in names]
    if not read.requires_grad or not parts:
        return
    for name, slope in zip(names, torch.autograd.grad(read, parts, allow_unused=True), strict=True):
        assert wanted[name].shape == (1, *network.graph.node(name).shape)
        if slope is not None:
            moved = (slope.nan_to_num() != 0).any(0, keepdim=True)
            assert not bool((moved & ~wanted[name]).any()), name


@settings(max_examples=60, derandomize=True)
@given(network=networks(), seed=seeds)
def test_margins_of_one_output_are_those_of_all_outputs(network: Network, seed: int) -> None:
    region = random_region(network, seed, WIDTHS)
    margins = one_output(network, seed, region.batch)
    eye = torch.eye(network.output_size, dtype=torch.float64).expand(region.batch, -1, -1)
    every = Margins(eye, torch.zeros(eye.shape[:2], dtype=torch.float64))
    scene = Scene(network, region)
    one = bound_margins(scene, margins, Method.CROWN)
    check_sound(network, region, margins, one, seed)
    whole = bound_margins(scene, every, Method.CROWN).lower[:, seed % network.output_size]
    assert torch.allclose(one.lower[:, 0], whole, rtol=1e-9, atol=1e-9, equal_nan=True)


def test_only_what_a_margin_reads_is_wanted() -> None:
    network = two_flows()
    wanted = wanted_values(network, torch.tensor([[0.0, 2.0]]))
    branches = {type(node.operator): node.name for node in network.graph.nodes[1:]}
    for kind in (ops.Sin, ops.Sigmoid, ops.Multiply, ops.Scale, ops.Power):
        assert wanted[branches[kind]].tolist() == [[False, True]]
    assert branches[ops.Relu] not in wanted  # both halves read all of it
    assert wanted_values(network, torch.ones(1, 2)) == {}


def test_bounds_of_what_nothing_reads_are_sound_and_those_of_intervals() -> None:
    network, region = two_flows(), random_region(two_flows(), 1, WIDTHS)
    for method in METHODS:
        margins = one_output(network, 1, region.batch)
        found = bound_margins(Scene(network, region), margins, method)
        check_sound(network, region, margins, found)
    zeros = torch.zeros_like(margins.matrix)
    zeros[..., 0] = 1.0
    other = bound_margins(Scene(network, region), Margins(zeros, margins.offset), Method.CROWN)
    power = network.graph.nodes[-1].inputs[0]
    widths = [(b.intermediate[power].upper - b.intermediate[power].lower) for b in (found, other)]
    assert bool((widths[0][:, 1] <= widths[1][:, 1]).all())
    assert bool((widths[0][:, 0] >= widths[1][:, 0]).all())
    assert bool((widths[0] != widths[1]).any())


def test_weights_that_may_move_away_from_zero_keep_their_inputs() -> None:
    b = GraphBuilder((2,), seed=5)
    b.linear(3)
    b.add(ops.Relu())
    b.add(ops.Linear(b.store(torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])), None))
    last = b.nodes[-1].operator
    assert isinstance(last, ops.Linear)
    network, region = b.network(), random_region(b.network(), 7, (2.0,))
    radii = {last.weight.name: 0.5}
    margins = one_output(network, 0, 1)
    found = bound_margins(Scene(network, region, parameter_radii=radii), margins, Method.CROWN)
    x = points_in(region, 50, 1)[0]
    hidden = network.graph.evaluate(x, network.parameters)[network.graph.nodes[-1].inputs[0]]
    weight = network.parameters[last.weight.name][0]
    for move in uniform(3, 20, 3, low=-0.5, high=0.5):
        assert float((hidden @ (weight + move)).min()) >= float(found.lower) - 1e-9


def test_the_search_splits_what_the_clause_reads_and_decides() -> None:
    network = two_flows()
    region = Box(np.full(4, -1.0), np.full(4, 1.0))
    interval = random_region(network, 0, (1.0,))
    bounds = bound_margins(Scene(network, interval), one_output(network, 0, 1), Method.CROWN)
    rows = torch.tensor([[1.0, 0.0]])
    whole = layout_of(network, bounds.intermediate)
    part = layout_of(network, bounds.intermediate, wanted_values(network, rows))
    assert 0 < part.size < whole.size
    assert all(bool((slot.indices == 0).all()) for slot in part.slots[1:])
    x = torch.from_numpy(np.random.default_rng(0).uniform(region.lower, region.upper, (4000, 4)))
    least = float(network(x)[:, 0].min())
    outcome, bracket = search(
        network, Case(region, below((1.0, 0.0), least - 0.05)), NeuronSearchOptions(workers=1)
    )
    assert bracket.lower <= least + 1e-9
    assert outcome.status is SearchStatus.DECIDED


def test_nothing_is_wanted_where_nothing_is_open() -> None:
    network = two_flows()
    wanted = wanted_values(network, torch.zeros(0, 2))
    assert not any(bool(mask.any()) for mask in wanted.values())
    assert {node.name for node in network.graph.nodes[1:]} == set(wanted)
