"""Sums and means over axes."""

from __future__ import annotations

from math import prod

from models.onnx_import.call import Call
from models.onnx_import.values import Activation
from models.operators import ReduceSum

__all__ = ["reduce_mean", "reduce_sum", "reduced_axes"]


def reduced_axes(call: Call, rank: int) -> tuple[int, ...]:
    """Return the axes that a node reduces; none given means all, unless the node says otherwise."""
    axes = call.integers("axes", 1) or ()
    if not axes and not call.attributes.get("noop_with_empty_axes", 0):
        return tuple(range(rank))
    return tuple(sorted({call.normalise_axis(axis, rank) for axis in axes}))


def _sum(call: Call) -> tuple[Activation, int]:
    """Emit the sum, and return it with the number of values that each sum has."""
    x = call.activation(0)
    axes = reduced_axes(call, x.rank)
    if not axes:
        return x, 1
    keepdims = bool(call.attributes.get("keepdims", 1))
    return call.emit(ReduceSum(axes, keepdims), x), prod(x.shape[axis] for axis in axes)


def reduce_sum(call: Call) -> list[Activation]:
    """Import ReduceSum."""
    return [_sum(call)[0]]


def reduce_mean(call: Call) -> list[Activation]:
    """Import ReduceMean: a sum, scaled."""
    total, count = _sum(call)
    return [total if count == 1 else call.scale(total, call.constant(1.0 / count), None)]
