"""ReLU layers as affine maps of their origins: they agree with the network itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from models.network import Network
from solvers.convex.layers import relu_layers
from solvers.convex.pool import layers_in_program
from solvers.exact import EncodingOptions, encode_network
from tests.helpers.programs import fixed
from tests.solvers.convex.support import bounded, case_of, convolutional, dense, residual


@pytest.mark.parametrize("maker", [dense, convolutional, residual])
def test_weights_reproduce_pre_activations(maker: Callable[[int], Network]) -> None:
    network = maker(1)
    x = torch.randn(20, *network.input_shape, dtype=torch.float64)
    values = network.graph.evaluate(x, network.parameters)
    layers = relu_layers(network)
    assert layers
    for layer in layers:
        inputs = np.concatenate(
            [values[name].reshape(20, -1).numpy() for name in layer.origins], axis=1
        )
        found = (layer.weight @ inputs.T).T + layer.bias
        np.testing.assert_allclose(found, values[layer.source].reshape(20, -1).numpy(), atol=1e-9)


def test_a_sum_has_every_summands_origin() -> None:
    last = relu_layers(residual(0))[-1]
    assert len(last.origins) == 2


def test_layers_beyond_the_limit_are_left_out() -> None:
    network = residual(0)
    assert len(relu_layers(network, max_nonzeros=200)) < len(relu_layers(network))


@pytest.mark.parametrize("maker", [dense, residual])
@pytest.mark.parametrize("relaxed", [True, False])
def test_columns_of_a_program_stand_for_the_layers_values(
    maker: Callable[[int], Network], relaxed: bool
) -> None:
    """At a true input every cut holds, and inputs and outputs are what the network computes."""
    network = maker(2)
    case = case_of(network, 2, 0.2)
    bounds = bounded(network, case).node_bounds(0)
    options = EncodingOptions(relaxed=relaxed)
    encoded = encode_network(network, case.region, bounds, options=options)
    layers = layers_in_program(network, bounds, encoded)
    assert layers
    x = case.region.lower + 0.3 * (case.region.upper - case.region.lower)
    model = fixed(encoded, x)
    columns = model.best_corner()
    first = layers[0]
    inputs = first.inputs.matrix @ columns[: first.inputs.matrix.shape[1]] + first.inputs.offset
    np.testing.assert_allclose(inputs, x.ravel(), atol=1e-12)
    assert all(layer.scale.size == layer.outputs.size for layer in layers)
    assert all((layer.scale > 1).all() for layer in layers)
