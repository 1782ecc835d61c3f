"""Rows of many boxes side by side are bounded as soundly as one box at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.network import Network
from models.operators import LeakyRelu, Linear, Operator, Relu, Sigmoid, Softmax, Tanh
from solvers.bounds import Interval, MemoryBudget, Scene
from solvers.bounds.backward import Rows
from solvers.bounds.intermediate import tightened
from solvers.bounds.rules import Slopes
from solvers.budget import Budget
from solvers.search.boxes.flat import FlatPass, Traced, fits_flat
from tests.helpers.graphs import GraphBuilder, mlp

ACTIVATIONS = [Relu(), LeakyRelu(0.1), Sigmoid(), Tanh()]


def _boxes(generator: np.random.Generator, count: int, inputs: int) -> Interval:
    lower = generator.uniform(-1, 1, (count, inputs))
    width = generator.uniform(0, 1, (count, inputs)) * (generator.random((count, inputs)) < 0.8)
    return Interval(torch.from_numpy(lower), torch.from_numpy(lower + width))


def _samples(generator: np.random.Generator, region: Interval, count: int) -> torch.Tensor:
    """Return inputs of each box, corners among them, shape `(boxes, count, inputs)`."""
    share = generator.random((region.batch, count, region.lower.shape[1]))
    share[:, : count // 2] = share[:, : count // 2].round()
    at = torch.from_numpy(share)
    return region.lower.unsqueeze(1) + at * (region.upper - region.lower).unsqueeze(1)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: type(a).__name__)
@given(seed=st.integers(0, 10_000))
def test_bounds_enclose_every_node_and_row(activation: Operator, seed: int) -> None:
    generator = np.random.default_rng(seed)
    network = mlp((3, 6, 5, 2), seed=seed, activation=activation, scale=1.5).to(torch.float64)
    region = _boxes(generator, 4, 3)
    work = FlatPass(Scene(network, region))
    with torch.no_grad():
        work.tighten({}, Budget())
        box = torch.from_numpy(generator.integers(0, 4, 9))
        matrix = torch.from_numpy(generator.normal(size=(9, 2)))
        rows = Rows({network.graph.output: matrix.unsqueeze(0)})
        traced = work.trace(rows, box, note=True)
        x = _samples(generator, region, 16)
        values = network.graph.evaluate(x.flatten(0, 1), network.parameters)
    for node in network.graph.nodes:
        there = values[node.name].reshape(4, 16, -1)
        bounds = work.bounds[node.name]
        assert bool((there >= bounds.lower.unsqueeze(1) - 1e-12).all())
        assert bool((there <= bounds.upper.unsqueeze(1) + 1e-12).all())
    y = values[network.graph.output].reshape(4, 16, -1)
    reached = torch.einsum("ro,rpo->rp", matrix, y[box])
    assert bool((reached.amin(1) >= traced.lower - 1e-12).all())
    # The linear functions that are left at the input are below the rows there, too.
    centered = x[box] - region.center[box].unsqueeze(1)
    least = traced.lower + (traced.at_input.abs() * region.radius[box]).sum(1)
    linear = least.unsqueeze(1) + torch.einsum("ri,rpi->rp", traced.at_input, centered)
    assert bool((reached >= linear - 1e-9).all())


@given(seed=st.integers(0, 10_000))
def test_is_as_tight_as_the_engine(seed: int) -> None:
    network = mlp((3, 8, 7, 2), seed=seed, scale=1.5).to(torch.float64)
    region = _boxes(np.random.default_rng(seed), 5, 3)
    scene = Scene(network, region)
    work = FlatPass(scene)
    with torch.no_grad():
        work.tighten({}, Budget())
        expected = tightened(scene, Slopes(), MemoryBudget())
    for name, interval in expected.items():
        torch.testing.assert_close(work.bounds[name].lower, interval.lower, rtol=0, atol=1e-9)
        torch.testing.assert_close(work.bounds[name].upper, interval.upper, rtol=0, atol=1e-9)


def test_known_bounds_are_kept_and_stand_in_when_time_is_up() -> None:
    network = mlp((2, 8, 8, 2), seed=1).to(torch.float64)
    region = _boxes(np.random.default_rng(0), 3, 2)
    first = FlatPass(Scene(network, region))
    spent = FlatPass(Scene(network, region))
    with torch.no_grad():
        first.tighten({}, Budget())
        spent.tighten(first.bounds, Budget.of_seconds(0))
    for name, interval in first.bounds.items():
        assert bool((spent.bounds[name].lower >= interval.lower).all())
        assert bool((spent.bounds[name].upper <= interval.upper).all())


def test_traced_rows_can_be_picked_and_replaced() -> None:
    def rows(start: float) -> Traced:
        lower = torch.arange(3.0) + start
        return Traced(lower, lower.unsqueeze(1), {"n": lower.unsqueeze(1) * 2})

    both = Traced.joined([rows(0), rows(10)])
    assert both.lower.tolist() == [0, 1, 2, 10, 11, 12]
    picked = both[torch.tensor([4, 0])]
    assert picked.at_input[:, 0].tolist() == [11, 0]
    put = rows(0).replaced(torch.tensor([2]), rows(10)[torch.tensor([1])])
    assert put.lower.tolist() == [0, 1, 11]
    assert put.seen["n"][:, 0].tolist() == [0, 2, 22]


def test_blames_the_input_that_looseness_comes_from() -> None:
    # |x0| is bent at 0, x1 enters in a straight line.
    builder = GraphBuilder((2,))
    from_input = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    shift = builder.parameter(np.array([0.0, 0.0, 5.0]))
    builder.add(Linear(builder.parameter(from_input), shift))
    builder.add(Relu())
    builder.add(Linear(builder.parameter(np.array([[-1.0, -1.0, -1.0]])), None))
    network = builder.network().to(torch.float64)
    region = Interval(torch.full((1, 2), -1.0).double(), torch.full((1, 2), 1.0).double())
    work = FlatPass(Scene(network, region))
    with torch.no_grad():
        work.tighten({}, Budget())
        one = torch.zeros(1, dtype=torch.long)
        rows = Rows({network.graph.output: torch.ones(1, 1, 1).double()})
        traced = work.trace(rows, one, note=True)
        blame = work.looseness(one, traced.seen, torch.tensor([0, 1]))
    assert float(blame[0, 0]) > 0
    assert float(blame[0, 1]) == 0
    assert float(traced.at_input[0, 1]) == -1.0


def _on_maps() -> Network:
    builder = GraphBuilder((1, 2, 4, 4))
    builder.add(Relu())
    return builder.network()


def _softmax() -> Network:
    builder = GraphBuilder((3,))
    builder.add(Softmax())
    return builder.network()


@pytest.mark.parametrize(
    ("network", "fits"),
    [(mlp((3, 4, 2)), True), (_on_maps(), False), (_softmax(), False)],
    ids=["dense", "maps", "softmax"],
)
def test_knows_networks_that_fit(network: Network, *, fits: bool) -> None:
    zeros = torch.zeros(1, *network.input_shape, dtype=torch.float64)
    assert fits_flat(network.to(torch.float64), Interval(zeros, zeros + 1)) is fits
