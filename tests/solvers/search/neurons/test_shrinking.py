"""Networks without the neurons that are off: equal to the whole ones over the region."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.fold import fold_affine
from models.operators import Add, Linear, Relu
from solvers.problem import Box
from solvers.search.neurons.shrinking import shrink
from tests.helpers.graphs import GraphBuilder, mlp
from tests.solvers.search.neurons.support import crown_bounds, random_box

EVERY = torch.ones(1, 1)
"""A row that reads the only output."""


@given(st.integers(0, 2**32 - 1))
def test_outputs_and_kept_values_are_the_same(seed: int) -> None:
    generator = np.random.default_rng(seed)
    network = fold_affine(mlp((3, 12, 12, 12, 2), seed=seed).to(torch.float64))
    region = random_box(generator, (3,), 0.5)
    shrunk = shrink(network, crown_bounds(network, region), torch.eye(2))
    x = torch.from_numpy(generator.uniform(region.lower, region.upper, (100, 3)))
    whole = network.graph.evaluate(x, network.parameters)
    small = shrunk.network.graph.evaluate(x, shrunk.network.parameters)
    assert torch.allclose(whole[network.graph.output], small[network.graph.output], atol=1e-12)
    for name, kept in shrunk.kept.items():
        assert torch.allclose(whole[name][:, kept], small[name], atol=1e-12)
        assert shrunk.network.graph.node(name).shape == (len(kept),)
        assert bool((small[name] <= shrunk.bounds[name].upper).all())
        assert bool((small[name] >= shrunk.bounds[name].lower).all())


def test_a_layer_that_is_off_altogether_keeps_one_neuron() -> None:
    b = GraphBuilder((2,))
    b.add(Linear(b.parameter(np.ones((3, 2))), b.parameter(-9 * np.ones(3))))
    b.add(Relu())
    b.add(Linear(b.parameter(np.ones((1, 3))), b.parameter(np.ones(1))))
    network = b.network().to(torch.float64)
    shrunk = shrink(network, crown_bounds(network, Box(np.zeros(2), np.ones(2))), EVERY)
    assert [node.shape for node in shrunk.network.graph.nodes] == [(2,), (1,), (1,), (1,)]
    assert float(shrunk.network(torch.ones(1, 2, dtype=torch.float64))) == 1.0


def test_neurons_that_others_read_stay() -> None:
    """A sum reads the ReLU, so that its shape has to stay."""
    b = GraphBuilder((2,))
    b.add(Linear(b.parameter(np.ones((3, 2))), b.parameter(np.array([-9.0, 0.5, 0.5]))))
    off = b.add(Relu())
    b.add(Linear(b.parameter(np.eye(3)), b.parameter(np.zeros(3))))
    b.add(Add((1.0, 1.0)), b.nodes[-1].name, off)
    network = b.network().to(torch.float64)
    shrunk = shrink(network, crown_bounds(network, Box(np.zeros(2), np.ones(2))), torch.eye(3))
    assert shrunk.kept == {}
    assert shrunk.network is network
