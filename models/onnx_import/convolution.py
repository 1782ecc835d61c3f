"""Conv, ConvTranspose and BatchNormalization."""

from __future__ import annotations

from math import prod

import numpy as np

from models.onnx_import.call import Call
from models.onnx_import.geometry import explicit_padding, per_axis, read_windows, spatial
from models.onnx_import.values import Activation, Known
from models.operators import BatchNormalization, Convolution, ConvolutionTranspose, Pad, Take
from models.parameters import ParameterRef, ReshapeTo

__all__ = ["batch_normalization", "convolution", "convolution_transpose"]


def _kernel(call: Call, x: Activation, weight: Known) -> tuple[int, ...]:
    axes = spatial(call, x.rank)
    kernel = weight.shape[2:]
    declared = call.integers("kernel_shape") or kernel
    if len(kernel) != axes or declared != kernel or prod(kernel) == 0:
        raise call.malformed(
            f"weight {weight.name!r} of shape {weight.shape} does not fit "
            f"kernel_shape {declared} and an input of {x.rank} axes"
        )
    return kernel


def _bias(call: Call) -> ParameterRef | None:
    value = call.optional_known(2)
    return None if value is None else call.parameter(value)


def convolution(call: Call) -> list[Activation]:
    """Import Conv; asymmetric padding becomes a `Pad` in front."""
    x, weight = call.activation(0), call.known(1)
    windows = read_windows(call, x.shape[2:], _kernel(call, x, weight))
    padding = windows.before
    if not windows.symmetric:
        x = call.emit(Pad(((0, 0), (0, 0), *windows.padding)), x)
        padding = (0,) * len(padding)
    operator = Convolution(
        weight=call.parameter(weight),
        bias=_bias(call),
        stride=windows.stride,
        padding=padding,
        dilation=windows.dilation,
        groups=int(call.attributes.get("group", 1)),
    )
    return [call.emit(operator, x)]


def convolution_transpose(call: Call) -> list[Activation]:
    """Import ConvTranspose.

    torch knows one padding p on both sides and an output padding behind. What fits that becomes
    one operator; the rest is computed without padding and then cut, or padded and shifted.
    """
    x, weight = call.activation(0), call.known(1)
    kernel = _kernel(call, x, weight)
    stride = per_axis(call, "strides", len(kernel))
    dilation = per_axis(call, "dilations", len(kernel))
    reach = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    full = tuple(s * (n - 1) + r for s, n, r in zip(stride, x.shape[2:], reach, strict=True))
    starts, sizes = _cut(call, x.shape[2:], full=full, stride=stride)
    extra = tuple(
        size - (whole - 2 * start) for size, whole, start in zip(sizes, full, starts, strict=True)
    )
    groups = int(call.attributes.get("group", 1))
    reference = call.parameter(weight)
    if all(0 <= e < max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)):
        operator = ConvolutionTranspose(
            reference, _bias(call), stride, starts, extra, dilation, groups
        )
        return [call.emit(operator, x)]
    zeros = (0,) * len(kernel)
    whole = ConvolutionTranspose(reference, None, stride, zeros, zeros, dilation, groups)
    y = _crop(call, call.emit(whole, x), starts=starts, sizes=sizes)
    bias = call.optional_known(2)
    if bias is None:
        return [y]
    column = call.parameter(bias, ReshapeTo((bias.array.size, *(1,) * len(kernel))))
    return [call.scale(y, None, column)]


def _cut(
    call: Call, inputs: tuple[int, ...], *, full: tuple[int, ...], stride: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return where the output starts within the unpadded result, and its size, per axis."""
    axes = len(full)
    extra = call.integers("output_padding") or (0,) * axes
    mode = call.attributes.get("auto_pad", "NOTSET")
    call.require("auto_pad", ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER", ""))
    wanted = call.integers("output_shape")
    if wanted is None and mode.startswith("SAME"):
        wanted = tuple(size * step for size, step in zip(inputs, stride, strict=True))
    if wanted is None:
        pads = explicit_padding(call, axes) if mode != "VALID" else ((0, 0),) * axes
        sizes = tuple(
            whole + more - sum(pair) for whole, more, pair in zip(full, extra, pads, strict=True)
        )
        return tuple(before for before, _ in pads), sizes
    wanted = wanted[-axes:]
    starts = []
    for whole, more, size in zip(full, extra, wanted, strict=True):
        total = max(0, whole + more - size)
        starts.append(total // 2 if mode == "SAME_UPPER" else total - total // 2)
    return tuple(starts), wanted


def _crop(
    call: Call, y: Activation, *, starts: tuple[int, ...], sizes: tuple[int, ...]
) -> Activation:
    """Cut the output out of the unpadded result, with zeros where it reaches beyond."""
    for position, (start, size) in enumerate(zip(starts, sizes, strict=True)):
        axis = position + 2
        stop = min(start + size, y.shape[axis])
        if (start, stop) != (0, y.shape[axis]):
            y = call.emit(Take(axis, tuple(range(start, stop))), y)
    behind = tuple(size - have for size, have in zip(sizes, y.shape[2:], strict=True))
    if any(behind):
        y = call.emit(Pad(((0, 0), (0, 0), *((0, more) for more in behind))), y)
    return y


def batch_normalization(call: Call) -> list[Activation]:
    """Import BatchNormalization as it is at inference."""
    x = call.activation(0)
    call.require("training_mode", (0,))
    if call.opset < 9:
        call.require("spatial", (1,))
    if x.rank < 2:
        raise call.unsupported(f"its input has {x.rank} axes, so no channel axis")
    scale, bias, mean, variance = (call.parameter(call.known(k)) for k in range(1, 5))
    epsilon = float(call.attributes.get("epsilon", np.float32(1e-5)))
    return [call.emit(BatchNormalization(scale, bias, mean, variance, epsilon), x)]
