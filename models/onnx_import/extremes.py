"""Largest and smallest values: between tensors, and along axes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from models.onnx_import import activations
from models.onnx_import.call import Call
from models.onnx_import.reduction import reduced_axes
from models.onnx_import.values import Activation, Known
from models.operators import Add, MaxPool, Relu, Transpose
from models.parameters import MultiplyBy

__all__ = ["maximum", "minimum", "reduce_max", "reduce_min"]


def maximum(call: Call) -> list[Activation]:
    """Import Max of activations and constants."""
    return activations.maximum(call) if _with_number(call) else [_largest(call, sign=1.0)]


def minimum(call: Call) -> list[Activation]:
    """Import Min of activations and constants."""
    return activations.minimum(call) if _with_number(call) else [_largest(call, sign=-1.0)]


def _with_number(call: Call) -> bool:
    """Tell whether there is one activation and one number that does not enlarge it."""
    known = [value for value in call.inputs if isinstance(value, Known)]
    moving = [value for value in call.inputs if isinstance(value, Activation)]
    if len(known) != 1 or len(moving) != 1 or len(call.inputs) != 2:
        return False
    return known[0].array.size == 1 and known[0].array.ndim <= moving[0].rank


def _largest(call: Call, *, sign: float) -> Activation:
    """Return sign · max(sign · values), a tree of pairs.

    max(a, b) = b + max(0, a − b): unlike a maximum of its own, the difference is bounded with
    what its two terms share, and exact methods know how to branch on it.
    """
    present = [value for value in call.inputs if value is not None]
    shape = tuple(np.broadcast_shapes(*(value.shape for value in present)))
    call.builder.check_size(call.name, shape)
    level = [call.expand(value, shape) for value in present if isinstance(value, Activation)]
    while len(level) > 1:
        pairs = [level[start : start + 2] for start in range(0, len(level), 2)]
        level = [_of_pair(call, pair, sign) for pair in pairs]
    for value in present:
        if isinstance(value, Known):
            level = [_with_constant(call, level[0], value, sign)]
    return level[0]


def _of_pair(call: Call, pair: Sequence[Activation], sign: float) -> Activation:
    if len(pair) == 1:
        return pair[0]
    beyond = call.emit(Relu(), call.emit(Add((sign, -sign)), *pair))
    return call.emit(Add((1.0, sign)), pair[1], beyond)


def _with_constant(call: Call, x: Activation, value: Known, sign: float) -> Activation:
    reference = call.parameter(value)
    factor = None if sign == 1.0 else call.constant(sign)
    turned = reference.then(MultiplyBy(-sign))
    beyond = call.emit(Relu(), call.scale(x, factor, turned))
    return call.scale(beyond, factor, reference)


def reduce_max(call: Call) -> list[Activation]:
    """Import ReduceMax."""
    return [_reduced(call, call.activation(0))]


def reduce_min(call: Call) -> list[Activation]:
    """Import ReduceMin: the largest of the negated values, negated."""
    minus = call.constant(-1.0)
    largest = _reduced(call, call.scale(call.activation(0), minus, None))
    return [call.scale(largest, minus, None)]


def _reduced(call: Call, x: Activation) -> Activation:
    """Take maxima along axes: windows of a map with one line per maximum."""
    axes = reduced_axes(call, x.rank)
    kept = [axis for axis in range(x.rank) if axis not in axes]
    order = (*kept, *axes)
    sizes = [x.shape[axis] for axis in kept]
    window = prod(x.shape[axis] for axis in axes)
    turned = x if order == tuple(range(x.rank)) else call.emit(Transpose(order), x)
    lines = call.reshape(turned, (1, 1, prod(sizes), window))
    pool = MaxPool((1, window), (1, 1), ((0, 0), (0, 0)), (1, 1))
    result = call.emit(pool, lines) if window > 1 else lines
    if call.attributes.get("keepdims", 1):
        sizes = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
    return call.reshape(result, tuple(sizes))
