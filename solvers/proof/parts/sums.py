"""Sums, and products and quotients with constants, element by element; BatchNormalization."""

from __future__ import annotations

from math import prod

import numpy as np

from solvers.proof.network import Affine, CheckedNetwork, Part, Term
from solvers.proof.onnx_file import Node
from solvers.proof.parts.selections import scaled

__all__ = ["SUMS"]


def _batch_normalization(network: CheckedNetwork, node: Node) -> None:
    vector = network.vector(node)
    gain, shift, mean, variance = (network.weight(node, position) for position in range(1, 5))
    spread = variance + np.float64(node.take("epsilon", np.float32(1e-5)))
    batch, channels, *spatial = vector[1]
    fit = all(part.shape == (channels,) for part in (gain, shift, mean, variance))
    node.require(batch == node.take("spatial", 1) == 1 and fit, "shapes do not fit")
    node.take("momentum")
    trains = node.take("training_mode", 0) != 0 or len([o for o in node.outputs if o]) > 1
    node.require(not trains, "it is in training mode")
    node.require((spread > 0).all(), "a variance is not positive")
    factor = gain / np.sqrt(spread)
    parts = factor, shift - mean * factor, np.abs(shift) + np.abs(mean * factor)
    factors, bias, size = (np.repeat(part, prod(spatial)).reshape(vector[1]) for part in parts)
    network.affine(node, vector[1], [scaled(vector, vector[1], factors)], bias, inexact=size)


def _sum(network: CheckedNetwork, node: Node) -> None:
    """Add and Sub, of vectors and of one constant at most."""
    known = [network.constants.get(name) for name in node.inputs]
    node.require(any(k is None for k in known), "it computes a constant with rounding")
    shapes = [network.vector(node, i)[1] if k is None else k.shape for i, k in enumerate(known)]
    result, plus_constant = np.broadcast_shapes(*shapes), any(k is not None for k in known)
    bias, terms, signs = (
        np.zeros(result),
        list[Term](),
        (1.0, -1.0 if node.operator == "Sub" else 1.0),
    )
    for i, (sign, held) in enumerate(zip(signs, known, strict=True)):
        if held is not None:
            bias = bias + sign * held
            continue
        source, shape = network.vector(node, i)
        made = network.operations[source - 1] if source else None
        alone = plus_constant and sign > 0 and shape == result
        if alone and isinstance(made, Affine) and not (made.bias.any() or made.bias_error.any()):
            terms += made.terms  # a sum that a constant is added to needs no step of its own
        else:
            terms.append(scaled((source, shape), result, sign))
    network.affine(node, result, terms, bias)


def _scale(network: CheckedNetwork, node: Node) -> None:
    """Mul and Div by constants, and Neg."""
    divides = node.operator == "Div"
    if node.inputs[0] in network.constants and not divides:
        node.inputs = node.inputs[::-1]
    factor = np.asarray(-1.0) if node.operator == "Neg" else network.weight(node, 1)
    vector = network.vector(node)
    node.require(not divides or np.all(factor != 0), "it divides by zero")
    shape = np.broadcast_shapes(vector[1], factor.shape)
    term = scaled(vector, shape, 1 / factor if divides else factor)
    network.affine(node, shape, [term], inexact=np.zeros(shape) if divides else None)


SUMS = Part(
    "sums and constant factors",
    {
        "Add": _sum,
        "Sub": _sum,
        "Mul": _scale,
        "Div": _scale,
        "Neg": _scale,
        "BatchNormalization": _batch_normalization,
    },
)
