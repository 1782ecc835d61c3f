"""Which two operators in a row become one, and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from models.fold.pair import Pair, per_axis
from models.operators import (
    BatchNormalization,
    Convolution,
    ConvolutionTranspose,
    Linear,
    Operator,
    Pad,
    Reshape,
    Scale,
    Transpose,
)
from models.parameters import ParameterRef

__all__ = ["RULES", "Rule"]

Rule = Callable[[Pair], Operator | None]
"""Returns the merged operator, or None where merging would not be exact, or not pay."""

_CHANNELS = 1


def _vectors(
    maps: tuple[Tensor | None, Tensor | None], axis: int, size: int
) -> tuple[Tensor, Tensor] | None:
    """Return factor and offset as vectors along one axis, or None where they vary otherwise."""
    factor, offset = maps
    one, zero = torch.ones(size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
    found_factor = one if factor is None else per_axis(factor, axis, size)
    found_offset = zero if offset is None else per_axis(offset, axis, size)
    if found_factor is None or found_offset is None:
        return None
    return found_factor, found_offset


def _columns(vector: Tensor, like: Tensor) -> Tensor:
    """Shape a vector to multiply the first axis of `like`."""
    return vector.reshape(-1, *(1,) * (like.dim() - 1))


def _grouped(vector: Tensor, weight: Tensor, groups: int) -> Tensor:
    """Shape a vector to multiply the second axis of a grouped kernel.

    Entry `(i, j)` of the kernel's first two axes belongs to entry `g · size + j` of the vector,
    where g is the group of i and size the length of the second axis.
    """
    rows = vector.reshape(groups, -1).repeat_interleave(weight.shape[0] // groups, dim=0)
    return rows.reshape(*rows.shape, *(1,) * (weight.dim() - 2))


def _is_one(factor: Tensor) -> bool:
    return bool((factor == 1.0).all())


def _kept(pair: Pair, old: ParameterRef, new: Tensor | None) -> ParameterRef:
    """Return the old weight where a bias alone is merged; it stays trainable then."""
    return old if new is None else pair.keep("weight", new)


def _linear_then_scale(pair: Pair) -> Operator | None:
    linear = cast("Linear", pair.producer.operator)
    axis = len(pair.node.shape) - 1
    vectors = _vectors(pair.factor_and_offset(pair.node), axis, pair.node.shape[axis])
    if vectors is None:
        return None
    factor, offset = vectors
    weight, bias = pair.exact(linear.weight), pair.optional(linear.bias)
    shifted = offset if bias is None else bias * factor + offset
    scaled = None if _is_one(factor) else weight * factor[:, None]
    return Linear(_kept(pair, linear.weight, scaled), pair.keep("bias", shifted))


def _convolution_then_scale(pair: Pair) -> Operator | None:
    convolution = cast("Convolution", pair.producer.operator)
    channels = pair.node.shape[_CHANNELS]
    vectors = _vectors(pair.factor_and_offset(pair.node), _CHANNELS, channels)
    if vectors is None:
        return None
    factor, offset = vectors
    weight, bias = pair.exact(convolution.weight), pair.optional(convolution.bias)
    shifted = offset if bias is None else bias * factor + offset
    scaled = None if _is_one(factor) else weight * _columns(factor, weight)
    return replace(
        convolution,
        weight=_kept(pair, convolution.weight, scaled),
        bias=pair.keep("bias", shifted),
    )


def _transposed_then_scale(pair: Pair) -> Operator | None:
    convolution = cast("ConvolutionTranspose", pair.producer.operator)
    channels = pair.node.shape[_CHANNELS]
    vectors = _vectors(pair.factor_and_offset(pair.node), _CHANNELS, channels)
    if vectors is None:
        return None
    factor, offset = vectors
    weight, bias = pair.exact(convolution.weight), pair.optional(convolution.bias)
    shifted = offset if bias is None else bias * factor + offset
    grouped = _grouped(factor, weight, convolution.groups)
    scaled = None if _is_one(factor) else weight * grouped
    return replace(
        convolution,
        weight=_kept(pair, convolution.weight, scaled),
        bias=pair.keep("bias", shifted),
    )


def _scale_then_linear(pair: Pair) -> Operator | None:
    linear = cast("Linear", pair.node.operator)
    axis = len(pair.producer.shape) - 1
    vectors = _vectors(pair.factor_and_offset(pair.producer), axis, pair.producer.shape[axis])
    if vectors is None:
        return None
    factor, offset = vectors
    weight, bias = pair.exact(linear.weight), pair.optional(linear.bias)
    shift = weight @ offset
    return Linear(
        pair.keep("weight", weight * factor),
        pair.keep("bias", shift if bias is None else bias + shift),
    )


def _scale_then_convolution(pair: Pair) -> Operator | None:
    """Exact unless an offset meets padding: padded zeros would have to be shifted as well."""
    convolution = cast("Convolution", pair.node.operator)
    channels = pair.producer.shape[_CHANNELS]
    vectors = _vectors(pair.factor_and_offset(pair.producer), _CHANNELS, channels)
    if vectors is None:
        return None
    factor, offset = vectors
    if any(convolution.padding) and bool(offset.any()):
        return None
    weight, bias = pair.exact(convolution.weight), pair.optional(convolution.bias)
    shift = (weight * _grouped(offset, weight, convolution.groups)).flatten(1).sum(1)
    return replace(
        convolution,
        weight=pair.keep("weight", weight * _grouped(factor, weight, convolution.groups)),
        bias=pair.keep("bias", shift if bias is None else bias + shift),
    )


def _scale_then_transposed(pair: Pair) -> Operator | None:
    """Exact without an offset only: near the border fewer kernel entries would meet it."""
    convolution = cast("ConvolutionTranspose", pair.node.operator)
    channels = pair.producer.shape[_CHANNELS]
    vectors = _vectors(pair.factor_and_offset(pair.producer), _CHANNELS, channels)
    if vectors is None or bool(vectors[1].any()):
        return None
    weight = pair.exact(convolution.weight)
    return replace(convolution, weight=pair.keep("weight", weight * _columns(vectors[0], weight)))


def _scale_then_scale(pair: Pair) -> Operator:
    first_factor, first_offset = pair.factor_and_offset(pair.producer)
    factor, offset = pair.factor_and_offset(pair.node)
    if factor is not None:
        first_factor = factor if first_factor is None else first_factor * factor
        first_offset = None if first_offset is None else first_offset * factor
    if offset is not None:
        first_offset = offset if first_offset is None else first_offset + offset
    return Scale(
        None if first_factor is None else pair.keep("factor", first_factor),
        None if first_offset is None else pair.keep("offset", first_offset),
    )


def _linear_then_linear(pair: Pair) -> Operator | None:
    """Multiply two weights unless a narrow middle makes the two smaller than the product."""
    first = cast("Linear", pair.producer.operator)
    second = cast("Linear", pair.node.operator)
    inner, outer = pair.exact(first.weight), pair.exact(second.weight)
    if outer.shape[0] * inner.shape[1] > inner.numel() + outer.numel():
        return None
    inner_bias, outer_bias = pair.optional(first.bias), pair.optional(second.bias)
    bias = outer_bias
    if inner_bias is not None:
        shift = outer @ inner_bias
        bias = shift if outer_bias is None else outer_bias + shift
    return Linear(
        pair.keep("weight", outer @ inner), None if bias is None else pair.keep("bias", bias)
    )


def _pad_then_convolution(pair: Pair) -> Operator | None:
    pad = cast("Pad", pair.producer.operator)
    convolution = cast("Convolution", pair.node.operator)
    spatial = pad.padding[2:]
    symmetric = all(before == after for before, after in spatial)
    if pad.value != 0.0 or any(map(any, pad.padding[:2])) or not symmetric:
        return None
    total = zip(convolution.padding, spatial, strict=True)
    return replace(convolution, padding=tuple(old + more for old, (more, _) in total))


def _second(pair: Pair) -> Operator:
    return pair.node.operator


def _transpose_then_transpose(pair: Pair) -> Operator:
    first = cast("Transpose", pair.producer.operator).permutation
    second = cast("Transpose", pair.node.operator).permutation
    return Transpose(tuple(first[axis] for axis in second))


_BEFORE: Mapping[type[Operator], Rule] = {
    Linear: _linear_then_scale,
    Convolution: _convolution_then_scale,
    ConvolutionTranspose: _transposed_then_scale,
    Scale: _scale_then_scale,
    BatchNormalization: _scale_then_scale,
}
_AFTER: Mapping[type[Operator], Rule] = {
    Linear: _scale_then_linear,
    Convolution: _scale_then_convolution,
    ConvolutionTranspose: _scale_then_transposed,
}
_ELEMENTWISE: tuple[type[Operator], ...] = (Scale, BatchNormalization)

RULES: Mapping[tuple[type[Operator], type[Operator]], Rule] = {
    **{(first, second): rule for first, rule in _BEFORE.items() for second in _ELEMENTWISE},
    **{(first, second): rule for second, rule in _AFTER.items() for first in _ELEMENTWISE},
    (Linear, Linear): _linear_then_linear,
    (Pad, Convolution): _pad_then_convolution,
    (Reshape, Reshape): _second,
    (Transpose, Transpose): _transpose_then_transpose,
}
"""By the types of producer and node."""
