"""Rules of operators with weights, and of elementwise scaling and sums."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from models.operators import (
    Add,
    BatchNormalization,
    Convolution,
    ConvolutionTranspose,
    Linear,
    Scale,
)
from models.parameters import ParameterRef, Parameters
from solvers.bounds.interval import ROUNDING_UNITS, Interval
from solvers.bounds.patches import Patches
from solvers.bounds.rules.base import AffineRule, Shape

__all__ = [
    "AddRule",
    "BatchNormalizationRule",
    "ConvolutionRule",
    "ConvolutionTransposeRule",
    "LinearRule",
    "ScaleRule",
]

# ruff: noqa: ARG002  (not every adjoint needs shapes or parameters)

_TRANSPOSED = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}
_CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


def _resolve(reference: ParameterRef | None, parameters: Parameters) -> Tensor | None:
    return None if reference is None else reference.resolve(parameters)


def _around(center: Tensor, radius: Tensor) -> Interval:
    """Return centre ± radius, widened by the rounding of the sum and of an added bias."""
    if center.dtype == torch.float64:
        radius = radius + ROUNDING_UNITS * torch.finfo(torch.float64).eps * center.abs()
    return Interval(center - radius, center + radius)


def _channel_sums(coefficients: Tensor) -> Tensor:
    """Sum everything but rows and channels: `(rows, n, channels, …)` to `(rows, channels)`."""
    sums = coefficients.flatten(3).sum(-1) if coefficients.dim() > 3 else coefficients
    return sums.sum(1)


class LinearRule(AffineRule[Linear]):
    """y = W x + b over the last axis."""

    def interval(
        self, operator: Linear, inputs: Sequence[Interval], parameters: Parameters
    ) -> Interval:
        """Bound by W·centre ± |W|·radius."""
        weight = operator.weight.resolve(parameters)
        center = functional.linear(inputs[0].center, weight, _resolve(operator.bias, parameters))
        radius = functional.linear(inputs[0].careful_radius, weight.abs())
        return _around(center, radius)

    def linear(
        self,
        operator: Linear,
        inputs: Sequence[Tensor],
        parameters: Parameters,
        *,
        magnitude: bool = False,
    ) -> Tensor:
        """Multiply by W or |W|."""
        weight = operator.weight.resolve(parameters)
        return functional.linear(inputs[0], weight.abs() if magnitude else weight)

    def adjoint(
        self,
        operator: Linear,
        coefficients: Tensor,
        input_shapes: Sequence[Shape],
        parameters: Parameters,
    ) -> tuple[Tensor, ...]:
        """Multiply by W from the right."""
        return (coefficients @ operator.weight.resolve(parameters),)

    def constant(
        self, operator: Linear, coefficients: Tensor, parameters: Parameters
    ) -> Tensor | None:
        """Multiply by b, summed over leading axes."""
        bias = _resolve(operator.bias, parameters)
        if bias is None:
            return None
        # A node of one axis has no leading axes to sum over.
        return (coefficients @ bias).reshape(coefficients.shape[0], -1).sum(-1)

    def rows(
        self, operator: Linear, indices: Tensor, parameters: Parameters
    ) -> tuple[Tensor, Tensor | None] | None:
        """Read the rows of W, which saves a product with a unit matrix."""
        bias = _resolve(operator.bias, parameters)
        weight = operator.weight.resolve(parameters)
        return weight[indices], None if bias is None else bias[indices]


class ConvolutionRule(AffineRule[Convolution]):
    """Cross-correlation; its adjoint is a transposed convolution, never a matrix."""

    def interval(
        self, operator: Convolution, inputs: Sequence[Interval], parameters: Parameters
    ) -> Interval:
        """Bound by W∗centre ± |W|∗radius."""
        weight = operator.weight.resolve(parameters)
        bias = _resolve(operator.bias, parameters)
        center = operator.convolve(inputs[0].center, weight, bias)
        radius = operator.convolve(inputs[0].careful_radius, weight.abs(), None)
        return _around(center, radius)

    def linear(
        self,
        operator: Convolution,
        inputs: Sequence[Tensor],
        parameters: Parameters,
        *,
        magnitude: bool = False,
    ) -> Tensor:
        """Convolve with W or |W|."""
        weight = operator.weight.resolve(parameters)
        return operator.convolve(inputs[0], weight.abs() if magnitude else weight, None)

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

    def constant(
        self, operator: Convolution, coefficients: Tensor, parameters: Parameters
    ) -> Tensor | None:
        """Multiply the sums over each channel by its bias."""
        bias = _resolve(operator.bias, parameters)
        return None if bias is None else _channel_sums(coefficients) @ bias

    def adjoint_patches(
        self,
        operator: Convolution,
        patches: Patches,
        input_shapes: Sequence[Shape],
        parameters: Parameters,
    ) -> tuple[tuple[Patches, ...], Tensor | None] | None:
        """Convolve the windows transposed; they grow by the kernel's reach."""
        weight = operator.weight.resolve(parameters)
        bias = _resolve(operator.bias, parameters)
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


class ConvolutionTransposeRule(AffineRule[ConvolutionTranspose]):
    """Transposed convolution; its adjoint is a convolution."""

    def interval(
        self, operator: ConvolutionTranspose, inputs: Sequence[Interval], parameters: Parameters
    ) -> Interval:
        """Bound by W∗centre ± |W|∗radius."""
        weight = operator.weight.resolve(parameters)
        bias = _resolve(operator.bias, parameters)
        center = operator.convolve(inputs[0].center, weight, bias)
        radius = operator.convolve(inputs[0].careful_radius, weight.abs(), None)
        return _around(center, radius)

    def linear(
        self,
        operator: ConvolutionTranspose,
        inputs: Sequence[Tensor],
        parameters: Parameters,
        *,
        magnitude: bool = False,
    ) -> Tensor:
        """Convolve with W or |W|."""
        weight = operator.weight.resolve(parameters)
        return operator.convolve(inputs[0], weight.abs() if magnitude else weight, None)

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

    def constant(
        self, operator: ConvolutionTranspose, coefficients: Tensor, parameters: Parameters
    ) -> Tensor | None:
        """Multiply the sums over each channel by its bias."""
        bias = _resolve(operator.bias, parameters)
        return None if bias is None else _channel_sums(coefficients) @ bias


def _scaled(bounds: Interval, factor: Tensor, offset: Tensor | None) -> Interval:
    """Scale an interval elementwise; a negative factor swaps the ends."""
    one, other = bounds.lower * factor, bounds.upper * factor
    lower, upper = torch.minimum(one, other), torch.maximum(one, other)
    if lower.dtype == torch.float64:
        # Each end by its own size: an exact zero must not turn negative beside a huge other end.
        unit = 4 * torch.finfo(torch.float64).eps
        size = torch.zeros_like(lower) if offset is None else offset.abs()
        slack_below, slack_above = unit * (lower.abs() + size), unit * (upper.abs() + size)
        lower, upper = lower - slack_below, upper + slack_above
    if offset is not None:
        lower, upper = lower + offset, upper + offset
    return Interval(lower, upper)


class BatchNormalizationRule(AffineRule[BatchNormalization]):
    """Inference-mode batch normalisation: one factor and one offset per channel."""

    mixes = False

    def interval(
        self, operator: BatchNormalization, inputs: Sequence[Interval], parameters: Parameters
    ) -> Interval:
        """Scale both ends."""
        factor, offset = operator.factor_and_offset(parameters)
        spread = (-1,) + (1,) * (inputs[0].lower.dim() - 3)
        return _scaled(inputs[0], factor.reshape(spread), offset.reshape(spread))

    def linear(
        self,
        operator: BatchNormalization,
        inputs: Sequence[Tensor],
        parameters: Parameters,
        *,
        magnitude: bool = False,
    ) -> Tensor:
        """Multiply by the factor of each channel, or its magnitude."""
        factor, _ = operator.factor_and_offset(parameters)
        factor = factor.reshape((-1,) + (1,) * (inputs[0].dim() - 3))
        return inputs[0] * (factor.abs() if magnitude else factor)

    def adjoint(
        self,
        operator: BatchNormalization,
        coefficients: Tensor,
        input_shapes: Sequence[Shape],
        parameters: Parameters,
    ) -> tuple[Tensor, ...]:
        """Multiply by the factor of each channel."""
        factor, _ = operator.factor_and_offset(parameters)
        return (coefficients * factor.reshape((-1,) + (1,) * (coefficients.dim() - 3)),)

    def adjoint_patches(
        self,
        operator: BatchNormalization,
        patches: Patches,
        input_shapes: Sequence[Shape],
        parameters: Parameters,
    ) -> tuple[tuple[Patches, ...], Tensor | None] | None:
        """Multiply by the factor of each channel."""
        factor, offset = operator.factor_and_offset(parameters)
        passed = patches.with_values(patches.values * factor.reshape(-1, 1, 1))
        return (passed,), patches.values.flatten(3).sum(-1) @ offset

    def constant(
        self, operator: BatchNormalization, coefficients: Tensor, parameters: Parameters
    ) -> Tensor | None:
        """Multiply the sums over each channel by its offset."""
        _, offset = operator.factor_and_offset(parameters)
        return _channel_sums(coefficients) @ offset


class ScaleRule(AffineRule[Scale]):
    """Elementwise factor and offset."""

    mixes = False

    def interval(
        self, operator: Scale, inputs: Sequence[Interval], parameters: Parameters
    ) -> Interval:
        """Scale both ends."""
        factor = _resolve(operator.factor, parameters)
        offset = _resolve(operator.offset, parameters)
        if factor is None:
            factor = torch.ones((), dtype=inputs[0].lower.dtype, device=inputs[0].lower.device)
        return _scaled(inputs[0], factor, offset)

    def linear(
        self,
        operator: Scale,
        inputs: Sequence[Tensor],
        parameters: Parameters,
        *,
        magnitude: bool = False,
    ) -> Tensor:
        """Multiply by the factor, or its magnitude."""
        factor = _resolve(operator.factor, parameters)
        if factor is None:
            return inputs[0]
        return inputs[0] * (factor.abs() if magnitude else factor)

    def adjoint(
        self,
        operator: Scale,
        coefficients: Tensor,
        input_shapes: Sequence[Shape],
        parameters: Parameters,
    ) -> tuple[Tensor, ...]:
        """Multiply by the factor."""
        factor = _resolve(operator.factor, parameters)
        return (coefficients if factor is None else coefficients * factor,)

    def constant(
        self, operator: Scale, coefficients: Tensor, parameters: Parameters
    ) -> Tensor | None:
        """Multiply by the offset, broadcast to the node's shape."""
        offset = _resolve(operator.offset, parameters)
        if offset is None:
            return None
        return coefficients.flatten(1) @ offset.expand(coefficients.shape[1:]).reshape(-1)

    def adjoint_patches(
        self,
        operator: Scale,
        patches: Patches,
        input_shapes: Sequence[Shape],
        parameters: Parameters,
    ) -> tuple[tuple[Patches, ...], Tensor | None] | None:
        """Multiply by factor and offset, both read through the windows."""
        factor = _resolve(operator.factor, parameters)
        offset = _resolve(operator.offset, parameters)
        shape = (patches.values.shape[0], *input_shapes[0])
        added = None
        if offset is not None:
            added = (patches.values * patches.read(offset.expand(shape))).flatten(2).sum(-1)
        if factor is None:
            return (patches,), added
        scaled = patches.values * patches.read(factor.expand(shape))
        return (patches.with_values(scaled),), added


class AddRule(AffineRule[Add]):
    """Weighted sum of several activations."""

    def interval(
        self,
        operator: Add,
        inputs: Sequence[Interval],
        parameters: Parameters,
    ) -> Interval:
        """Add the scaled ends."""
        terms = [
            _scaled(bounds, bounds.lower.new_tensor(coefficient), None)
            for coefficient, bounds in zip(operator.coefficients, inputs, strict=True)
        ]
        lower, upper = terms[0].lower, terms[0].upper
        for term in terms[1:]:
            lower, upper = lower + term.lower, upper + term.upper
        return Interval(lower, upper)

    def linear(
        self,
        operator: Add,
        inputs: Sequence[Tensor],
        parameters: Parameters,
        *,
        magnitude: bool = False,
    ) -> Tensor:
        """Add up with the coefficients, or their magnitudes."""
        total: Tensor | None = None
        for factor, x in zip(operator.coefficients, inputs, strict=True):
            term = (abs(factor) if magnitude else factor) * x
            total = term if total is None else total + term
        assert total is not None  # noqa: S101  a sum has at least one term
        return total

    def adjoint(
        self,
        operator: Add,
        coefficients: Tensor,
        input_shapes: Sequence[Shape],
        parameters: Parameters,
    ) -> tuple[Tensor, ...]:
        """Give every input the coefficients times its factor."""
        return tuple(
            coefficients if factor == 1.0 else coefficients * factor
            for factor in operator.coefficients
        )

    def adjoint_patches(
        self,
        operator: Add,
        patches: Patches,
        input_shapes: Sequence[Shape],
        parameters: Parameters,
    ) -> tuple[tuple[Patches, ...], Tensor | None] | None:
        """Give every input the windows times its factor."""
        scaled = (
            patches if factor == 1.0 else patches.with_values(patches.values * factor)
            for factor in operator.coefficients
        )
        return tuple(scaled), None
