"""Functions of one value that jump, applied elementwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.operators.base import Operator
from models.parameters import Parameters

__all__ = ["Ceil", "Floor", "Positive", "Round", "Sign"]

# ruff: noqa: ARG002  (steps have no parameters)


@dataclass(frozen=True)
class Sign(Operator):
    """−1, 0 or 1."""

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Apply."""
        return torch.sign(inputs[0])


@dataclass(frozen=True)
class Floor(Operator):
    """The largest whole number that is not above x."""

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Apply."""
        return torch.floor(inputs[0])


@dataclass(frozen=True)
class Ceil(Operator):
    """The smallest whole number that is not below x."""

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Apply."""
        return torch.ceil(inputs[0])


@dataclass(frozen=True)
class Round(Operator):
    """The nearest whole number; of two, the even one."""

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Apply."""
        return torch.round(inputs[0])


@dataclass(frozen=True)
class Positive(Operator):
    """1 where x > 0, else 0; what comparisons become.

    Attributes:
        inclusive: Whether 0 counts as positive.
    """

    inclusive: bool = False

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Apply."""
        x = inputs[0]
        return (x >= 0 if self.inclusive else x > 0).to(x.dtype)
