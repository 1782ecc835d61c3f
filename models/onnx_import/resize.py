"""Upsample and Resize by nearest neighbour: entries are repeated, or dropped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil, floor

from models.onnx_import.call import Call
from models.onnx_import.values import Activation
from models.operators import Take

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


def upsample(call: Call) -> list[Activation]:
    """Import Upsample, which every later operator set replaced by Resize."""
    call.require("mode", ("nearest",))
    scales = _floats(call, "scales", 1) or ()
    return [_repeat(call, scales, (), coordinate="asymmetric", rounding="floor")]


def resize(call: Call) -> list[Activation]:
    """Import Resize in mode `nearest`."""
    call.require("mode", ("nearest",))
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
    return [_repeat(call, scales, sizes, coordinate=coordinate, rounding=rounding)]


def _floats(call: Call, attribute: str, position: int) -> tuple[float, ...] | None:
    value = call.optional_known(position)
    if value is not None:
        call.builder.freeze(value)
        return tuple(float(entry) for entry in value.array.reshape(-1))
    found = call.attributes.get(attribute)
    return None if found is None else tuple(float(entry) for entry in found)


def _repeat(
    call: Call,
    scales: tuple[float, ...],
    sizes: tuple[int, ...],
    *,
    coordinate: str,
    rounding: str,
) -> Activation:
    """Select along each axis the entry that each output position reads."""
    x = call.activation(0)
    if not sizes:
        sizes = tuple(floor(n * scale) for n, scale in zip(x.shape, scales, strict=True))
    if not scales:
        scales = tuple(new / old for new, old in zip(sizes, x.shape, strict=True))
    if len(sizes) != x.rank or min(sizes) < 1:
        raise call.malformed(f"a tensor of shape {x.shape} cannot be resized to {sizes}")
    call.builder.check_size(call.name, sizes)
    for axis, (new, old, scale) in enumerate(zip(sizes, x.shape, scales, strict=True)):
        read = [
            _ROUNDINGS[rounding](_COORDINATES[coordinate](i, scale, new, old)) for i in range(new)
        ]
        indices = tuple(min(max(index, 0), old - 1) for index in read)
        if indices != tuple(range(old)):
            x = call.emit(Take(axis, indices), x)
    return x
