"""Smooth and kinked functions of one value, applied elementwise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from models.operators.base import Operator
from models.parameters import Parameters

__all__ = [
    "Atan",
    "Cos",
    "Elu",
    "Erf",
    "Exp",
    "Gelu",
    "HardSwish",
    "Log",
    "Mish",
    "Power",
    "Silu",
    "Sin",
    "Softplus",
    "Softsign",
    "TanhGelu",
]

# ruff: noqa: ARG002  (curves have no parameters)


@dataclass(frozen=True)
class Gelu(Operator):
    """x · Φ(x), with Φ the distribution function of a standard normal variable.

    Source: Hendrycks and Gimpel 2016, *Gaussian Error Linear Units*.
    """

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Apply."""
        return functional.gelu(inputs[0])


@dataclass(frozen=True)
class TanhGelu(Operator):
    """x/2 · (1 + tanh(√(2/π) · (x + cubic · x³))), the usual approximation of `Gelu`.

    Attributes:
        cubic: 0.044715, or a rounding of it.
    """

    cubic: float = 0.044715

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Apply."""
        x = inputs[0]
        inner = math.sqrt(2 / math.pi) * (x + self.cubic * x * x * x)
        return 0.5 * x * (1 + torch.tanh(inner))


@dataclass(frozen=True)
class Silu(Operator):
    """x · sigmoid(x), also called swish."""

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Apply."""
        return inputs[0] * torch.sigmoid(inputs[0])


@dataclass(frozen=True)
class Mish(Operator):
    """x · tanh(ln(1 + eˣ))."""

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Apply."""
        x = inputs[0]
        return x * torch.tanh(torch.logaddexp(x, torch.zeros_like(x)))


@dataclass(frozen=True)
class HardSwish(Operator):
    """x · min(max(x/6 + 1/2, 0), 1): zero up to −3, x from 3 on, a parabola between."""

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Apply."""
        return inputs[0] * (inputs[0] / 6 + 0.5).clamp(0, 1)


@dataclass(frozen=True)
class Erf(Operator):
    """The Gauss error function."""

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Apply."""
        return torch.erf(inputs[0])


@dataclass(frozen=True)
class Softsign(Operator):
    """x / (1 + |x|)."""

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Apply."""
        return inputs[0] / (1 + inputs[0].abs())


@dataclass(frozen=True)
class Atan(Operator):
    """The inverse of the tangent, between −π/2 and π/2."""

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Apply."""
        return torch.atan(inputs[0])


@dataclass(frozen=True)
class Softplus(Operator):
    """ln(1 + eˣ)."""

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Apply."""
        return torch.logaddexp(inputs[0], torch.zeros_like(inputs[0]))


@dataclass(frozen=True)
class Elu(Operator):
    """x where positive, alpha · (eˣ − 1) where negative; Selu and Celu are scaled ones.

    Attributes:
        alpha: Not negative.
    """

    alpha: float = 1.0

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Apply."""
        x = inputs[0]
        return torch.where(x > 0, x, self.alpha * torch.expm1(x.clamp(max=0)))


@dataclass(frozen=True)
class Exp(Operator):
    """The exponential function."""

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Apply."""
        return torch.exp(inputs[0])


@dataclass(frozen=True)
class Log(Operator):
    """The natural logarithm."""

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Apply."""
        return torch.log(inputs[0])


@dataclass(frozen=True)
class Power(Operator):
    """x to a constant power; Sqrt is `Power(0.5)`, Reciprocal `Power(-1)`.

    Attributes:
        exponent: Finite, neither 0 nor 1. Whole numbers take any base (negative ones any but 0),
            others a base above 0 (or 0, where they are positive).
    """

    exponent: float

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Apply."""
        return inputs[0].pow(self.exponent)


@dataclass(frozen=True)
class Sin(Operator):
    """Sine."""

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Apply."""
        return torch.sin(inputs[0])


@dataclass(frozen=True)
class Cos(Operator):
    """Cosine."""

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Apply."""
        return torch.cos(inputs[0])
