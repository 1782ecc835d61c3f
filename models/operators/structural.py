"""Structural operators: they move, copy, add up or pad values, and have no weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from models.operators.base import Operator
from models.parameters import ParameterRef, Parameters

__all__ = [
    "AveragePool",
    "Concat",
    "Constant",
    "Expand",
    "Input",
    "Pad",
    "ReduceSum",
    "Reshape",
    "Take",
    "Transpose",
]

# ruff: noqa: ARG002  (operators without weights ignore the parameters)


@dataclass(frozen=True)
class Input(Operator):
    """The network's input; the first node of every graph, with no inputs of its own."""

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Return the input itself, which the caller passes as the single entry."""
        return inputs[0]


@dataclass(frozen=True)
class Constant(Operator):
    """A constant that meets activations, such as a class token; a node with no inputs.

    Attributes:
        value: The tensor, without a batch axis. `forward` returns it with a batch axis of 1.
    """

    value: ParameterRef

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Return the value with a batch axis of 1."""
        return self.value.resolve(parameters).unsqueeze(0)

    def references(self) -> tuple[ParameterRef, ...]:
        """Return the value."""
        return (self.value,)


@dataclass(frozen=True)
class Reshape(Operator):
    """Same elements in row-major order; from Reshape, Flatten, Squeeze and Unsqueeze.

    Attributes:
        shape: Output shape without the batch axis, no wildcards.
    """

    shape: tuple[int, ...]

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Reshape."""
        return inputs[0].reshape(inputs[0].shape[0], *self.shape)


@dataclass(frozen=True)
class Transpose(Operator):
    """Reorder axes.

    Attributes:
        permutation: Of the axes without the batch axis.
    """

    permutation: tuple[int, ...]

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Permute the axes behind the batch axis."""
        return inputs[0].permute(0, *(axis + 1 for axis in self.permutation))


@dataclass(frozen=True)
class Take(Operator):
    """Select entries along one axis; from Slice, Split and Gather with constant indices.

    Attributes:
        axis: Non-negative, without the batch axis.
        indices: Non-negative, in output order; repetitions are allowed.
    """

    axis: int
    indices: tuple[int, ...]

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Select."""
        index = torch.tensor(self.indices, dtype=torch.long, device=inputs[0].device)
        return inputs[0].index_select(self.axis + 1, index)


@dataclass(frozen=True)
class Pad(Operator):
    """Pad with one constant.

    Attributes:
        padding: `(before, after)` for every axis without the batch axis; never negative.
        value: What is put there.
    """

    padding: tuple[tuple[int, int], ...]
    value: float = 0.0

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Pad."""
        backwards = [side for pair in reversed(self.padding) for side in pair]
        return functional.pad(inputs[0], backwards, value=self.value)


@dataclass(frozen=True)
class Concat(Operator):
    """Join along an axis.

    Attributes:
        axis: Non-negative, without the batch axis.
    """

    axis: int

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Concatenate, repeating constants (batch axis of 1) over the batch."""
        batch = max(x.shape[0] for x in inputs)
        return torch.cat([x.expand(batch, *x.shape[1:]) for x in inputs], dim=self.axis + 1)


@dataclass(frozen=True)
class Expand(Operator):
    """Broadcast to a larger shape by numpy's rules.

    Attributes:
        shape: Output shape without the batch axis.
    """

    shape: tuple[int, ...]

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Broadcast; missing leading axes are inserted behind the batch axis."""
        x = inputs[0]
        missing = len(self.shape) - (x.dim() - 1)
        x = x.reshape(x.shape[0], *(1,) * missing, *x.shape[1:])
        return x.expand(x.shape[0], *self.shape)


@dataclass(frozen=True)
class ReduceSum(Operator):
    """Sum over axes; ReduceMean is this followed by a `Scale`.

    Attributes:
        axes: Non-negative, sorted, without the batch axis.
        keepdims: Whether summed axes stay with size 1.
    """

    axes: tuple[int, ...]
    keepdims: bool

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Sum."""
        if not self.axes:
            return inputs[0]
        return inputs[0].sum(dim=[axis + 1 for axis in self.axes], keepdim=self.keepdims)


@dataclass(frozen=True)
class AveragePool(Operator):
    """Mean over windows of a tensor `(n, channels, height, width)`, zero padding counted.

    An import whose padding is not counted, or asymmetric, or whose windows hang over the edge,
    expresses that with `Pad` in front and `Scale` behind.

    Attributes:
        kernel, stride, padding: One number per spatial axis (one to three of them).
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Pool."""
        x = inputs[0]
        pool = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}
        y = pool[len(self.kernel)](x.flatten(0, 1), self.kernel, self.stride, self.padding)
        return y.reshape(*x.shape[:2], *y.shape[1:])
