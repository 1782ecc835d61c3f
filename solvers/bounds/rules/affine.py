"""Rules of dense layers, elementwise scaling and sums."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from models.operators import (
    Add,
    BatchNormalization,
    Linear,
    Scale,
)
from models.parameters import Parameters
from solvers.bounds.interval import Interval
from solvers.bounds.patches import Patches
from solvers.bounds.rules.affine_parts import around, channel_sums, resolve
from solvers.bounds.rules.base import AffineRule, Shape

__all__ = ["AddRule", "BatchNormalizationRule", "LinearRule", "ScaleRule"]

# ruff: noqa: ARG002  (not every adjoint needs shapes or parameters)

_MANY_ROWS = 32
"""Below so many rows per example a product costs less than looking for zeros."""
_FEW = 0.7
"""Share of coefficients that may be left for leaving out the others to pay."""
_SMALL = 1 << 13
"""Below so many weights a product costs less than picking its columns."""


class LinearRule(AffineRule[Linear]):
    """y = W x + b over the last axis."""

    def interval(
        self, operator: Linear, inputs: Sequence[Interval], parameters: Parameters
    ) -> Interval:
        """Bound by W·centre ± |W|·radius."""
        weight = operator.weight.resolve(parameters)
        middle, half = inputs[0].careful_halves()
        center = functional.linear(middle, weight, resolve(operator.bias, parameters))
        return around(center, functional.linear(half, weight.abs()))

    def linear(
        self,
        operator: Linear,
        inputs: Sequence[Tensor],
        parameters: Parameters,
        *,
        magnitude: bool = False,
    ) -> Tensor:
        """Multiply by W or |W|."""
        weight = operator.weight.resolve(parameters)
        return functional.linear(inputs[0], weight.abs() if magnitude else weight)

    def adjoint(
        self,
        operator: Linear,
        coefficients: Tensor,
        input_shapes: Sequence[Shape],
        parameters: Parameters,
    ) -> tuple[Tensor, ...]:
        """Multiply by W from the right."""
        return (coefficients @ operator.weight.resolve(parameters),)

    def adjoint_of_few(
        self, operator: Linear, coefficients: Tensor, parameters: Parameters
    ) -> Tensor | None:
        """Multiply example by example, leaving out what is zero in all of an example's rows.

        Inactive ReLUs stop the coefficients behind them, often four out of five; a product of what
        is left costs that much less.
        """
        flat = coefficients.flatten(2)
        batch, rows, outputs = flat.shape
        # Behind a gradient, picking columns costs more than it saves.
        if rows < _MANY_ROWS or batch > rows or flat.requires_grad:
            return None
        if outputs != coefficients.shape[-1]:
            return None
        weight = operator.weight.resolve(parameters)
        if weight.numel() < _SMALL:
            return None
        alive = (flat != 0).any(dim=1)
        if int(alive.sum()) > _FEW * alive.numel():
            return None
        places = [mask.nonzero().squeeze(1) for mask in alive]
        parts = [
            example.index_select(1, place) @ weight.index_select(0, place)
            for example, place in zip(flat, places, strict=True)
        ]
        return torch.stack(parts).reshape(*coefficients.shape[:-1], -1)

    def constant(
        self, operator: Linear, coefficients: Tensor, parameters: Parameters
    ) -> Tensor | None:
        """Multiply by b, summed over leading axes."""
        bias = resolve(operator.bias, parameters)
        if bias is None:
            return None
        # A node of one axis has no leading axes to sum over.
        return (coefficients @ bias).reshape(coefficients.shape[0], -1).sum(-1)

    def rows(
        self, operator: Linear, indices: Tensor, parameters: Parameters
    ) -> tuple[Tensor, Tensor | None] | None:
        """Read the rows of W, which saves a product with a unit matrix."""
        bias = resolve(operator.bias, parameters)
        weight = operator.weight.resolve(parameters)
        return weight[indices], None if bias is None else bias[indices]


def _scaled(bounds: Interval, factor: Tensor, offset: Tensor | None) -> Interval:
    """Scale an interval elementwise; a negative factor swaps the ends."""
    one, other = bounds.lower * factor, bounds.upper * factor
    lower, upper = torch.minimum(one, other), torch.maximum(one, other)
    if lower.dtype == torch.float64:
        # Each end by its own size: an exact zero must not turn negative beside a huge other end.
        unit = 4 * torch.finfo(torch.float64).eps
        size = torch.zeros_like(lower) if offset is None else offset.abs()
        slack_below, slack_above = unit * (lower.abs() + size), unit * (upper.abs() + size)
        lower, upper = lower - slack_below, upper + slack_above
    if offset is not None:
        lower, upper = lower + offset, upper + offset
    return Interval(lower, upper)


class BatchNormalizationRule(AffineRule[BatchNormalization]):
    """Inference-mode batch normalisation: one factor and one offset per channel."""

    mixes = False

    def interval(
        self, operator: BatchNormalization, inputs: Sequence[Interval], parameters: Parameters
    ) -> Interval:
        """Scale both ends."""
        factor, offset = operator.factor_and_offset(parameters)
        spread = (-1,) + (1,) * (inputs[0].lower.dim() - 3)
        return _scaled(inputs[0], factor.reshape(spread), offset.reshape(spread))

    def linear(
        self,
        operator: BatchNormalization,
        inputs: Sequence[Tensor],
        parameters: Parameters,
        *,
        magnitude: bool = False,
    ) -> Tensor:
        """Multiply by the factor of each channel, or its magnitude."""
        factor, _ = operator.factor_and_offset(parameters)
        factor = factor.reshape((-1,) + (1,) * (inputs[0].dim() - 3))
        return inputs[0] * (factor.abs() if magnitude else factor)

    def adjoint(
        self,
        operator: BatchNormalization,
        coefficients: Tensor,
        input_shapes: Sequence[Shape],
        parameters: Parameters,
    ) -> tuple[Tensor, ...]:
        """Multiply by the factor of each channel."""
        factor, _ = operator.factor_and_offset(parameters)
        return (coefficients * factor.reshape((-1,) + (1,) * (coefficients.dim() - 3)),)

    def adjoint_patches(
        self,
        operator: BatchNormalization,
        patches: Patches,
        input_shapes: Sequence[Shape],
        parameters: Parameters,
    ) -> tuple[tuple[Patches, ...], Tensor | None] | None:
        """Multiply by the factor of each channel."""
        factor, offset = operator.factor_and_offset(parameters)
        passed = patches.with_values(patches.values * factor.reshape(-1, 1, 1))
        return (passed,), patches.values.flatten(3).sum(-1) @ offset

    def constant(
        self, operator: BatchNormalization, coefficients: Tensor, parameters: Parameters
    ) -> Tensor | None:
        """Multiply the sums over each channel by its offset."""
        _, offset = operator.factor_and_offset(parameters)
        return channel_sums(coefficients) @ offset


class ScaleRule(AffineRule[Scale]):
    """Elementwise factor and offset."""

    mixes = False

    def interval(
        self, operator: Scale, inputs: Sequence[Interval], parameters: Parameters
    ) -> Interval:
        """Scale both ends."""
        factor = resolve(operator.factor, parameters)
        offset = resolve(operator.offset, parameters)
        if factor is None:
            factor = torch.ones((), dtype=inputs[0].lower.dtype, device=inputs[0].lower.device)
        return _scaled(inputs[0], factor, offset)

    def linear(
        self,
        operator: Scale,
        inputs: Sequence[Tensor],
        parameters: Parameters,
        *,
        magnitude: bool = False,
    ) -> Tensor:
        """Multiply by the factor, or its magnitude."""
        factor = resolve(operator.factor, parameters)
        if factor is None:
            return inputs[0]
        return inputs[0] * (factor.abs() if magnitude else factor)

    def adjoint(
        self,
        operator: Scale,
        coefficients: Tensor,
        input_shapes: Sequence[Shape],
        parameters: Parameters,
    ) -> tuple[Tensor, ...]:
        """Multiply by the factor."""
        factor = resolve(operator.factor, parameters)
        return (coefficients if factor is None else coefficients * factor,)

    def constant(
        self, operator: Scale, coefficients: Tensor, parameters: Parameters
    ) -> Tensor | None:
        """Multiply by the offset, broadcast to the node's shape."""
        offset = resolve(operator.offset, parameters)
        if offset is None:
            return None
        return coefficients.flatten(1) @ offset.expand(coefficients.shape[1:]).reshape(-1)

    def adjoint_patches(
        self,
        operator: Scale,
        patches: Patches,
        input_shapes: Sequence[Shape],
        parameters: Parameters,
    ) -> tuple[tuple[Patches, ...], Tensor | None] | None:
        """Multiply by factor and offset, both read through the windows."""
        factor = resolve(operator.factor, parameters)
        offset = resolve(operator.offset, parameters)
        shape = (patches.values.shape[0], *input_shapes[0])
        added = None
        if offset is not None:
            added = (patches.values * patches.read(offset.expand(shape))).flatten(2).sum(-1)
        if factor is None:
            return (patches,), added
        scaled = patches.values * patches.read(factor.expand(shape))
        return (patches.with_values(scaled),), added


class AddRule(AffineRule[Add]):
    """Weighted sum of several activations."""

    def interval(
        self,
        operator: Add,
        inputs: Sequence[Interval],
        parameters: Parameters,
    ) -> Interval:
        """Add the scaled ends."""
        terms = [
            _scaled(bounds, bounds.lower.new_tensor(coefficient), None)
            for coefficient, bounds in zip(operator.coefficients, inputs, strict=True)
        ]
        lower, upper = terms[0].lower, terms[0].upper
        for term in terms[1:]:
            lower, upper = lower + term.lower, upper + term.upper
        return Interval(lower, upper)

    def linear(
        self,
        operator: Add,
        inputs: Sequence[Tensor],
        parameters: Parameters,
        *,
        magnitude: bool = False,
    ) -> Tensor:
        """Add up with the coefficients, or their magnitudes."""
        total: Tensor | None = None
        for factor, x in zip(operator.coefficients, inputs, strict=True):
            term = (abs(factor) if magnitude else factor) * x
            total = term if total is None else total + term
        assert total is not None  # noqa: S101  a sum has at least one term
        return total

    def adjoint(
        self,
        operator: Add,
        coefficients: Tensor,
        input_shapes: Sequence[Shape],
        parameters: Parameters,
    ) -> tuple[Tensor, ...]:
        """Give every input the coefficients times its factor."""
        return tuple(
            coefficients if factor == 1.0 else coefficients * factor
            for factor in operator.coefficients
        )

    def adjoint_patches(
        self,
        operator: Add,
        patches: Patches,
        input_shapes: Sequence[Shape],
        parameters: Parameters,
    ) -> tuple[tuple[Patches, ...], Tensor | None] | None:
        """Give every input the windows times its factor."""
        scaled = (
            patches if factor == 1.0 else patches.with_values(patches.values * factor)
            for factor in operator.coefficients
        )
        return tuple(scaled), None
