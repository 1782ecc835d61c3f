"""Rules of structural operators: copies, sums and constants."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from models.operators import (
    AveragePool,
    Concat,
    Constant,
    Expand,
    Pad,
    ReduceSum,
    Reshape,
    Take,
    Transpose,
)
from models.parameters import Parameters
from solvers.bounds.rules.base import Shape, SpreadingRule

__all__ = [
    "AveragePoolRule",
    "ConcatRule",
    "ConstantRule",
    "ExpandRule",
    "PadRule",
    "ReduceSumRule",
    "ReshapeRule",
    "TakeRule",
    "TransposeRule",
]

# ruff: noqa: ARG002  (structural operators have no parameters)


class ConstantRule(SpreadingRule[Constant]):
    """A value that does not depend on the input."""

    def adjoint(
        self,
        operator: Constant,
        coefficients: Tensor,
        input_shapes: Sequence[Shape],
        parameters: Parameters,
    ) -> tuple[Tensor, ...]:
        """Return nothing: there are no inputs."""
        return ()

    def constant(
        self, operator: Constant, coefficients: Tensor, parameters: Parameters
    ) -> Tensor | None:
        """Multiply by the value."""
        return coefficients.flatten(1) @ operator.value.resolve(parameters).reshape(-1)


class ReshapeRule(SpreadingRule[Reshape]):
    """Same elements, other shape."""

    def adjoint(
        self,
        operator: Reshape,
        coefficients: Tensor,
        input_shapes: Sequence[Shape],
        parameters: Parameters,
    ) -> tuple[Tensor, ...]:
        """Reshape back."""
        return (coefficients.reshape(coefficients.shape[0], *input_shapes[0]),)


class TransposeRule(SpreadingRule[Transpose]):
    """Reordered axes."""

    def adjoint(
        self,
        operator: Transpose,
        coefficients: Tensor,
        input_shapes: Sequence[Shape],
        parameters: Parameters,
    ) -> tuple[Tensor, ...]:
        """Permute back."""
        axes = [axis + 1 for axis in operator.permutation]
        inverse = [0] * (len(axes) + 1)
        for position, axis in enumerate(axes, start=1):
            inverse[axis] = position
        return (coefficients.permute(inverse),)


class TakeRule(SpreadingRule[Take]):
    """Selected entries; a value may be taken twice, so it counts as mixing."""

    mixes = True

    def adjoint(
        self,
        operator: Take,
        coefficients: Tensor,
        input_shapes: Sequence[Shape],
        parameters: Parameters,
    ) -> tuple[Tensor, ...]:
        """Add the coefficients up where they were taken from."""
        index = torch.tensor(operator.indices, dtype=torch.long, device=coefficients.device)
        zeros = coefficients.new_zeros(coefficients.shape[0], *input_shapes[0])
        return (zeros.index_add(operator.axis + 1, index, coefficients),)


class PadRule(SpreadingRule[Pad]):
    """Constant padding."""

    def adjoint(
        self,
        operator: Pad,
        coefficients: Tensor,
        input_shapes: Sequence[Shape],
        parameters: Parameters,
    ) -> tuple[Tensor, ...]:
        """Cut the padding off."""
        return (_cropped(operator, coefficients, input_shapes[0]),)

    def constant(
        self, operator: Pad, coefficients: Tensor, parameters: Parameters
    ) -> Tensor | None:
        """Multiply what falls on the padding by its value."""
        if operator.value == 0.0:
            return None
        shape = tuple(
            size - before - after
            for size, (before, after) in zip(coefficients.shape[1:], operator.padding, strict=True)
        )
        inner = _cropped(operator, coefficients, shape).flatten(1).sum(-1)
        return operator.value * (coefficients.flatten(1).sum(-1) - inner)


def _cropped(operator: Pad, coefficients: Tensor, shape: Shape) -> Tensor:
    for axis, ((before, _), size) in enumerate(zip(operator.padding, shape, strict=True)):
        coefficients = coefficients.narrow(axis + 1, before, size)
    return coefficients


class ConcatRule(SpreadingRule[Concat]):
    """Joined inputs; one input may appear twice, so it counts as mixing."""

    mixes = True

    def adjoint(
        self,
        operator: Concat,
        coefficients: Tensor,
        input_shapes: Sequence[Shape],
        parameters: Parameters,
    ) -> tuple[Tensor, ...]:
        """Cut apart."""
        sizes = [shape[operator.axis] for shape in input_shapes]
        return torch.split(coefficients, sizes, dim=operator.axis + 1)


class ExpandRule(SpreadingRule[Expand]):
    """Broadcast copies."""

    mixes = True

    def adjoint(
        self,
        operator: Expand,
        coefficients: Tensor,
        input_shapes: Sequence[Shape],
        parameters: Parameters,
    ) -> tuple[Tensor, ...]:
        """Add the copies up."""
        missing = len(operator.shape) - len(input_shapes[0])
        padded = (1,) * missing + input_shapes[0]
        axes = [
            axis + 1
            for axis, (size, wanted) in enumerate(zip(padded, operator.shape, strict=True))
            if size == 1 and wanted != 1
        ]
        summed = coefficients.sum(dim=axes, keepdim=True) if axes else coefficients
        return (summed.reshape(coefficients.shape[0], *input_shapes[0]),)


class ReduceSumRule(SpreadingRule[ReduceSum]):
    """Sums over axes."""

    mixes = True

    def adjoint(
        self,
        operator: ReduceSum,
        coefficients: Tensor,
        input_shapes: Sequence[Shape],
        parameters: Parameters,
    ) -> tuple[Tensor, ...]:
        """Copy along the summed axes."""
        kept = [1 if axis in operator.axes else size for axis, size in enumerate(input_shapes[0])]
        rows = coefficients.shape[0]
        return (coefficients.reshape(rows, *kept).expand(rows, *input_shapes[0]),)


class AveragePoolRule(SpreadingRule[AveragePool]):
    """Means over windows: a grouped convolution with equal weights."""

    mixes = True

    def adjoint(
        self,
        operator: AveragePool,
        coefficients: Tensor,
        input_shapes: Sequence[Shape],
        parameters: Parameters,
    ) -> tuple[Tensor, ...]:
        """Spread every mean over its window."""
        probe = coefficients.new_zeros(coefficients.shape[0], *input_shapes[0])
        pull = torch.func.vjp(lambda x: operator.forward([x], parameters), probe)[1]
        return tuple(pull(coefficients))
