"""Softmax as an operator between others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.operators.base import Operator
from models.parameters import Parameters

__all__ = ["Softmax"]


@dataclass(frozen=True)
class Softmax(Operator):
    """e^xᵢ / Σⱼ e^xⱼ along the last axis; an import moves another axis there and back."""

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:  # noqa: ARG002
        """Normalise."""
        return torch.softmax(inputs[0], dim=-1)
