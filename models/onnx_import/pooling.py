"""MaxPool, AveragePool and their global forms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.onnx_import.call import Call
from models.onnx_import.geometry import Windows, read_windows, spatial
from models.onnx_import.values import Activation
from models.operators import AveragePool, MaxPool, Pad, ReduceSum

__all__ = ["average_pool", "global_average_pool", "global_max_pool", "max_pool"]


def _windows(call: Call, x: Activation) -> Windows:
    spatial(call, x.rank)
    kernel = call.integers("kernel_shape")
    if kernel is None:
        raise call.malformed("kernel_shape is missing")
    return read_windows(call, x.shape[2:], kernel)


def max_pool(call: Call) -> list[Activation]:
    """Import MaxPool."""
    x = call.activation(0)
    windows = _windows(call, x)
    padding = tuple(
        (before, after + more)
        for (before, after), more in zip(
            windows.padding, windows.overhang(x.shape[2:]), strict=True
        )
    )
    return [call.emit(MaxPool(windows.kernel, windows.stride, padding, windows.dilation), x)]


def global_max_pool(call: Call) -> list[Activation]:
    """Import GlobalMaxPool: one window over everything."""
    x = call.activation(0)
    axes = spatial(call, x.rank)
    ones = (1,) * axes
    return [call.emit(MaxPool(x.shape[2:], ones, ((0, 0),) * axes, ones), x)]


def global_average_pool(call: Call) -> list[Activation]:
    """Import GlobalAveragePool: a sum over the spatial axes, divided by their size."""
    x = call.activation(0)
    axes = tuple(range(2, x.rank))
    count = int(np.prod(x.shape[2:]))
    total = call.emit(ReduceSum(axes, keepdims=True), x)
    return [call.scale(total, call.constant(1.0 / count), None)]


def average_pool(call: Call) -> list[Activation]:
    """Import AveragePool.

    The canonical operator counts its padding. Padding that it does not know (asymmetric, too wide
    for the window, behind the edge in `ceil_mode`) becomes a `Pad` in front, and where fewer
    entries count than the window has, a `Scale` behind corrects the divisor.
    """
    x = call.activation(0)
    windows = _windows(call, x)
    if any(d != 1 for d in windows.dilation):
        raise call.unsupported(f"dilations {windows.dilation}")
    counted = _counted(windows, x.shape[2:], bool(call.attributes.get("count_include_pad", 0)))
    overhang = windows.overhang(x.shape[2:])
    fits = all(2 * pad <= k for pad, k in zip(windows.before, windows.kernel, strict=True))
    padding = windows.before
    if any(overhang) or not windows.symmetric or not fits:
        pairs = [
            (before, after + more)
            for (before, after), more in zip(windows.padding, overhang, strict=True)
        ]
        x = call.emit(Pad(((0, 0), (0, 0), *pairs)), x)
        padding = (0,) * len(padding)
    y = call.emit(AveragePool(windows.kernel, windows.stride, padding), x)
    correction = float(np.prod(windows.kernel)) / counted
    return [y] if (correction == 1.0).all() else [call.scale(y, call.constant(correction), None)]


def _counted(
    windows: Windows, sizes: tuple[int, ...], include_padding: bool
) -> NDArray[np.float64]:
    """Return how many entries each window counts, shape of the spatial output."""
    total = np.ones(())
    for axis, size in enumerate(sizes):
        before, after = windows.padding[axis]
        first, last = (0, before + size + after) if include_padding else (before, before + size)
        starts = np.arange(windows.output[axis]) * windows.stride[axis]
        ends = starts + windows.kernel[axis]
        line = np.minimum(ends, last) - np.maximum(starts, first)
        total = np.multiply.outer(total, line.astype(np.float64))
    return total
