"""Encoders of affine and structural operators: each returns a function of existing columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import cast

import numpy as np

from models.graph import Node
from models.operators import (
    Add,
    AveragePool,
    BatchNormalization,
    Constant,
    Convolution,
    ConvolutionTranspose,
    Linear,
    MaxPool,
    Pad,
    ReduceSum,
    Scale,
)
from solvers.exact.affine import Affine, diagonal
from solvers.exact.context import EncodingContext
from solvers.exact.linear_maps import (
    convolution_matrix,
    index_map,
    linear_matrix,
    sum_matrix,
    window_indices,
)

__all__ = [
    "encode_add",
    "encode_average_pool",
    "encode_batch_normalization",
    "encode_constant",
    "encode_convolution",
    "encode_convolution_transpose",
    "encode_linear",
    "encode_pad",
    "encode_reduce_sum",
    "encode_scale",
    "encode_structural",
]

# Every encoder takes the context, its node, the nodes it reads, and their values.
Nodes = Sequence[Node]
Values = Sequence[Affine]


def encode_constant(context: EncodingContext, node: Node, _: Nodes, __: Values) -> Affine:
    """A constant is a function of no column."""
    operator = cast(Constant, node.operator)
    return Affine.constant(context.spread(operator.value, node.shape))


def encode_structural(_: EncodingContext, node: Node, sources: Nodes, values: Values) -> Affine:
    """Reshape, Transpose, Take, Concat and Expand: values are moved and copied."""
    index = index_map(node.operator, [source.shape for source in sources])
    return Affine.stacked(values).taken(index)


def encode_pad(_: EncodingContext, node: Node, sources: Nodes, values: Values) -> Affine:
    """Padding: values are moved, and a constant fills the rest."""
    operator = cast(Pad, node.operator)
    index = index_map(replace(operator, value=-1.0), [sources[0].shape])
    return values[0].taken(index, operator.value)


def encode_linear(context: EncodingContext, node: Node, sources: Nodes, values: Values) -> Affine:
    """W x + b at every position of the leading axes."""
    operator = cast(Linear, node.operator)
    weight = context.resolve(operator.weight)
    positions = prod(sources[0].shape[:-1])
    context.check_planned(positions, int(np.count_nonzero(weight)))
    bias = 0.0 if operator.bias is None else context.spread(operator.bias, node.shape)
    return context.apply(node, linear_matrix(weight, positions), values[0], bias)


def encode_convolution(
    context: EncodingContext, node: Node, sources: Nodes, values: Values
) -> Affine:
    """One matrix entry per weight and position."""
    operator = cast(Convolution, node.operator)
    weight = context.resolve(operator.weight)
    context.check_planned(node.size, *weight.shape[1:])
    matrix = convolution_matrix(
        weight,
        _windows(operator, weight.shape[2:]),
        sources[0].shape,
        groups=operator.groups,
        output_spatial=node.shape[2:],
    )
    return context.apply(node, matrix, values[0], _channel_bias(context, operator, node))


def encode_convolution_transpose(
    context: EncodingContext, node: Node, sources: Nodes, values: Values
) -> Affine:
    """The transposed matrix of the convolution that maps this output's shape to its input's."""
    operator = cast(ConvolutionTranspose, node.operator)
    weight = context.resolve(operator.weight)
    context.check_planned(sources[0].size, *weight.shape[1:])
    matrix = convolution_matrix(
        weight,
        _windows(operator, weight.shape[2:]),
        node.shape,
        groups=operator.groups,
        output_spatial=sources[0].shape[2:],
    )
    transposed = matrix.T.tocsr()
    return context.apply(node, transposed, values[0], _channel_bias(context, operator, node))


def _windows(operator: Convolution | ConvolutionTranspose, kernel: tuple[int, ...]) -> MaxPool:
    padding = tuple((side, side) for side in operator.padding)
    return MaxPool(kernel, operator.stride, padding, operator.dilation)


def _channel_bias(
    context: EncodingContext, operator: Convolution | ConvolutionTranspose, node: Node
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]] | float:
    if operator.bias is None:
        return 0.0
    bias = context.resolve(operator.bias).reshape(-1, *(1,) * (len(node.shape) - 2))
    return np.broadcast_to(bias, node.shape).ravel()


def encode_batch_normalization(
    context: EncodingContext, node: Node, _: Nodes, values: Values
) -> Affine:
    """A factor and an offset per channel."""
    operator = cast(BatchNormalization, node.operator)
    factor, offset = operator.factor_and_offset(context.parameters)
    spread = (-1, *(1,) * (len(node.shape) - 2))
    factors = np.broadcast_to(factor.detach().cpu().numpy().reshape(spread), node.shape)
    offsets = np.broadcast_to(offset.detach().cpu().numpy().reshape(spread), node.shape)
    return values[0].mapped(diagonal(factors.ravel()), offsets.ravel())


def encode_scale(context: EncodingContext, node: Node, _: Nodes, values: Values) -> Affine:
    """A factor and an offset per value."""
    operator = cast(Scale, node.operator)
    value = values[0]
    if operator.factor is not None:
        value = value.scaled(context.spread(operator.factor, node.shape))
    if operator.offset is not None:
        value = value.shifted(context.spread(operator.offset, node.shape))
    return value


def encode_add(_: EncodingContext, node: Node, __: Nodes, values: Values) -> Affine:
    """A weighted sum."""
    operator = cast(Add, node.operator)
    total = Affine.constant(np.zeros(node.size))
    for coefficient, value in zip(operator.coefficients, values, strict=True):
        total = total.plus(value.scaled(coefficient))
    return total


def encode_reduce_sum(
    context: EncodingContext, node: Node, sources: Nodes, values: Values
) -> Affine:
    """Each output sums the inputs that share its place on the axes kept."""
    operator = cast(ReduceSum, node.operator)
    shape = sources[0].shape
    moved = np.moveaxis(
        np.arange(prod(shape)).reshape(shape), operator.axes, range(-len(operator.axes), 0)
    )
    windows = moved.reshape(node.size, -1)
    return context.apply(node, sum_matrix(windows, prod(shape)), values[0])


def encode_average_pool(
    context: EncodingContext, node: Node, sources: Nodes, values: Values
) -> Affine:
    """The mean of each window; padding counts as 0."""
    operator = cast(AveragePool, node.operator)
    padding = tuple((side, side) for side in operator.padding)
    pool = MaxPool(operator.kernel, operator.stride, padding, (1,) * len(operator.kernel))
    windows = window_indices(pool, sources[0].shape).reshape(node.size, -1)
    weight = 1.0 / prod(operator.kernel)
    return context.apply(node, sum_matrix(windows, sources[0].size, weight), values[0])
