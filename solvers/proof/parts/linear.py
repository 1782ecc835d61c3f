"""More affine operators: ConvTranspose, averages and sums over axes, MatMul from the left."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx
from scipy import sparse

from solvers.proof.network import CheckedNetwork, Part, Term
from solvers.proof.onnx_file import Node
from solvers.proof.parts.products import convolution_matrix, windows
from solvers.proof.parts.selections import sparse_matrix

__all__ = ["LINEAR"]


def _transposed(network: CheckedNetwork, node: Node) -> None:
    """ConvTranspose: the transpose of the convolution from its output to its input."""
    source, shape = network.vector(node)
    weight, bias = network.weight(node, 1), network.constant(node, 2)
    node.require(shape[0] == 1, "its batch is not 1")
    axes, groups = weight.ndim - 2, node.take("group", 1)
    kernel = tuple(node.take("kernel_shape", weight.shape[2:]))
    extra = node.take("output_padding", [0] * axes)
    node.require(kernel == weight.shape[2:], "kernel_shape differs from its weight")
    node.require("output_shape" not in node.attributes, "output_shape is set")
    node.require(node.attributes.get("auto_pad", b"NOTSET") == b"NOTSET", "auto_pad is set")
    strides = node.attributes.get("strides", [1] * axes)
    dilations = node.attributes.get("dilations", [1] * axes)
    pads = node.attributes.get("pads", [0] * 2 * axes)
    large = tuple(
        strides[i] * (shape[2 + i] - 1) + extra[i] + (kernel[i] - 1) * dilations[i] + 1
        - pads[i] - pads[axes + i]
        for i in range(axes)
    )  # fmt: skip
    node.require(min(large) > 0, "its result is empty")
    result = (weight.shape[1] * groups, *large)
    matrix, back, _ = convolution_matrix(network, node, weight, result, groups)
    node.require(back == shape[1:], "its shapes do not fit")
    held = np.zeros(result[0]) if bias is None else bias
    node.require(held.shape == result[:1], "its bias does not fit")
    term = Term(source, sparse.csr_array(matrix.T))
    network.affine(node, (1, *result), [term], np.repeat(held, prod(large)))


def _average(network: CheckedNetwork, node: Node) -> None:
    source, (batch, channels, *spatial) = network.vector(node)
    everywhere = node.operator == "GlobalAveragePool"
    kernel = tuple(spatial) if everywhere else tuple(node.take("kernel_shape"))
    padded = node.take("count_include_pad", 0)
    node.require(node.take("ceil_mode", 0) == 0 and batch == 1, "ceil_mode is set")
    met, result = windows(network, node, spatial, kernel)
    counts = np.full(met.shape[1], len(met)) if padded else (met >= 0).sum(axis=0)
    node.require((counts > 0).all(), "a window lies in the padding")
    channel = np.arange(channels)[:, None, None]
    columns = np.where(met >= 0, met + channel * prod(spatial), -1)
    rows = channel * met.shape[1] + np.arange(met.shape[1])
    size = channels * met.shape[1], channels * prod(spatial)
    matrix = sparse_matrix(rows, columns, 1.0 / counts, size)
    shape = (1, channels, *result)
    network.affine(node, shape, [Term(source, matrix)], inexact=np.zeros(shape))


def _reduce(network: CheckedNetwork, node: Node) -> None:
    """ReduceMean and ReduceSum."""
    source, shape = network.vector(node)
    given = network.constant(node, 1)
    axes = node.take("axes") if given is None else given
    node.require(node.take("noop_with_empty_axes", 0) == 0, "noop_with_empty_axes is set")
    # No axes at all mean the same as an empty list of them.
    over = None if axes is None or not len(axes) else tuple(int(axis) for axis in np.ravel(axes))
    over = tuple(range(len(shape))) if over is None else over
    kept = bool(node.take("keepdims", 1))
    result = np.sum(np.zeros(shape), axis=over, keepdims=kept).shape
    flat = np.arange(prod(result)).reshape(np.sum(np.zeros(shape), axis=over, keepdims=True).shape)
    rows, count = np.broadcast_to(flat, shape).ravel(), prod(shape) // prod(result)
    mean = node.operator == "ReduceMean"
    data = np.full(prod(shape), 1.0 / count if mean else 1.0)
    matrix = sparse_matrix(rows, np.arange(prod(shape)), data, (prod(result), prod(shape)))
    network.affine(node, result, [Term(source, matrix)], inexact=np.zeros(result) if mean else None)


def _dropout(network: CheckedNetwork, node: Node) -> None:
    """Dropout, which does nothing at inference."""
    training = network.constant(node, 2)
    node.require(training is None or not np.any(training), "it is in training mode")
    node.take("ratio")
    node.take("seed")
    _same(network, node)


def _cast(network: CheckedNetwork, node: Node) -> None:
    """Cast of values to floating point, and of constants that it does not round."""
    kind, held = node.take("to"), network.constants.get(node.inputs[0])
    floats = kind in {onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE}
    if held is None:
        node.require(floats, "it rounds values")
        _same(network, node)
        return
    whole = kind == onnx.TensorProto.INT64 and held.dtype.kind in "iub" and held.dtype != np.uint64
    node.require(floats or whole, "unknown type")
    wide = held.astype(np.float64 if floats else np.int64)
    same = kind != onnx.TensorProto.FLOAT or np.array_equal(wide.astype(np.float32), wide)
    node.require(same, "it rounds a constant")
    network.constants[node.outputs[0]] = wide


def _same(network: CheckedNetwork, node: Node) -> None:
    if node.inputs[0] in network.constants:
        network.constants[node.outputs[0]] = network.constants[node.inputs[0]]
    else:
        network.vectors[node.outputs[0]] = network.vector(node)


def _upsample(network: CheckedNetwork, node: Node) -> None:
    """Upsample by whole numbers, to the nearest."""
    source, shape = network.vector(node)
    given = network.constant(node, 1)
    scales = np.asarray(node.take("scales") if given is None else given, dtype=float)
    node.require(node.take("mode", b"nearest") == b"nearest", "only nearest is known")
    whole = (scales == scales.round()).all() and (scales >= 1).all()
    node.require(whole and len(scales) == len(shape), "scales are not whole")
    index = np.arange(prod(shape)).reshape(shape)
    for axis, scale in enumerate(scales):
        index = np.repeat(index, int(scale), axis)
    size = index.size, prod(shape)
    matrix = sparse_matrix(np.arange(index.size), index.ravel(), np.ones(1), size)
    network.affine(node, index.shape, [Term(source, matrix)])


LINEAR = Part(
    "further affine operators",
    {
        "ConvTranspose": _transposed,
        "AveragePool": _average,
        "GlobalAveragePool": _average,
        "ReduceMean": _reduce,
        "ReduceSum": _reduce,
        "Dropout": _dropout,
        "Cast": _cast,
        "Upsample": _upsample,
    },
)
