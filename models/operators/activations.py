"""Elementwise nonlinearities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.operators.base import Operator
from models.parameters import ParameterRef, Parameters

__all__ = ["Clip", "LeakyRelu", "PRelu", "Relu", "Sigmoid", "Tanh"]

# ruff: noqa: ARG002  (most activations have no parameters)


@dataclass(frozen=True)
class Relu(Operator):
    """max(0, x)."""

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Apply."""
        return inputs[0].clamp(min=0)


@dataclass(frozen=True)
class LeakyRelu(Operator):
    """x where positive, `slope` · x where negative.

    Attributes:
        slope: Any finite number; ONNX calls it alpha.
    """

    slope: float

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Apply."""
        return torch.where(inputs[0] >= 0, inputs[0], self.slope * inputs[0])


@dataclass(frozen=True)
class PRelu(Operator):
    """x where positive, slope · x where negative, with a stored slope.

    Attributes:
        slope: Broadcastable to the node's shape without the batch axis.
    """

    slope: ParameterRef

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Apply."""
        slope = self.slope.resolve(parameters)
        return torch.where(inputs[0] >= 0, inputs[0], slope * inputs[0])

    def references(self) -> tuple[ParameterRef, ...]:
        """Return the slope."""
        return (self.slope,)


@dataclass(frozen=True)
class Clip(Operator):
    """min(max(x, lower), upper); Relu6 is Clip(0, 6).

    Attributes:
        lower, upper: Finite, or infinite where there is no limit.
    """

    lower: float
    upper: float

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Apply."""
        return inputs[0].clamp(self.lower, self.upper)


@dataclass(frozen=True)
class Sigmoid(Operator):
    """1 / (1 + e^−x)."""

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Apply."""
        return torch.sigmoid(inputs[0])


@dataclass(frozen=True)
class Tanh(Operator):
    """Hyperbolic tangent."""

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Apply."""
        return torch.tanh(inputs[0])
