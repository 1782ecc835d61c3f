"""Rules of convolutions, which are never written out as matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from torch import Tensor
from torch.nn import functional

from models.operators import (
    Convolution,
    ConvolutionTranspose,
)
from models.parameters import Parameters
from solvers.bounds.interval import Interval
from solvers.bounds.patches import Patches
from solvers.bounds.rules.affine_parts import around, channel_sums, resolve
from solvers.bounds.rules.base import AffineRule, Shape

__all__ = ["ConvolutionRule", "ConvolutionTransposeRule"]


_TRANSPOSED = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}
_CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


KernelT = TypeVar("KernelT", Convolution, ConvolutionTranspose)


class _KernelRule(AffineRule[KernelT]):
    """What does not depend on the direction of a convolution."""

    def interval(
        self, operator: KernelT, inputs: Sequence[Interval], parameters: Parameters
    ) -> Interval:
        """Bound by W∗centre ± |W|∗radius."""
        weight = operator.weight.resolve(parameters)
        bias = resolve(operator.bias, parameters)
        middle, half = inputs[0].careful_halves()
        center = operator.convolve(middle, weight, bias)
        return around(center, operator.convolve(half, weight.abs(), None))

    def linear(
        self,
        operator: KernelT,
        inputs: Sequence[Tensor],
        parameters: Parameters,
        *,
        magnitude: bool = False,
    ) -> Tensor:
        """Convolve with W or |W|."""
        weight = operator.weight.resolve(parameters)
        return operator.convolve(inputs[0], weight.abs() if magnitude else weight, None)

    def constant(
        self, operator: KernelT, coefficients: Tensor, parameters: Parameters
    ) -> Tensor | None:
        """Multiply the sums over each channel by its bias."""
        bias = resolve(operator.bias, parameters)
        return None if bias is None else channel_sums(coefficients) @ bias


class ConvolutionRule(_KernelRule[Convolution]):
    """Cross-correlation; its adjoint is a transposed convolution, never a matrix."""

    def adjoint(
        self,
        operator: Convolution,
        coefficients: Tensor,
        input_shapes: Sequence[Shape],
        parameters: Parameters,
    ) -> tuple[Tensor, ...]:
        """Convolve transposed, padded back to the input's size."""
        dims = len(operator.stride)
        spatial_in, spatial_out = input_shapes[0][2:], coefficients.shape[3:]
        weight = operator.weight.resolve(parameters)
        # What the last stride did not reach: always less than a stride, as PyTorch wants it.
        output_padding = tuple(
            size - ((out - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1)
            for size, out, stride, padding, dilation, kernel in zip(
                spatial_in,
                spatial_out,
                operator.stride,
                operator.padding,
                operator.dilation,
                weight.shape[2:],
                strict=True,
            )
        )
        result = _TRANSPOSED[dims](
            coefficients.flatten(0, 1),
            weight,
            None,
            operator.stride,
            operator.padding,
            output_padding,
            operator.groups,
            operator.dilation,
        )
        return (result.reshape(*coefficients.shape[:2], *result.shape[1:]),)

    def adjoint_patches(
        self,
        operator: Convolution,
        patches: Patches,
        input_shapes: Sequence[Shape],
        parameters: Parameters,
    ) -> tuple[tuple[Patches, ...], Tensor | None] | None:
        """Convolve the windows transposed; they grow by the kernel's reach."""
        weight = operator.weight.resolve(parameters)
        bias = resolve(operator.bias, parameters)
        constant = None if bias is None else patches.values.flatten(3).sum(-1) @ bias
        grown = functional.conv_transpose2d(
            patches.values.flatten(0, 1),
            weight,
            None,
            operator.stride,
            0,
            0,
            operator.groups,
            operator.dilation,
        )
        values = grown.reshape(*patches.values.shape[:2], *grown.shape[1:])
        stride, padding = operator.stride, operator.padding
        grid = patches.grid.through((stride[0], stride[1]), (padding[0], padding[1]))
        size = (input_shapes[0][2], input_shapes[0][3])
        return (Patches(values, patches.places, grid, size),), constant


class ConvolutionTransposeRule(_KernelRule[ConvolutionTranspose]):
    """Transposed convolution; its adjoint is a convolution."""

    def adjoint(
        self,
        operator: ConvolutionTranspose,
        coefficients: Tensor,
        input_shapes: Sequence[Shape],
        parameters: Parameters,
    ) -> tuple[Tensor, ...]:
        """Convolve, cut to the input's size."""
        dims = len(operator.stride)
        result = _CONVOLUTIONS[dims](
            coefficients.flatten(0, 1),
            operator.weight.resolve(parameters),
            None,
            operator.stride,
            operator.padding,
            operator.dilation,
            operator.groups,
        )
        # Output padding of a stride or more lets the convolution run past the input's end.
        for axis, size in enumerate(input_shapes[0][2:]):
            result = result.narrow(2 + axis, 0, size)
        return (result.reshape(*coefficients.shape[:2], *result.shape[1:]),)
