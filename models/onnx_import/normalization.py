"""Softmax, and normalisations by the statistics of the activations themselves."""

from __future__ import annotations

from math import prod, sqrt

import numpy as np

from models.onnx_import.call import Call
from models.onnx_import.products import multiplied, power
from models.onnx_import.values import Activation
from models.operators import Add, Clip, Log, ReduceSum, Softmax, Transpose
from models.parameters import ReshapeTo

__all__ = ["instance_normalization", "layer_normalization", "log_softmax", "softmax"]


def softmax(call: Call) -> list[Activation]:
    """Import Softmax that other operators follow."""
    x = call.activation(0)
    if call.opset < 13:
        # all axes from `axis` on are normalised together
        axis = call.axis(x.rank, 1)
        flat = call.reshape(x, (prod(x.shape[:axis]), prod(x.shape[axis:])))
        return [call.reshape(call.emit(Softmax(), flat), x.shape)]
    axis = call.axis(x.rank, -1)
    if axis == x.rank - 1:
        return [call.emit(Softmax(), x)]
    order = [*range(x.rank)]
    order[axis], order[-1] = order[-1], order[axis]
    swap = Transpose(tuple(order))
    return [call.emit(swap, call.emit(Softmax(), call.emit(swap, x)))]


def log_softmax(call: Call) -> list[Activation]:
    """Import LogSoftmax that other operators follow."""
    return [call.emit(Log(), softmax(call)[0])]


def layer_normalization(call: Call) -> list[Activation]:
    """Import LayerNormalization over the axes from `axis` on."""
    x, scale, bias = call.activation(0), call.known(1), call.optional_known(2)
    axes = tuple(range(call.axis(x.rank, -1), x.rank))
    y = _standardized(call, x, axes)
    offset = None if bias is None else call.parameter(bias)
    return [call.scale(y, call.parameter(scale), offset)]


def instance_normalization(call: Call) -> list[Activation]:
    """Import InstanceNormalization, which torch also writes for group normalisation."""
    x, scale, bias = call.activation(0), call.known(1), call.known(2)
    y = _standardized(call, x, tuple(range(2, x.rank)))
    spread = ReshapeTo((-1, *(1,) * (x.rank - 2)))
    return [call.scale(y, call.parameter(scale, spread), call.parameter(bias, spread))]


def _standardized(call: Call, x: Activation, axes: tuple[int, ...]) -> Activation:
    """Return (x − mean) / √(variance + epsilon) over axes.

    The square of one of n values is at most n times their mean square: the result never leaves
    ±√n, which is said by a Clip that changes nothing, because bounds cannot see it.
    """
    epsilon = float(call.attributes.get("epsilon", np.float32(1e-5)))
    center = call.expand(_mean(call, x, axes), x.shape)
    centered = call.emit(Add((1.0, -1.0)), x, center)
    variance = _mean(call, power(call, centered, 2.0), axes, epsilon)
    y = multiplied(call, centered, power(call, variance, -0.5))
    largest = sqrt(prod(x.shape[axis] for axis in axes))
    return call.emit(Clip(-largest, largest), y)


def _mean(
    call: Call, x: Activation, axes: tuple[int, ...], offset: float | None = None
) -> Activation:
    total = call.emit(ReduceSum(axes, keepdims=True), x)
    share = call.constant(1.0 / prod(x.shape[axis] for axis in axes))
    return call.scale(total, share, None if offset is None else call.constant(offset))
