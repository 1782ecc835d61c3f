"""Sliding windows: strides, paddings and output sizes of convolutions and pools."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from models.onnx_import.call import Call

__all__ = ["Windows", "read_windows", "spatial"]

_AUTO_PAD = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER", "")


@dataclass(frozen=True)
class Windows:
    """Windows over the spatial axes, one number or pair per axis.

    Attributes:
        kernel, stride, dilation: As ONNX names them.
        padding: `(before, after)`, with `auto_pad` resolved.
        output: Number of windows, with `ceil_mode` applied.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    output: tuple[int, ...]

    @property
    def symmetric(self) -> bool:
        """Whether every axis is padded alike on both sides."""
        return all(before == after for before, after in self.padding)

    @property
    def before(self) -> tuple[int, ...]:
        """Padding in front of each axis."""
        return tuple(before for before, _ in self.padding)

    def reach(self) -> tuple[int, ...]:
        """Return how many entries each window spans."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    def overhang(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """Return how far the last window hangs over the padded input, per axis."""
        return tuple(
            max(0, (count - 1) * stride + reach - (size + sum(pads)))
            for count, stride, reach, size, pads in zip(
                self.output, self.stride, self.reach(), sizes, self.padding, strict=True
            )
        )


def spatial(call: Call, rank: int) -> int:
    """Return the number of spatial axes behind batch and channel axes.

    Raises:
        UnsupportedOperatorError: Not one to three.
    """
    if not 3 <= rank <= 5:
        raise call.unsupported(f"its input has {rank} axes; 3, 4 or 5 are supported")
    return rank - 2


def per_axis(call: Call, attribute: str, axes: int) -> tuple[int, ...]:
    """Return an attribute that holds one positive number per axis, 1 by default."""
    found = call.integers(attribute) or (1,) * axes
    if len(found) != axes or min(found) < 1:
        raise call.malformed(f"{attribute} is {found}, expected {axes} positive numbers")
    return found


def read_windows(call: Call, sizes: tuple[int, ...], kernel: tuple[int, ...]) -> Windows:
    """Read stride, dilation, padding and rounding of a node that slides windows.

    Args:
        call: The node.
        sizes: Spatial sizes of its input.
        kernel: Spatial sizes of the window.

    Raises:
        UnsupportedOperatorError: Negative padding.
        ModelImportError: The numbers contradict one another.
    """
    axes = len(sizes)
    if len(kernel) != axes or min(kernel) < 1:
        raise call.malformed(f"a window of {kernel} does not fit {axes} spatial axes")
    stride = per_axis(call, "strides", axes)
    dilation = per_axis(call, "dilations", axes)
    reach = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    call.require("auto_pad", _AUTO_PAD)
    mode = call.attributes.get("auto_pad", "NOTSET")
    if mode.startswith("SAME"):
        output = tuple(ceil(size / step) for size, step in zip(sizes, stride, strict=True))
        padding = same_padding(
            sizes, output, stride=stride, reach=reach, upper=mode == "SAME_UPPER"
        )
        return Windows(kernel, stride, dilation, padding, output)
    padding = ((0, 0),) * axes if mode == "VALID" else explicit_padding(call, axes)
    round_up = bool(call.attributes.get("ceil_mode", 0))
    output = tuple(
        _count(size, pads, span, step=step, round_up=round_up)
        for size, pads, span, step in zip(sizes, padding, reach, stride, strict=True)
    )
    if min(output) < 1:
        raise call.malformed(f"windows of {kernel} do not fit an input of {sizes}")
    return Windows(kernel, stride, dilation, padding, output)


def explicit_padding(call: Call, axes: int) -> tuple[tuple[int, int], ...]:
    """Return the attribute `pads` as one pair per axis."""
    pads = call.integers("pads") or (0,) * (2 * axes)
    if len(pads) != 2 * axes:
        raise call.malformed(f"pads is {pads}, expected {2 * axes} numbers")
    if min(pads) < 0:
        raise call.unsupported(f"negative padding {pads}")
    return tuple(zip(pads[:axes], pads[axes:], strict=True))


def same_padding(
    sizes: tuple[int, ...],
    output: tuple[int, ...],
    *,
    stride: tuple[int, ...],
    reach: tuple[int, ...],
    upper: bool,
) -> tuple[tuple[int, int], ...]:
    """Return the padding of `auto_pad` SAME: the odd one goes behind for SAME_UPPER."""
    pairs = []
    for size, count, step, span in zip(sizes, output, stride, reach, strict=True):
        total = max(0, (count - 1) * step + span - size)
        small, large = total // 2, total - total // 2
        pairs.append((small, large) if upper else (large, small))
    return tuple(pairs)


def _count(size: int, pads: tuple[int, int], span: int, *, step: int, round_up: bool) -> int:
    """Return the number of windows; a window that would start behind the input is dropped."""
    room = size + sum(pads) - span
    if not round_up:
        return room // step + 1
    count = -(-room // step) + 1
    return count - 1 if (count - 1) * step >= size + pads[0] else count
