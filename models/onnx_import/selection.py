"""Comparisons, and Where: each value comes from one side or the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp

import numpy as np

from models.onnx_import import arithmetic
from models.onnx_import.call import Call
from models.onnx_import.gates import Affine, affine_of, readings
from models.onnx_import.products import multiplied
from models.onnx_import.values import Activation, Known, Value
from models.operators import Add, Constant, Positive, Softplus

__all__ = ["comparison", "where"]


def comparison(*, less: bool, inclusive: bool) -> Callable[[Call], Sequence[Activation]]:
    """Return a handler of Greater, Less and their inclusive forms: 1 for true, 0 for false."""

    def handler(call: Call) -> Sequence[Activation]:
        (difference,) = arithmetic.subtract(call)
        if less:
            difference = call.scale(difference, call.constant(-1.0), None)
        return [call.emit(Positive(inclusive), difference)]

    return handler


def where(call: Call) -> list[Activation]:
    """Import Where, with masks of zeros and ones where the condition is a constant."""
    condition = call.input(0)
    values = [value for value in (call.input(1), call.input(2)) if value is not None]
    if condition is None or len(values) != 2:
        raise call.malformed("it needs three inputs")
    shape = tuple(np.broadcast_shapes(condition.shape, *(value.shape for value in values)))
    call.builder.check_size(call.name, shape)
    if isinstance(condition, Known):
        return [_masked(call, condition.array.astype(bool), values, shape)]
    softplus = _guarded_softplus(call, condition, *values)
    return [softplus or _switched(call, condition, values, shape)]


def _masked(
    call: Call, condition: np.ndarray, values: Sequence[Value], shape: tuple[int, ...]
) -> Activation:
    terms = []
    offset = np.zeros(shape)
    for value, mask in zip(values, (condition, ~condition), strict=True):
        if isinstance(value, Known):
            call.builder.freeze(value)
            offset += np.where(mask, value.array, 0.0)
        else:
            x = call.expand(value, shape)
            terms.append(x if mask.all() else call.scale(x, call.constant(mask), None))
    if not np.isfinite(offset).all():
        raise call.unsupported("it puts NaN or infinite numbers into the result")
    y = terms[0] if len(terms) == 1 else call.emit(Add((1.0, 1.0)), *terms)
    return call.scale(y, None, call.constant(offset)) if offset.any() else y


def _switched(
    call: Call, condition: Activation, values: Sequence[Value], shape: tuple[int, ...]
) -> Activation:
    """Compute second + condition · (first − second)."""
    first, second = (
        call.expand(
            call.emit(Constant(call.parameter(value))) if isinstance(value, Known) else value,
            shape,
        )
        for value in values
    )
    difference = call.emit(Add((1.0, -1.0)), first, second)
    chosen = multiplied(call, call.expand(condition, shape), difference)
    return call.emit(Add((1.0, 1.0)), second, chosen)


def _guarded_softplus(
    call: Call, condition: Activation, first: Value, second: Value
) -> Activation | None:
    """Return ln(1 + eᵏˣ) / k where it gives way to x beyond a threshold, as torch exports it.

    From there on the two differ by less than rounding does, which a note says.
    """
    if not isinstance(first, Activation) or not isinstance(second, Activation):
        return None
    for scaled in readings(call.builder, second.node):
        curve = call.builder.node(scaled.node)
        if isinstance(curve.operator, Softplus):
            inner = affine_of(call.builder, curve.inputs[0], first.node)
            # k·x > threshold is imported as k·x − threshold > 0
            guard = _compared(call, condition, first.node)
            if inner is None or guard is None or inner.offset or scaled.offset:
                return None
            same = guard.factor == inner.factor and abs(inner.factor * scaled.factor - 1) < 1e-6
            if not same or guard.offset > -10 or inner.factor <= 0:
                return None
            gap = exp(guard.offset) * scaled.factor
            call.builder.note(
                f"node {call.name!r} replaces Softplus by its argument where they differ by less "
                f"than {gap:.1g}; that is not part of the bounds"
            )
            return second
    return None


def _compared(call: Call, condition: Activation, base: str) -> Affine | None:
    """Return what a condition compares with 0, as a function of `base`."""
    node = call.builder.node(condition.node)
    if node.operator != Positive():
        return None
    return affine_of(call.builder, node.inputs[0], base)
