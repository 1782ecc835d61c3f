"""Upsample and Resize: entries are repeated or dropped, or their neighbours are mixed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from models.onnx_import.call import Call
from models.onnx_import.values import Activation
from models.operators import Linear, Take, Transpose

__all__ = ["resize", "upsample"]

_COORDINATES: Mapping[str, Callable[[int, float, int, int], float]] = {
    "asymmetric": lambda x, scale, new, old: x / scale,  # noqa: ARG005
    "half_pixel": lambda x, scale, new, old: (x + 0.5) / scale - 0.5,  # noqa: ARG005
    "pytorch_half_pixel": lambda x, scale, new, old: (  # noqa: ARG005
        (x + 0.5) / scale - 0.5 if new > 1 else 0.0
    ),
    "align_corners": lambda x, scale, new, old: (  # noqa: ARG005
        x * (old - 1) / (new - 1) if new > 1 else 0.0
    ),
}
_ROUNDINGS: Mapping[str, Callable[[float], int]] = {
    "round_prefer_floor": lambda x: ceil(x - 0.5),
    "round_prefer_ceil": lambda x: floor(x + 0.5),
    "floor": floor,
    "ceil": ceil,
}


_MODES = ("nearest", "linear")


def upsample(call: Call) -> list[Activation]:
    """Import Upsample, which every later operator set replaced by Resize."""
    call.require("mode", _MODES)
    scales = _floats(call, "scales", 1) or ()
    return [_resized(call, scales, (), coordinate="asymmetric", rounding="floor")]


def resize(call: Call) -> list[Activation]:
    """Import Resize in modes `nearest` and `linear`."""
    call.require("mode", _MODES)
    if call.opset < 11:
        return upsample(call)
    call.require("antialias", (0,))
    call.require("keep_aspect_ratio_policy", ("stretch",))
    call.require("coordinate_transformation_mode", ("half_pixel", *_COORDINATES))
    call.require("nearest_mode", ("round_prefer_floor", *_ROUNDINGS))
    if call.attributes.get("axes") is not None:
        raise call.unsupported("attribute axes")
    sizes = call.integers("sizes", 3) or ()
    coordinate = call.attributes.get("coordinate_transformation_mode", "half_pixel")
    rounding = call.attributes.get("nearest_mode", "round_prefer_floor")
    scales = _floats(call, "scales", 2) or ()
    return [_resized(call, scales, sizes, coordinate=coordinate, rounding=rounding)]


def _floats(call: Call, attribute: str, position: int) -> tuple[float, ...] | None:
    value = call.optional_known(position)
    if value is not None:
        call.builder.freeze(value)
        return tuple(float(entry) for entry in value.array.reshape(-1))
    found = call.attributes.get(attribute)
    return None if found is None else tuple(float(entry) for entry in found)


def _resized(
    call: Call,
    scales: tuple[float, ...],
    sizes: tuple[int, ...],
    *,
    coordinate: str,
    rounding: str,
) -> Activation:
    """Resize along one axis after the other."""
    x = call.activation(0)
    if not sizes:
        sizes = tuple(floor(n * scale) for n, scale in zip(x.shape, scales, strict=True))
    if not scales:
        scales = tuple(new / old for new, old in zip(sizes, x.shape, strict=True))
    if len(sizes) != x.rank or min(sizes) < 1:
        raise call.malformed(f"a tensor of shape {x.shape} cannot be resized to {sizes}")
    call.builder.check_size(call.name, sizes)
    linear = call.attributes.get("mode", "nearest") == "linear"
    for axis, (new, old, scale) in enumerate(zip(sizes, x.shape, scales, strict=True)):
        read = [_COORDINATES[coordinate](i, scale, new, old) for i in range(new)]
        if linear:
            x = _mixed(call, x, axis, read)
        else:
            x = _repeated(call, x, axis, [_ROUNDINGS[rounding](place) for place in read])
    return x


def _repeated(call: Call, x: Activation, axis: int, read: list[int]) -> Activation:
    """Select along one axis the entry that each output position reads."""
    old = x.shape[axis]
    indices = tuple(min(max(index, 0), old - 1) for index in read)
    return x if indices == tuple(range(old)) else call.emit(Take(axis, indices), x)


def _mixed(call: Call, x: Activation, axis: int, read: list[float]) -> Activation:
    """Mix along one axis the two entries beside each place that is read."""
    old, last = x.shape[axis], x.rank - 1
    call.builder.count_folded(call.name, old * len(read))
    weights: NDArray[np.float64] = np.zeros((len(read), old))
    for row, place in enumerate(read):
        inside = min(max(place, 0.0), old - 1.0)
        before = min(floor(inside), old - 1)
        share = inside - before
        weights[row, before] += 1 - share
        weights[row, min(before + 1, old - 1)] += share
    if np.array_equal(weights, np.eye(old)):
        return x
    linear = Linear(call.constant(weights))
    if axis == last:
        return call.emit(linear, x)
    order = [*range(x.rank)]
    order[axis], order[last] = last, axis
    swap = Transpose(tuple(order))
    return call.emit(swap, call.emit(linear, call.emit(swap, x)))
