"""Softmax inside a network: 1 / (1 + Σ exp(xⱼ − xᵢ)), the sum over all j but i.

Written like this every value is convex in one sum only, and what all x have in common drops out.
"""

from __future__ import annotations

from math import prod

import numpy as np
from scipy import sparse

from solvers.proof.network import CheckedNetwork, Part, Term
from solvers.proof.onnx_file import Node
from solvers.proof.parts.final import FINAL
from solvers.proof.parts.selections import selection
from solvers.proof.parts.smooth import EXP, INVERSE
from solvers.proof.parts.steps import apply

__all__ = ["SOFTMAX"]


def _softmax(network: CheckedNetwork, node: Node) -> None:
    if node.outputs[0] == network.graph.output_name:
        FINAL.operators["Softmax"](network, node)
        return
    source, shape = network.vector(node)
    axis = node.take("axis", -1 if network.graph.opset >= 13 else 1)
    node.require(axis in {-1, len(shape) - 1}, "it is not taken over the last axis")
    count, groups = shape[-1], prod(shape[:-1])
    node.require(count > 1, "it is taken over a single value")
    every = np.arange(prod(shape)).reshape(groups, count)
    own = np.repeat(every[:, :, np.newaxis], count - 1, axis=2)
    others = np.stack([np.delete(every, i, axis=1) for i in range(count)], axis=1)
    size = prod(shape)
    apart = selection(others, size) - selection(own, size)
    differences = network.affine(node, own.shape, [Term(source, apart)], output=None)
    powers = apply(network, node, EXP.function(), [differences], own.shape, read=source)
    ones = sparse.csr_array(np.ones((1, count - 1)))
    sums = sparse.csr_array(sparse.kron(sparse.eye_array(size), ones))
    total = network.affine(node, shape, [Term(powers, sums)], np.ones(shape), output=None)
    apply(network, node, INVERSE.function(), [total], shape, read=total, output=0)


SOFTMAX = Part("the rule of Softmax", {"Softmax": _softmax})
