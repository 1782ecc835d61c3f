"""A final Softmax over all outputs, before which proofs stop: it keeps their order."""

from __future__ import annotations

from math import prod

from solvers.proof.network import CheckedNetwork, Part
from solvers.proof.onnx_file import Node

__all__ = ["FINAL"]


def _drop(network: CheckedNetwork, node: Node) -> None:
    vector, shape = network.vector(node)
    node.require(node.outputs[0] == network.graph.output_name, "it is not the last operator")
    axis = node.take("axis", -1 if network.graph.opset >= 13 else 1)
    size = shape[axis] if network.graph.opset >= 13 else prod(shape[axis % len(shape) :])
    node.require(size == prod(shape), "it is not taken over all outputs")
    network.dropped = node.operator
    network.vectors[node.outputs[0]] = vector, shape


FINAL = Part("the order of outputs before a Softmax", {"Softmax": _drop, "LogSoftmax": _drop})
