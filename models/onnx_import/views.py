"""Shapes that Reshape, Flatten, Squeeze and Unsqueeze give, for constants and activations alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

from models.onnx_import.call import Call

__all__ = ["RESHAPES", "transpose_axes"]

_Shape = tuple[int, ...]


def _reshape(call: Call, shape: _Shape) -> _Shape:
    wanted = call.integers("shape", 1)
    if wanted is None:
        raise call.malformed("the new shape is missing")
    keep_zero = bool(call.attributes.get("allowzero", 0))
    sizes = [
        shape[axis] if size == 0 and not keep_zero and axis < len(shape) else size
        for axis, size in enumerate(wanted)
    ]
    unknown = [axis for axis, size in enumerate(sizes) if size == -1]
    rest = prod(size for size in sizes if size != -1)
    if len(unknown) == 1 and rest > 0:
        sizes[unknown[0]] = prod(shape) // rest
    if prod(sizes) != prod(shape) or any(size < 0 for size in sizes):
        raise call.malformed(f"a tensor of shape {shape} cannot be reshaped to {wanted}")
    return tuple(sizes)


def _flatten(call: Call, shape: _Shape) -> _Shape:
    axis = int(call.attributes.get("axis", 1))
    if not -len(shape) <= axis <= len(shape):
        raise call.malformed(f"axis {axis} does not exist in a tensor of {len(shape)} axes")
    axis = axis + len(shape) if axis < 0 else axis
    return (prod(shape[:axis]), prod(shape[axis:]))


def _squeeze(call: Call, shape: _Shape) -> _Shape:
    wanted = call.integers("axes", 1)
    if wanted is None:
        return tuple(size for size in shape if size != 1)
    axes = {call.normalise_axis(axis, len(shape)) for axis in wanted}
    if any(shape[axis] != 1 for axis in axes):
        raise call.malformed(f"axes {sorted(axes)} of shape {shape} are not all of size 1")
    return tuple(size for axis, size in enumerate(shape) if axis not in axes)


def _unsqueeze(call: Call, shape: _Shape) -> _Shape:
    wanted = call.integers("axes", 1)
    if not wanted:
        raise call.malformed("the axes are missing")
    rank = len(shape) + len(wanted)
    axes = {call.normalise_axis(axis, rank) for axis in wanted}
    if len(axes) != len(wanted):
        raise call.malformed(f"axes {wanted} repeat")
    rest = iter(shape)
    return tuple(1 if axis in axes else next(rest) for axis in range(rank))


RESHAPES: Mapping[str, Callable[[Call, _Shape], _Shape]] = {
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
}
"""Operators that keep elements and their order, and the shape that each gives."""


def transpose_axes(call: Call, rank: int) -> tuple[int, ...]:
    """Return the permutation of a Transpose node; without one, the axes are reversed."""
    axes = call.integers("perm")
    if axes is None:
        return tuple(reversed(range(rank)))
    if sorted(axes) != list(range(rank)):
        raise call.malformed(f"{axes} is not a permutation of {rank} axes")
    return axes
