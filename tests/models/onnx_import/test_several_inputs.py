"""Networks with several inputs: one flat input, laid out in the order of the file."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from models import ModelImportError, Network, Normalization, OnnxRuntime, load_network
from tests.helpers.agreement import torch_outputs
from tests.helpers.networks import Array, model, node


def with_inputs(
    nodes: list[NodeProto],
    inputs: Mapping[str, tuple[int | str, ...]],
    *,
    weights: Mapping[str, Array] | None = None,
    types: Mapping[str, int] | None = None,
) -> bytes:
    """Return a network with such inputs."""
    proto = onnx.load_model_from_string(model(nodes, shape=(1,), weights=weights))
    del proto.graph.input[:]
    for name, shape in inputs.items():
        kind = (types or {}).get(name, TensorProto.FLOAT)
        proto.graph.input.append(helper.make_tensor_value_info(name, kind, list(shape)))
    return bytes(proto.SerializeToString())


def by_hand(data: bytes, x: NDArray[np.float32], shapes: list[tuple[int, ...]]) -> Array:
    """Run the file on inputs cut out of flat rows."""
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    rows = []
    for row in x:
        feed, first = {}, 0
        for entry, shape in zip(session.get_inputs(), shapes, strict=True):
            size = int(np.prod(shape))
            feed[entry.name] = row[first : first + size].reshape(shape)
            first += size
        rows.append(session.run(None, feed)[0].reshape(-1))
    return np.stack(rows)


@pytest.fixture
def two() -> tuple[bytes, list[tuple[int, ...]]]:
    nodes = [
        node("MatMul", ["a", "w"], ["h"]),
        node("Relu", ["h"], ["r"]),
        node("Mul", ["r", "b"], ["y"]),
    ]
    weights = {"w": np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)}
    shapes: list[tuple[int, ...]] = [(1, 3), (4, 2)]
    return with_inputs(nodes, {"a": (1, 3), "b": (4, 2)}, weights=weights), shapes


def flat(network: Network, count: int = 3) -> NDArray[np.float32]:
    shape = (count, *network.input_shape)
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def test_inputs_are_joined_in_their_order(two: tuple[bytes, list[tuple[int, ...]]]) -> None:
    data, shapes = two
    network = load_network(data)
    assert network.input_shape == (11,)
    assert network.output_shape == (4, 2)
    x = flat(network)
    expected = by_hand(data, x, shapes)
    np.testing.assert_allclose(torch_outputs(network, x), expected, atol=1e-5)
    np.testing.assert_allclose(OnnxRuntime(network).run(x), expected, atol=1e-6)
    (text,) = network.notes
    assert "'a' (1, 3) from 0, 'b' (4, 2) from 3" in text


def test_an_input_that_nothing_reads_keeps_its_place() -> None:
    data = with_inputs([node("Relu", ["b"], ["y"])], {"a": (2,), "b": (3,), "c": (1,)})
    network = load_network(data)
    assert network.input_shape == (6,)
    x = flat(network)
    np.testing.assert_array_equal(torch_outputs(network, x), np.maximum(x[:, 2:5], 0))


def test_open_axes_are_named_for_each_input() -> None:
    data = with_inputs([node("Add", ["a", "b"], ["y"])], {"a": ("n", 2), "b": ("n", "m")})
    network = load_network(data)
    assert network.input_shape == (3,)
    assert any("'b'" in text and "open axes" in text for text in network.notes)
    x = flat(network)
    np.testing.assert_allclose(OnnxRuntime(network).run(x), torch_outputs(network, x), atol=1e-6)


def test_types_may_differ() -> None:
    nodes = [node("Cast", ["b"], ["c"], to=TensorProto.FLOAT), node("Add", ["a", "c"], ["y"])]
    data = with_inputs(nodes, {"a": (2,), "b": (2,)}, types={"b": TensorProto.DOUBLE})
    network = load_network(data)
    x = flat(network)
    np.testing.assert_allclose(OnnxRuntime(network).run(x), x[:, :2] + x[:, 2:], atol=1e-6)


def test_one_normalisation_fits_all_inputs(two: tuple[bytes, list[tuple[int, ...]]]) -> None:
    data, shapes = two
    network = load_network(data).with_normalization(Normalization((0.5,), (2.0,)))
    x = flat(network)
    expected = by_hand(data, ((x - 0.5) / 2).astype(np.float32), shapes)
    np.testing.assert_allclose(torch_outputs(network, x), expected, atol=1e-5)
    np.testing.assert_allclose(OnnxRuntime(network).run(x), expected, atol=1e-5)


def test_inputs_of_whole_numbers_are_refused() -> None:
    data = with_inputs(
        [node("Relu", ["a"], ["y"])], {"a": (2,), "b": (2,)}, types={"b": TensorProto.INT64}
    )
    with pytest.raises(ModelImportError, match="'b' has element type INT64"):
        load_network(data)


def test_gradients_reach_every_input(two: tuple[bytes, list[tuple[int, ...]]]) -> None:
    network = load_network(two[0])
    x = torch.randn(64, *network.input_shape, requires_grad=True)
    network(x).square().sum().backward()
    assert x.grad is not None
    assert (x.grad.abs().sum(0) > 0).all()
