"""Operators that compute shapes, and sums of constants that nobody rounds."""

from __future__ import annotations

import numpy as np
import onnx

from solvers.proof.network import CheckedNetwork, Part
from solvers.proof.onnx_file import Node, evaluate, values_of
from solvers.proof.parts.selections import scaled
from solvers.proof.parts.sums import SUMS

__all__ = ["SHAPES"]


def _shape(network: CheckedNetwork, node: Node) -> None:
    name = node.inputs[0]
    held = network.constants.get(name)
    shape = network.vector(node)[1] if held is None else held.shape
    (network.constants[node.outputs[0]],) = evaluate(node, [np.zeros(shape)], network.graph.opset)
    node.attributes.clear()  # the reference implementation knows all that ONNX does


def _filled(network: CheckedNetwork, node: Node) -> None:
    """ConstantOfShape."""
    tensor = node.take("value")
    node.require(tensor is None or isinstance(tensor, onnx.TensorProto), "it holds no tensor")
    value = np.zeros(1) if tensor is None else values_of(tensor)
    shape = tuple(map(int, network.weight(node, 0)))
    network.constants[node.outputs[0]] = np.full(shape, value.item(), dtype=value.dtype)


def _evaluated(network: CheckedNetwork, node: Node) -> None:
    """Equal and Where, which compute nothing that could be rounded."""
    inputs = [network.weight(node, position) for position in range(len(node.inputs))]
    (network.constants[node.outputs[0]],) = evaluate(node, inputs, network.graph.opset)


def _sum(network: CheckedNetwork, node: Node) -> None:
    """Add and Sub; of two constants where the result is exact, in float32 too."""
    if not all(name in network.constants for name in node.inputs):
        SUMS.operators[node.operator](network, node)
        return
    left, right = (network.weight(node, position) for position in (0, 1))
    node.require(left.dtype == right.dtype, "it adds numbers of two types")
    if left.dtype != np.float64:
        signed = left.dtype in (np.int32, np.int64)
        small = all((np.abs(part.astype(np.float64)) < 2**30).all() for part in (left, right))
        node.require(signed and small, "it adds whole numbers that may overflow")
    right = -right if node.operator == "Sub" else right
    total = left + right
    if total.dtype == np.float64:
        part = total - left
        rest = (left - (total - part)) + (right - part)  # what rounding took away: Knuth's TwoSum
        same = np.array_equal(total.astype(np.float32), total)
        node.require(same and not rest.any(), "it computes a constant with rounding")
    network.constants[node.outputs[0]] = total


def _expand(network: CheckedNetwork, node: Node) -> None:
    wanted = tuple(map(int, network.weight(node, 1)))
    held = network.constants.get(node.inputs[0])
    if held is not None:
        network.constants[node.outputs[0]] = held * np.ones(wanted, dtype=held.dtype)
        return
    vector = network.vector(node)
    shape = np.broadcast_shapes(vector[1], wanted)
    network.affine(node, shape, [scaled(vector, shape, 1.0)])


SHAPES = Part(
    "operators that compute shapes and constants",
    {
        "Add": _sum,
        "Sub": _sum,
        "Shape": _shape,
        "ConstantOfShape": _filled,
        "Equal": _evaluated,
        "Where": _evaluated,
        "Expand": _expand,
    },
)
