"""Products with constant matrices: Gemm, MatMul and Conv."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np
from scipy import sparse

from solvers.proof.network import MAX_ENTRIES, Array, CheckedNetwork, Part, Shape, Term
from solvers.proof.onnx_file import Node, evaluate
from solvers.proof.parts.selections import sparse_matrix

__all__ = ["PRODUCTS", "convolution_matrix", "windows"]

DENSE_SHARE = 0.2
"""Of coefficients other than 0: from there on, matrices that are not sparse are faster."""


def _product(network: CheckedNetwork, node: Node) -> None:
    """Gemm, and MatMul with a constant on either side."""
    if node.inputs[0] in network.constants:
        _from_the_left(network, node)
        return
    (source, shape), weight = network.vector(node), network.weight(node, 1)
    alpha, beta, bias = node.take("alpha", 1.0), node.take("beta", 1.0), network.constant(node, 2)
    node.require(weight.ndim == 2 and node.take("transA", 0) == 0, "an input is turned")
    matrix = alpha * (weight if node.take("transB", 0) else weight.T)  # (outputs, inputs)
    fit = matrix.shape[1:] == shape[-1:] and (node.operator == "MatMul" or len(shape) == 2)
    node.require(fit, "shapes do not fit")
    result, rows = (*shape[:-1], len(matrix)), prod(shape[:-1])
    held = np.broadcast_to(0.0 if bias is None else beta * bias, result)
    full = rows == 1 and np.count_nonzero(matrix) > DENSE_SHARE * matrix.size
    by_row = matrix if full else sparse.csr_array(sparse.kron(sparse.eye_array(rows), matrix))
    inexact = None if alpha == beta == 1.0 else np.abs(held)
    network.affine(node, result, [Term(source, by_row)], held, inexact=inexact)


def _from_the_left(network: CheckedNetwork, node: Node) -> None:
    weight, (source, shape) = network.weight(node, 0), network.vector(node, 1)
    fit = node.operator == "MatMul" and weight.ndim == 2 and len(shape) <= 2
    node.require(fit and weight.shape[1] == shape[0], "shapes do not fit")
    matrix = sparse.csr_array(sparse.kron(weight, sparse.eye_array(prod(shape[1:]))))
    network.affine(node, (weight.shape[0], *shape[1:]), [Term(source, matrix)])


def _convolution(network: CheckedNetwork, node: Node) -> None:
    (source, shape), weight = network.vector(node), network.weight(node, 1)
    node.require(shape[0] == 1, "its batch is not 1")
    groups, kernel = node.take("group", 1), tuple(node.take("kernel_shape", weight.shape[2:]))
    node.require(kernel == weight.shape[2:], "kernel_shape differs from its weight")
    matrix, result, product = convolution_matrix(network, node, weight, shape[1:], groups)
    given = network.constant(node, 2)
    bias = np.zeros(len(weight)) if given is None else given
    node.require(bias.shape == (len(weight),), "its bias does not fit")
    term = Term(source, matrix, product=product if groups == 1 else None)
    network.affine(node, (1, *result), [term], np.repeat(bias, prod(result[1:])))


def convolution_matrix(
    network: CheckedNetwork, node: Node, weight: Array, shape: Shape, groups: int
) -> tuple[sparse.csr_array, Shape, Callable[[Array], Array]]:
    """Return the matrix of a convolution, its result's shape, and a faster way to apply it.

    Args:
        network: That the node belongs to.
        node: Whose strides, pads and dilations count.
        weight: Of shape (output channels, input channels of one group, kernel…).
        shape: Of channels and their axes.
        groups: Parts of the channels; the faster way is for a single one.
    """
    (outputs, inputs), (channels, *spatial), size = weight.shape[:2], shape, prod(shape[1:])
    fit = channels == inputs * groups and outputs % groups == 0
    node.require(fit and len(shape) == weight.ndim - 1, "channels or axes do not fit")
    met, result = windows(network, node, spatial, weight.shape[2:])
    positions = met.shape[1]
    node.require(weight.size * positions <= MAX_ENTRIES, "its matrix is too large")
    taps = np.moveaxis(weight.reshape(outputs, inputs, -1), 2, 0).copy()  # (places, outputs, …)
    first = np.arange(outputs) // (outputs // groups) * inputs
    start = (first[:, None] + np.arange(inputs))[..., None] * size  # of the channel that is met
    columns = np.where(met[:, None, None] >= 0, met[:, None, None] + start, -1)
    rows = np.arange(outputs * positions).reshape(outputs, 1, positions)
    both = outputs * positions, channels * size
    matrix = sparse_matrix(rows, columns, taps[..., None], both)

    every = np.arange(channels)[:, None] * size
    targets = np.where(met[:, None] >= 0, met[:, None] + every, -1).reshape(len(met), -1)

    def product(values: Array) -> Array:
        """One dense product for each place of the kernel; the last row takes the padding's."""
        turned = np.ascontiguousarray(values.T).reshape(outputs, -1)
        total = np.zeros((channels * size + 1, len(values)))
        for target, tap in zip(targets, taps, strict=True):
            total[target] += (tap.T @ turned).reshape(-1, len(values))
        return total[:-1].T

    return matrix, (outputs, *result), product


def windows(
    network: CheckedNetwork, node: Node, spatial: Sequence[int], kernel: Shape
) -> tuple[Array, Shape]:
    """Return which value of a channel each place of a kernel meets, −1 for padding.

    Kernels that pick a single place are applied to positions of values.

    Returns:
        Indices of shape `(places, outputs)`, and the shape of the outputs.
    """
    keys = ("auto_pad", "dilations", "pads", "strides")
    given = {key: node.take(key) for key in keys if key in node.attributes}
    pads, dilations = given.get("pads", [0]), given.get("dilations", [1])
    positive = min(*pads, *(step - 1 for step in (*dilations, *given.get("strides", [1])))) >= 0
    node.require(positive, "pads are negative, or steps are not positive")
    # Some runtimes ignore pads beside auto_pad, others refuse them; so with dilations.
    both = given.get("auto_pad", b"NOTSET") != b"NOTSET" and (any(pads) or {*dilations} != {1})
    node.require(not both, "auto_pad and pads or dilations are both set")
    # Where windows leave gaps, what is missing to the same size is negative: all runtimes differ.
    gaps = any(step > size for step, size in zip(given.get("strides", ()), kernel, strict=False))
    same = given.get("auto_pad", b"NOTSET") not in {b"NOTSET", b"VALID"}
    node.require(not (same and gaps), "auto_pad is set, and strides are longer than its kernel")
    places = np.arange(1.0, prod(spatial) + 1).reshape(1, 1, *spatial)
    single = np.eye(prod(kernel)).reshape(-1, 1, *kernel)
    moved = Node("Conv", [], ["y"], node.name, given)
    (met,) = evaluate(moved, [places, single], network.graph.opset)
    return met.astype(np.intp).reshape(len(single), -1) - 1, met.shape[2:]


PRODUCTS = Part(
    "Gemm, MatMul and Conv", {"Gemm": _product, "MatMul": _product, "Conv": _convolution}
)
