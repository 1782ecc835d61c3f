"""Maximum over windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from models.operators.base import Operator
from models.parameters import Parameters

__all__ = ["MaxPool"]


@dataclass(frozen=True)
class MaxPool(Operator):
    """Maximum over windows of a tensor `(n, channels, *spatial)`, padding never chosen.

    Attributes:
        kernel, stride, dilation: One number per spatial axis.
        padding: `(before, after)` per spatial axis, already including what ONNX `ceil_mode` and
            `auto_pad` add.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:  # noqa: ARG002
        """Pool."""
        return self.windows(inputs[0], float("-inf")).amax(dim=-1)

    def windows(self, x: Tensor, fill: float) -> Tensor:
        """Lay out every window.

        Args:
            x: Shape `(batch, n, channels, *spatial)`.
            fill: Value of the padding.

        Returns:
            Shape `(batch, n, channels, *output_spatial, window)`.
        """
        sides = [side for pair in reversed(self.padding) for side in pair]
        padded = functional.pad(x, sides, value=fill) if any(sides) else x
        for position, (kernel, stride, dilation) in enumerate(
            zip(self.kernel, self.stride, self.dilation, strict=True)
        ):
            axis = 3 + position
            reach = dilation * (kernel - 1) + 1
            padded = padded.unfold(axis, reach, stride)
            if dilation > 1:
                picked = torch.arange(0, reach, dilation, device=x.device)
                padded = padded.index_select(-1, picked)
        return padded.flatten(-len(self.kernel))
