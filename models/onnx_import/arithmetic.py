"""Elementwise arithmetic."""

from __future__ import annotations

import numpy as np
from onnx import helper

from models.onnx_import.call import Call
from models.onnx_import.products import multiplied, quotient
from models.onnx_import.values import Activation, Known, Value
from models.operators import Add
from models.parameters import MultiplyBy, ParameterRef, Reciprocal

__all__ = ["add", "cast", "divide", "expand", "identity", "mean", "multiply", "negate", "subtract"]


def _common_shape(call: Call, *values: Value) -> tuple[int, ...]:
    shape = tuple(np.broadcast_shapes(*(value.shape for value in values)))
    call.builder.check_size(call.name, shape)
    return shape


def add(call: Call) -> list[Activation]:
    """Import Add and Sum."""
    return [_weighted_sum(call, [1.0] * len(call.inputs))]


def subtract(call: Call) -> list[Activation]:
    """Import Sub."""
    return [_weighted_sum(call, [1.0, -1.0])]


def mean(call: Call) -> list[Activation]:
    """Import Mean, the elementwise mean of several tensors."""
    return [_weighted_sum(call, [1.0 / len(call.inputs)] * len(call.inputs))]


def _weighted_sum(call: Call, coefficients: list[float]) -> Activation:
    """Add activations first, then each constant as an offset."""
    values = [value for value in call.inputs if value is not None]
    shape = _common_shape(call, *values)
    terms = list(zip(coefficients, values, strict=True))
    moving = [(c, value) for c, value in terms if isinstance(value, Activation)]
    factors = [c for c, _ in moving]
    expanded = [call.expand(value, shape) for _, value in moving]
    y = expanded[0]
    factor: ParameterRef | None = None
    if len(moving) > 1:
        y = call.emit(Add(tuple(factors)), *expanded)
    elif factors[0] != 1.0:
        factor = call.constant(factors[0])
    for coefficient, value in terms:
        if isinstance(value, Known):
            y = call.scale(y, factor, _scaled(call, value, coefficient))
            factor = None
    return y if factor is None else call.scale(y, factor, None)


def _scaled(call: Call, value: Known, coefficient: float) -> ParameterRef:
    reference = call.parameter(value)
    return reference if coefficient == 1.0 else reference.then(MultiplyBy(coefficient))


def multiply(call: Call) -> list[Activation]:
    """Import Mul of two activations, or by a constant on either side."""
    first, second = call.input(0), call.input(1)
    if isinstance(first, Activation) and isinstance(second, Activation):
        return [multiplied(call, first, second)]
    x, constant = (
        (call.activation(0), call.known(1))
        if isinstance(first, Activation)
        else (call.activation(1), call.known(0))
    )
    x = call.expand(x, _common_shape(call, x, constant))
    return [call.scale(x, call.parameter(constant), None)]


def divide(call: Call) -> list[Activation]:
    """Import Div by a constant or by an activation."""
    numerator, denominator = call.input(0), call.input(1)
    if numerator is not None and isinstance(denominator, Activation):
        return [quotient(call, numerator, denominator)]
    x, constant = call.activation(0), call.known(1)
    if not np.all(constant.array):
        raise call.malformed(f"it divides by zero: {constant.name!r}")
    x = call.expand(x, _common_shape(call, x, constant))
    return [call.scale(x, call.parameter(constant, Reciprocal()), None)]


def negate(call: Call) -> list[Activation]:
    """Import Neg."""
    return [call.scale(call.activation(0), call.constant(-1.0), None)]


def expand(call: Call) -> list[Activation]:
    """Import Expand to a constant shape."""
    x = call.activation(0)
    wanted = call.integers("shape", 1) or ()
    shape = tuple(np.broadcast_shapes(x.shape, wanted))
    call.builder.check_size(call.name, shape)
    return [call.expand(x, shape)]


def identity(call: Call) -> list[Activation]:
    """Import Identity, and Dropout as it is at inference."""
    training = call.optional_known(2)
    if training is not None and bool(training.array.any()):
        raise call.unsupported("it runs in training mode")
    return [call.activation(0)]


def cast(call: Call) -> list[Activation]:
    """Import a cast between floating-point types; rounding is noted, not modelled."""
    x = call.activation(0)
    target = np.dtype(helper.tensor_dtype_to_np_dtype(int(call.attributes["to"])))
    if not np.issubdtype(target, np.floating):
        raise call.unsupported(f"it casts an activation to {target}")
    if not np.can_cast(x.dtype, target, "safe"):
        call.builder.note(
            f"node {call.name!r} casts to {target}; the rounding is not part of the bounds"
        )
    return [Activation(x.node, x.shape, target)]
