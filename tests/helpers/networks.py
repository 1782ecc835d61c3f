"""Small ONNX networks for tests, as bytes, each repeatable by its seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

Array = NDArray[Any]
DEFAULT_OPSET = 13


def model(
    nodes: Sequence[NodeProto],
    *,
    shape: Sequence[int | str | None],
    weights: Mapping[str, Array] | None = None,
    opset: int = DEFAULT_OPSET,
    dtype: int = TensorProto.FLOAT,
    outputs: Sequence[str] = ("y",),
    untyped: bool = False,
) -> bytes:
    """Serialise a graph from input "x" to `outputs`, whose shapes are left to be inferred.

    With `untyped`, so are the types of the outputs.
    """
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info("x", dtype, list(shape))],
        [
            helper.make_empty_tensor_value_info(name)
            if untyped
            else helper.make_tensor_value_info(name, dtype, None)
            for name in outputs
        ],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return bytes(proto.SerializeToString())


def node(
    operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: object
) -> NodeProto:
    """Make one node, named after its first output."""
    return helper.make_node(
        operator, list(inputs), list(outputs), name=f"n_{outputs[0]}", **attributes
    )


def mlp(
    sizes: Sequence[int] = (4, 8, 8, 3),
    *,
    seed: int = 0,
    activation: str = "Relu",
    batch: int | str | None = 1,
    dtype: type[np.floating[Any]] = np.float32,
) -> bytes:
    """Return a network of Gemm layers, input shape `(batch, sizes[0])`.

    Weights are "w1", "b1", …; standard normal, scaled by the fan-in.
    """
    generator = np.random.default_rng(seed)
    weights: dict[str, Array] = {}
    nodes: list[NodeProto] = []
    value = "x"
    for layer, (inputs, outputs) in enumerate(pairwise(sizes), start=1):
        scale = np.sqrt(2.0 / inputs)
        weights[f"w{layer}"] = (generator.normal(size=(outputs, inputs)) * scale).astype(dtype)
        weights[f"b{layer}"] = (generator.normal(size=outputs) * 0.1).astype(dtype)
        last = layer == len(sizes) - 1
        result = "y" if last else f"z{layer}"
        nodes.append(node("Gemm", [value, f"w{layer}", f"b{layer}"], [result], transB=1))
        value = result
        if not last:
            nodes.append(node(activation, [result], [f"a{layer}"]))
            value = f"a{layer}"
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return model(nodes, shape=(batch, sizes[0]), weights=weights, dtype=element)


def cnn(
    *,
    seed: int = 0,
    channels: int = 1,
    side: int = 6,
    filters: int = 3,
    classes: int = 3,
    batch: int | str | None = 1,
) -> bytes:
    """Return Conv(3, stride 2, padding 1), Relu, Flatten, Gemm on square images."""
    generator = np.random.default_rng(seed)
    small = (side + 1) // 2
    flat = filters * small * small
    weights = {
        "k1": _normal(generator, (filters, channels, 3, 3), channels * 9),
        "c1": _normal(generator, (filters,), 10),
        "w1": _normal(generator, (classes, flat), flat),
        "b1": _normal(generator, (classes,), 10),
    }
    nodes = [
        node("Conv", ["x", "k1", "c1"], ["z1"], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Relu", ["z1"], ["a1"]),
        node("Flatten", ["a1"], ["f1"]),
        node("Gemm", ["f1", "w1", "b1"], ["y"], transB=1),
    ]
    return model(nodes, shape=(batch, channels, side, side), weights=weights)


def resnet(
    *, seed: int = 0, side: int = 4, filters: int = 2, classes: int = 3, batch: int | str | None = 1
) -> bytes:
    """Return Conv, BatchNormalization, Relu, a residual block, mean over pixels, Gemm.

    Input shape `(batch, 1, side, side)`.
    """
    generator = np.random.default_rng(seed)
    weights = {
        "k1": _normal(generator, (filters, 1, 3, 3), 9),
        "scale": generator.uniform(0.5, 1.5, filters).astype(np.float32),
        "shift": _normal(generator, (filters,), 10),
        "mean": _normal(generator, (filters,), 10),
        "variance": generator.uniform(0.5, 1.5, filters).astype(np.float32),
        "k2": _normal(generator, (filters, filters, 3, 3), filters * 9),
        "c2": _normal(generator, (filters,), 10),
        "w1": _normal(generator, (classes, filters), filters),
        "b1": _normal(generator, (classes,), 10),
    }
    nodes = [
        node("Conv", ["x", "k1"], ["z1"], pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["z1", "scale", "shift", "mean", "variance"], ["n1"]),
        node("Relu", ["n1"], ["a1"]),
        node("Conv", ["a1", "k2", "c2"], ["z2"], pads=[1, 1, 1, 1]),
        node("Add", ["z2", "a1"], ["s1"]),
        node("Relu", ["s1"], ["a2"]),
        node("GlobalAveragePool", ["a2"], ["g1"]),
        node("Flatten", ["g1"], ["f1"]),
        node("Gemm", ["f1", "w1", "b1"], ["y"], transB=1),
    ]
    return model(nodes, shape=(batch, 1, side, side), weights=weights)


def _normal(generator: np.random.Generator, shape: tuple[int, ...], fan_in: int) -> Array:
    return (generator.normal(size=shape) * np.sqrt(2.0 / fan_in)).astype(np.float32)


def perturb(data: bytes, *, drop: int) -> bytes:
    """Return the first part of a file, `drop` bytes short."""
    return data[: len(data) - drop]


def parse(data: bytes) -> onnx.ModelProto:
    """Parse bytes back into a model, to change it."""
    return onnx.load_model_from_string(data)
