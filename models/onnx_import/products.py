"""Products and quotients of activations."""

from __future__ import annotations

import numpy as np

from models.onnx_import.call import Call
from models.onnx_import.gates import gated
from models.onnx_import.values import Activation, Known, Value
from models.operators import Constant, MatrixProduct, Multiply, Power

__all__ = ["matrix_product", "multiplied", "power", "quotient"]


def power(call: Call, x: Activation, exponent: float) -> Activation:
    """Raise to a constant power; a power of a power is one, where that is the same.

    √v and 1/√v, as normalisations are exported, become single functions that way.
    """
    node = call.builder.node(x.node)
    if isinstance(node.operator, Power) and exponent == -1.0:
        source = Activation(node.inputs[0], x.shape, x.dtype)
        return call.emit(Power(-node.operator.exponent), source)
    return call.emit(Power(exponent), x)


def multiplied(call: Call, x: Activation, y: Activation) -> Activation:
    """Multiply two activations with broadcasting; some products are one function of one value."""
    if x.node == y.node:
        return power(call, x, 2.0)
    single = gated(call, x, y)
    if single is not None:
        return single
    shape = tuple(np.broadcast_shapes(x.shape, y.shape))
    call.builder.check_size(call.name, shape)
    return call.emit(Multiply(), call.expand(x, shape), call.expand(y, shape))


def quotient(call: Call, x: Value, y: Activation) -> Activation:
    """Divide by an activation: a product with its reciprocal."""
    reciprocal = power(call, y, -1.0)
    if isinstance(x, Activation):
        return multiplied(call, x, reciprocal)
    shape = tuple(np.broadcast_shapes(x.shape, y.shape))
    call.builder.check_size(call.name, shape)
    return call.scale(call.expand(reciprocal, shape), call.parameter(x), None)


def matrix_product(call: Call, left: Value, right: Value) -> Activation:
    """Multiply matrices by numpy's rules; at least one side is an activation."""
    x, y = _as_activation(call, left), _as_activation(call, right)
    row, column = x.rank == 1, y.rank == 1
    x = call.reshape(x, (1, *x.shape)) if row else x
    y = call.reshape(y, (*y.shape, 1)) if column else y
    leading = tuple(np.broadcast_shapes(x.shape[:-2], y.shape[:-2]))
    call.builder.check_size(call.name, (*leading, x.shape[-2], y.shape[-1]))
    result = call.emit(
        MatrixProduct(),
        call.expand(x, (*leading, *x.shape[-2:])),
        call.expand(y, (*leading, *y.shape[-2:])),
    )
    shape = (*leading, *result.shape[-2 + row : -1], *(() if column else result.shape[-1:]))
    return call.reshape(result, shape)


def _as_activation(call: Call, value: Value) -> Activation:
    return call.emit(Constant(call.parameter(value))) if isinstance(value, Known) else value
