"""Round trip: change parameters, write the same graph, run it in onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from onnx import helper, numpy_helper

from models import InvalidInputError, ModelImportError, Network, load_network, write_network
from models.graph import Graph, Node
from models.network import Normalization
from models.operators import Input
from tests.helpers.agreement import ort_outputs, random_inputs, torch_outputs
from tests.helpers.networks import Array, cnn, mlp, model, node, parse, resnet


def changed(network: Network, scale: float = 0.1) -> Network:
    """Return the network with every trainable tensor moved, variances kept positive."""
    generator = torch.Generator().manual_seed(0)
    moved = {
        name: network.parameters[name]
        * (1 + scale * torch.rand(network.parameters[name].shape, generator=generator))
        for name in sorted(network.trainable)
    }
    return network.with_parameters(moved)


@pytest.mark.parametrize("build", [mlp, cnn, resnet])
def test_round_trip(build: Callable[[], bytes]) -> None:
    network = changed(load_network(build()))
    data = write_network(network)
    x = random_inputs(network.input_shape)
    np.testing.assert_allclose(ort_outputs(data, x), torch_outputs(network, x), atol=1e-5)
    assert not np.allclose(ort_outputs(data, x), ort_outputs(build(), x), atol=1e-3)
    again = load_network(data)
    assert set(again.parameters) == set(network.parameters)
    for name, value in network.parameters.items():
        torch.testing.assert_close(again.parameters[name], value, rtol=0, atol=0)


@pytest.mark.parametrize("build", [mlp, cnn, resnet])
def test_the_graph_is_the_same(build: Callable[[], bytes]) -> None:
    before, after = parse(build()), parse(write_network(changed(load_network(build()))))
    assert list(before.graph.node) == list(after.graph.node)
    assert list(before.graph.input) == list(after.graph.input)
    assert list(before.opset_import) == list(after.opset_import)
    names = [tensor.name for tensor in before.graph.initializer]
    assert names == [tensor.name for tensor in after.graph.initializer]


def test_an_unchanged_network_is_the_same_file() -> None:
    network = load_network(cnn())
    assert write_network(network) == network.source
    assert write_network(network.to(torch.float64)) == network.source


def test_views_of_weights_are_written_as_they_are_stored() -> None:
    weights: dict[str, Array] = {
        "w": np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32),
        "b": np.ones((1, 4), np.float32),
    }
    nodes = [
        node("Transpose", ["w"], ["t"]),
        node("MatMul", ["x", "t"], ["h"]),
        node("Neg", ["b"], ["n"]),
        node("Add", ["h", "n"], ["s"]),
        helper.make_node("Constant", [], ["f"], value_float=2.0),
        helper.make_node("Constant", [], ["g"], value_floats=[1.0, 2.0, 3.0, 4.0]),
        helper.make_node(
            "Constant", [], ["h2"], value=numpy_helper.from_array(np.ones(4, np.float32))
        ),
        node("Div", ["s", "f"], ["d"]),
        node("Mul", ["d", "g"], ["m"]),
        node("Sub", ["m", "h2"], ["y"]),
    ]
    network = changed(load_network(model(nodes, shape=(1, 3), weights=weights)))
    assert network.trainable == {"w", "b", "f", "g", "h2"}
    x = random_inputs((1, 3))
    np.testing.assert_allclose(
        ort_outputs(write_network(network), x), torch_outputs(network, x), atol=1e-5
    )


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_tensors_keep_the_type_of_the_file(dtype: type[np.floating[Any]]) -> None:
    network = changed(load_network(mlp(dtype=dtype)))
    stored = parse(write_network(network)).graph.initializer
    assert {numpy_helper.to_array(tensor).dtype for tensor in stored} == {np.dtype(dtype)}


def test_a_narrower_network_leaves_unchanged_tensors_alone() -> None:
    """A float64 file must not be rounded by a network that was run in float32."""
    data = mlp(dtype=np.float64)
    network = load_network(data).to(torch.float32)
    assert write_network(network) == data
    moved = network.with_parameters({"b1": network.parameters["b1"] + 1})
    before = {t.name: numpy_helper.to_array(t) for t in parse(data).graph.initializer}
    after = {
        t.name: numpy_helper.to_array(t) for t in parse(write_network(moved)).graph.initializer
    }
    np.testing.assert_array_equal(after["w1"], before["w1"])
    np.testing.assert_allclose(after["b1"], before["b1"] + 1, atol=1e-6)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_not_written(value: float) -> None:
    network = load_network(mlp())
    broken = network.with_parameters({"b1": torch.full_like(network.parameters["b1"], value)})
    with pytest.raises(InvalidInputError, match="'b1' holds values that are NaN or infinite"):
        write_network(broken)


def test_values_beyond_float16_are_not_written() -> None:
    network = load_network(mlp(dtype=np.float16))
    broken = network.with_parameters({"b1": torch.full_like(network.parameters["b1"], 1e6)})
    with pytest.raises(InvalidInputError, match="file's type float16"):
        write_network(broken)


def test_a_normalisation_stays_outside_the_file() -> None:
    network = load_network(cnn()).with_normalization(Normalization((0.5,), (0.25,)))
    assert write_network(network) == cnn()


def test_a_network_built_in_memory_has_nothing_to_write() -> None:
    network = Network(Graph((Node("x", Input(), (), (1, 3)),), "x"), {}, name="made")
    with pytest.raises(ModelImportError, match="'made' was built in memory"):
        write_network(network)
