"""Elementwise nonlinearities."""

from __future__ import annotations

from math import inf, isnan

import numpy as np

from models.onnx_import.call import Call
from models.onnx_import.values import Activation
from models.operators import Clip, LeakyRelu, PRelu, Relu, Sigmoid, Tanh

__all__ = ["clip", "leaky_relu", "maximum", "minimum", "prelu", "relu", "sigmoid", "tanh"]

_LARGEST = float(np.finfo(np.float32).max)


def relu(call: Call) -> list[Activation]:
    """Import Relu."""
    return [call.emit(Relu(), call.activation(0))]


def leaky_relu(call: Call) -> list[Activation]:
    """Import LeakyRelu."""
    slope = float(call.attributes.get("alpha", np.float32(0.01)))
    return [call.emit(LeakyRelu(slope), call.activation(0))]


def prelu(call: Call) -> list[Activation]:
    """Import PRelu with a constant slope."""
    x, slope = call.activation(0), call.known(1)
    if np.broadcast_shapes(x.shape, slope.shape) != x.shape:
        raise call.malformed(f"a slope of shape {slope.shape} does not fit {x.shape}")
    return [call.emit(PRelu(call.parameter(slope)), x)]


def sigmoid(call: Call) -> list[Activation]:
    """Import Sigmoid."""
    return [call.emit(Sigmoid(), call.activation(0))]


def tanh(call: Call) -> list[Activation]:
    """Import Tanh."""
    return [call.emit(Tanh(), call.activation(0))]


def clip(call: Call) -> list[Activation]:
    """Import Clip, with attributes (before opset 11) or inputs; a missing side has no limit."""
    return [
        _clipped(call, call.activation(0), lower=call.number("min", 1), upper=call.number("max", 2))
    ]


def maximum(call: Call) -> list[Activation]:
    """Import Max of one activation and one number."""
    x, number = _with_number(call)
    return [_clipped(call, x, lower=number)]


def minimum(call: Call) -> list[Activation]:
    """Import Min of one activation and one number."""
    x, number = _with_number(call)
    return [_clipped(call, x, upper=number)]


def _with_number(call: Call) -> tuple[Activation, float]:
    if len(call.inputs) != 2:
        raise call.unsupported(f"it has {len(call.inputs)} inputs; an activation and a number fit")
    position = 0 if isinstance(call.input(0), Activation) else 1
    x, constant = call.activation(position), call.known(1 - position)
    if constant.array.size != 1 or constant.array.ndim > x.rank:
        raise call.unsupported(f"the constant has shape {constant.shape}, expected one number")
    call.builder.freeze(constant)
    return x, float(constant.array.reshape(()))


def _clipped(
    call: Call, x: Activation, *, lower: float | None = None, upper: float | None = None
) -> Activation:
    # the largest float32 is how older exports write "no limit"
    low = -inf if lower is None or lower <= -_LARGEST else lower
    high = inf if upper is None or upper >= _LARGEST else upper
    if isnan(low) or isnan(high):
        raise call.malformed("a limit is NaN")
    if (low, high) == (-inf, inf):
        return x
    if (low, high) == (0.0, inf):
        return call.emit(Relu(), x)
    return call.emit(Clip(low, high), x)
