"""Bilinear operators: products of two activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.operators.base import Operator
from models.parameters import Parameters

__all__ = ["MatrixProduct", "Multiply"]


@dataclass(frozen=True)
class Multiply(Operator):
    """x · y elementwise, of two activations of one shape."""

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:  # noqa: ARG002
        """Multiply."""
        return inputs[0] * inputs[1]


@dataclass(frozen=True)
class MatrixProduct(Operator):
    """X Y of two activations `(*leading, n, k)` and `(*leading, k, m)`, with equal leading axes."""

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:  # noqa: ARG002
        """Multiply the last two axes as matrices."""
        return torch.matmul(inputs[0], inputs[1])
