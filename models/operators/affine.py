"""Affine operators: those with weights, and elementwise scaling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional

from models.operators.base import Operator
from models.parameters import ParameterRef, Parameters

__all__ = ["Add", "BatchNormalization", "Convolution", "ConvolutionTranspose", "Linear", "Scale"]

_CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {
    1: functional.conv1d,
    2: functional.conv2d,
    3: functional.conv3d,
}
_TRANSPOSED: dict[int, Callable[..., Tensor]] = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}


def _present(*references: ParameterRef | None) -> tuple[ParameterRef, ...]:
    return tuple(reference for reference in references if reference is not None)


@dataclass(frozen=True)
class Linear(Operator):
    """y = W x + b over the last axis; from Gemm and MatMul.

    Attributes:
        weight: Shape `(outputs, inputs)`.
        bias: Shape `(outputs,)`, or None.
    """

    weight: ParameterRef
    bias: ParameterRef | None = None

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Apply the map to the last axis."""
        bias = None if self.bias is None else self.bias.resolve(parameters)
        return functional.linear(inputs[0], self.weight.resolve(parameters), bias)

    def references(self) -> tuple[ParameterRef, ...]:
        """Return weight and bias."""
        return _present(self.weight, self.bias)


@dataclass(frozen=True)
class Convolution(Operator):
    """Cross-correlation in one to three spatial dimensions; ONNX Conv with symmetric padding.

    Attributes:
        weight: Shape `(out_channels, in_channels / groups, *kernel)`.
        bias: Shape `(out_channels,)`, or None.
        stride, padding, dilation: One number per spatial axis; `padding` on both sides.
        groups: Number of groups.

    The input's shape is `(n, in_channels, *spatial)` behind the batch axis.
    """

    weight: ParameterRef
    bias: ParameterRef | None
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Convolve."""
        bias = None if self.bias is None else self.bias.resolve(parameters)
        return self.convolve(inputs[0], self.weight.resolve(parameters), bias)

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Convolve `x`, shape `(batch, n, channels, *spatial)`, with an explicit kernel."""
        convolution = _CONVOLUTIONS[len(self.stride)]
        flat = x.flatten(0, 1)
        y = convolution(flat, weight, bias, self.stride, self.padding, self.dilation, self.groups)
        return y.reshape(*x.shape[:2], *y.shape[1:])

    def references(self) -> tuple[ParameterRef, ...]:
        """Return weight and bias."""
        return _present(self.weight, self.bias)


@dataclass(frozen=True)
class ConvolutionTranspose(Operator):
    """Transposed convolution; ONNX ConvTranspose with symmetric padding.

    Attributes:
        weight: Shape `(in_channels, out_channels / groups, *kernel)`.
        bias: Shape `(out_channels,)`, or None.
        stride, padding, output_padding, dilation: One number per spatial axis.
        groups: Number of groups.
    """

    weight: ParameterRef
    bias: ParameterRef | None
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    output_padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Convolve transposed."""
        bias = None if self.bias is None else self.bias.resolve(parameters)
        return self.convolve(inputs[0], self.weight.resolve(parameters), bias)

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Convolve `x`, shape `(batch, n, channels, *spatial)`, with an explicit kernel."""
        transposed = _TRANSPOSED[len(self.stride)]
        y = transposed(
            x.flatten(0, 1),
            weight,
            bias,
            self.stride,
            self.padding,
            self.output_padding,
            self.groups,
            self.dilation,
        )
        return y.reshape(*x.shape[:2], *y.shape[1:])

    def references(self) -> tuple[ParameterRef, ...]:
        """Return weight and bias."""
        return _present(self.weight, self.bias)


@dataclass(frozen=True)
class BatchNormalization(Operator):
    """Inference-mode batch normalisation over channel axis 1 of the ONNX shape.

    Attributes:
        scale, bias, mean, variance: Shape `(channels,)` each.
        epsilon: Added to the variance.
    """

    scale: ParameterRef
    bias: ParameterRef
    mean: ParameterRef
    variance: ParameterRef
    epsilon: float

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Normalise."""
        factor, offset = self.factor_and_offset(parameters)
        spread = (-1,) + (1,) * (inputs[0].dim() - 3)
        return inputs[0] * factor.reshape(spread) + offset.reshape(spread)

    def factor_and_offset(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Return the affine map per channel, two tensors of shape `(channels,)`."""
        variance = self.variance.resolve(parameters)
        factor = self.scale.resolve(parameters) / torch.sqrt(variance + self.epsilon)
        offset = self.bias.resolve(parameters) - self.mean.resolve(parameters) * factor
        return factor, offset

    def references(self) -> tuple[ParameterRef, ...]:
        """Return the four parameters."""
        return (self.scale, self.bias, self.mean, self.variance)


@dataclass(frozen=True)
class Scale(Operator):
    """y = factor · x + offset elementwise, by constants that broadcast to the input's shape.

    The output has the input's shape; an import that broadcasts the activation itself puts an
    `Expand` in front.

    Attributes:
        factor, offset: Broadcastable to the node's shape (without the batch axis), or None.
    """

    factor: ParameterRef | None = None
    offset: ParameterRef | None = None

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Scale and shift."""
        y = inputs[0]
        if self.factor is not None:
            y = y * self.factor.resolve(parameters)
        if self.offset is not None:
            y = y + self.offset.resolve(parameters)
        return y

    def references(self) -> tuple[ParameterRef, ...]:
        """Return factor and offset where present."""
        return _present(self.factor, self.offset)


@dataclass(frozen=True)
class Add(Operator):
    """Weighted sum of activations of one shape: Σ coefficientᵢ · xᵢ; from Add, Sub and Sum.

    Attributes:
        coefficients: One number per input of the node.
    """

    coefficients: tuple[float, ...]

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:  # noqa: ARG002
        """Add up."""
        terms = zip(self.coefficients, inputs, strict=True)
        # Term by term, so that constants (batch axis of 1) broadcast over the batch.
        return reduce(torch.add, [c * x if c != 1.0 else x for c, x in terms])
