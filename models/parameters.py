"""Parameters: tensors held beside the graph, and references from operators to them.

An operator does not own its weights. It holds a `ParameterRef`, the name of a tensor in the
network's parameter mapping together with the cheap, invertible views (transpose, reshape,
constant factor) that ONNX export put between the stored tensor and its use. Bounds are therefore
differentiable in the tensors that the ONNX file stores, and a fine-tuned network is written back
by replacing those tensors alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

__all__ = [
    "MultiplyBy",
    "Narrow",
    "ParameterRef",
    "ParameterStep",
    "Parameters",
    "Permute",
    "Reciprocal",
    "ReshapeTo",
]

Parameters = Mapping[str, Tensor]


class ParameterStep(ABC):
    """One step from a stored tensor to the tensor that an operator uses."""

    @abstractmethod
    def apply(self, tensor: Tensor) -> Tensor:
        """Return the tensor after this step, differentiably."""


@dataclass(frozen=True)
class Permute(ParameterStep):
    """Reorder the axes, as ONNX Transpose does."""

    axes: tuple[int, ...]

    def apply(self, tensor: Tensor) -> Tensor:
        """Return `tensor` with its axes reordered."""
        return tensor.permute(self.axes)


@dataclass(frozen=True)
class ReshapeTo(ParameterStep):
    """Give the tensor another shape with the same elements in row-major order."""

    shape: tuple[int, ...]

    def apply(self, tensor: Tensor) -> Tensor:
        """Return `tensor` reshaped."""
        return tensor.reshape(self.shape)


@dataclass(frozen=True)
class Narrow(ParameterStep):
    """Take consecutive entries along an axis, such as one gate of a recurrent cell."""

    axis: int
    start: int
    length: int

    def apply(self, tensor: Tensor) -> Tensor:
        """Return that part of `tensor`."""
        return tensor.narrow(self.axis, self.start, self.length)


@dataclass(frozen=True)
class MultiplyBy(ParameterStep):
    """Multiply by a number, such as Gemm's `alpha`, or −1 for a subtraction."""

    factor: float

    def apply(self, tensor: Tensor) -> Tensor:
        """Return `tensor` times the factor."""
        return tensor * self.factor


@dataclass(frozen=True)
class Reciprocal(ParameterStep):
    """Take 1/x elementwise, for a division by a constant."""

    def apply(self, tensor: Tensor) -> Tensor:
        """Return the elementwise reciprocal."""
        return tensor.reciprocal()


@dataclass(frozen=True)
class ParameterRef:
    """A named tensor of the network's parameters, seen through some steps.

    Attributes:
        name: Key into the parameter mapping.
        steps: Applied in order to the stored tensor.
    """

    name: str
    steps: tuple[ParameterStep, ...] = ()

    def resolve(self, parameters: Parameters) -> Tensor:
        """Return the tensor that the operator uses, differentiable in the stored one."""
        tensor = parameters[self.name]
        for step in self.steps:
            tensor = step.apply(tensor)
        return tensor

    def then(self, step: ParameterStep) -> ParameterRef:
        """Return a reference with one more step."""
        return replace(self, steps=(*self.steps, step))
