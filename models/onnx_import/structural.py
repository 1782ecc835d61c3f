"""Operators that move, select, join or pad values."""

from __future__ import annotations

from math import isfinite, prod

import numpy as np

from models.onnx_import.call import Call
from models.onnx_import.values import Activation, Known, Value
from models.onnx_import.views import RESHAPES, transpose_axes
from models.operators import Concat, Constant, Pad, Take, Transpose

__all__ = ["concat", "gather", "pad", "reshape", "shape", "size", "slice_", "split", "transpose"]

_FAR = 2**62


def reshape(call: Call) -> list[Activation]:
    """Import Reshape, Flatten, Squeeze and Unsqueeze."""
    x = call.activation(0)
    return [call.reshape(x, RESHAPES[call.operator](call, x.shape))]


def transpose(call: Call) -> list[Activation]:
    """Import Transpose."""
    x = call.activation(0)
    axes = transpose_axes(call, x.rank)
    return [x if axes == tuple(range(x.rank)) else call.emit(Transpose(axes), x)]


def shape(call: Call) -> list[Known]:
    """Import Shape; shapes are static, so the result is a constant."""
    x = call.activation(0)
    start = int(call.attributes.get("start", 0))
    end = int(call.attributes.get("end", _FAR))
    return [Known(call.outputs[0], np.asarray(x.shape[start:end], dtype=np.int64))]


def size(call: Call) -> list[Known]:
    """Import Size, a constant as well."""
    return [Known(call.outputs[0], np.asarray(call.activation(0).size, dtype=np.int64))]


def _take(call: Call, x: Activation, *, axis: int, indices: tuple[int, ...]) -> Activation:
    if not indices:
        raise call.malformed(f"it selects nothing along axis {axis} of shape {x.shape}")
    return x if indices == tuple(range(x.shape[axis])) else call.emit(Take(axis, indices), x)


def slice_(call: Call) -> list[Activation]:
    """Import Slice, with attributes (before opset 10) or inputs."""
    x = call.activation(0)
    starts, ends = call.integers("starts", 1), call.integers("ends", 2)
    if starts is None or ends is None:
        raise call.malformed("starts or ends are missing")
    axes = call.integers("axes", 3) or tuple(range(len(starts)))
    steps = call.integers("steps", 4) or (1,) * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        where = call.normalise_axis(axis, x.rank)
        picked = tuple(range(x.shape[where])[start:end:step])
        x = _take(call, x, axis=where, indices=picked)
    return [x]


def split(call: Call) -> list[Activation]:
    """Import Split into given sizes, or into as many parts as there are outputs."""
    x = call.activation(0)
    axis = call.axis(x.rank, 0)
    sizes = call.integers("split", 1)
    if sizes is None:
        parts = int(call.attributes.get("num_outputs", len(call.outputs)))
        part = -(-x.shape[axis] // parts)
        sizes = (*(part,) * (parts - 1), x.shape[axis] - part * (parts - 1))
    if sum(sizes) != x.shape[axis] or len(sizes) != len(call.outputs) or min(sizes) < 0:
        raise call.malformed(f"sizes {sizes} do not split axis {axis} of shape {x.shape}")
    ends = np.cumsum(sizes)
    return [
        _take(call, x, axis=axis, indices=tuple(range(int(end) - count, int(end))))
        for end, count in zip(ends, sizes, strict=True)
    ]


def gather(call: Call) -> list[Activation]:
    """Import Gather with constant indices of any shape."""
    x, where = call.activation(0), call.known(1)
    axis = call.axis(x.rank, 0)
    count = x.shape[axis]
    shape = x.shape[:axis] + where.shape + x.shape[axis + 1 :]
    call.builder.check_size(call.name, shape)
    indices = tuple(int(index) for index in where.array.reshape(-1))
    if any(not -count <= index < count for index in indices):
        raise call.malformed(f"an index is outside axis {axis} of shape {x.shape}")
    picked = _take(call, x, axis=axis, indices=tuple(index % count for index in indices))
    return [call.reshape(picked, shape)]


def _as_activation(call: Call, value: Value | None) -> Activation:
    """Return an input of Concat; a constant becomes a node of its own."""
    if value is None:
        raise call.malformed("an input is missing")
    return call.emit(Constant(call.parameter(value))) if isinstance(value, Known) else value


def concat(call: Call) -> list[Activation]:
    """Import Concat of activations and constants."""
    present = [value for value in call.inputs if value is not None and prod(value.shape) > 0]
    parts = [_as_activation(call, value) for value in present]
    axis = call.axis(parts[0].rank, 1)
    return [parts[0] if len(parts) == 1 else call.emit(Concat(axis), *parts)]


def pad(call: Call) -> list[Activation]:
    """Import Pad with a constant; negative padding cuts off."""
    x = call.activation(0)
    call.require("mode", ("constant",))
    pads = call.integers("pads", 1)
    axes = call.integers("axes", 3) or tuple(range(x.rank))
    if pads is None or len(pads) != 2 * len(axes):
        raise call.malformed(f"pads {pads} do not fit axes {axes}")
    value = call.number("value", 2) or 0.0
    if not isfinite(value):
        raise call.unsupported(f"it pads with {value}")
    pairs = [(0, 0)] * x.rank
    for axis, before, after in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        pairs[call.normalise_axis(axis, x.rank)] = (before, after)
    for axis, (before, after) in enumerate(pairs):
        kept = range(max(0, -before), x.shape[axis] - max(0, -after))
        x = _take(call, x, axis=axis, indices=tuple(kept))
    grown = tuple((max(0, before), max(0, after)) for before, after in pairs)
    sizes = tuple(size + sum(pair) for size, pair in zip(x.shape, grown, strict=True))
    call.builder.check_size(call.name, sizes)
    return [call.emit(Pad(grown, value), x)] if any(map(any, grown)) else [x]
