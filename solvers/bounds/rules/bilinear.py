"""Rules of products of two activations: planes around a saddle.

With centres c and radii r of both factors, and any θ in [−1, 1],

    x·y ≥ (c_y + θ r_y) x + (c_x + θ r_x) y − c_x c_y − θ (c_x r_y + r_x c_y) − r_x r_y
    x·y ≤ (c_y − θ r_y) x + (c_x + θ r_x) y − c_x c_y + θ (c_x r_y − r_x c_y) + r_x r_y

θ = ±1 gives the two planes of McCormick 1976 on either side, anything between a mixture. All
mixtures are equal at the centre; θ = 0, whose planes are parallel to the tangent there, is taken
where nothing is optimised, because both sides then share their slopes. A sum of products takes one
θ for all of its terms, so that matrix products stay matrix products.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.operators import MatrixProduct, Multiply
from models.parameters import Parameters
from solvers.bounds.interval import Interval
from solvers.bounds.relaxation import Relaxation
from solvers.bounds.rules.base import NonlinearRule, OperatorT, Slopes

__all__ = ["BilinearRelaxation", "MatrixProductRule", "MultiplyRule"]

# ruff: noqa: ARG002  (products have no parameters)

_CHUNK = 1 << 22
"""Products of matrix entries that interval arithmetic holds at once."""
_ROUNDING_UNITS = 16.0
"""Planes give up this many units of rounding of the largest product: their terms cancel it."""


@dataclass(frozen=True)
class BilinearRelaxation(Relaxation):
    """Planes around B(x, y), for a product that is linear in x and in y.

    Attributes:
        product: Computes B and its adjoints.
        center_x, radius_x: Of the first factor, shape `(batch, 1, *shape)`.
        center_y, radius_y: Of the second.
        below, above: θ of the planes on either side, shape `(batch, rows or 1, *output_shape)`;
            None for 0.
    """

    product: _Product
    center_x: Tensor
    radius_x: Tensor
    center_y: Tensor
    radius_y: Tensor
    below: Tensor | None = None
    above: Tensor | None = None

    def backward(self, coefficients: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Take the plane that each coefficient's sign asks for."""
        b = self.product
        middle = b.of(self.center_x, self.center_y)
        slack = b.of(self.radius_x, self.radius_y) + self._rounding()
        constant = -_dot(coefficients, middle) - _dot(coefficients.abs(), slack)
        to_x = b.pull_first(coefficients, self.center_y)
        to_y = b.pull_second(coefficients, self.center_x)
        if self.below is None or self.above is None:
            return (to_x, to_y), constant
        down = coefficients.clamp(min=0) * self.below
        up = coefficients.clamp(max=0) * self.above
        to_x = to_x + b.pull_first(down - up, self.radius_y)
        to_y = to_y + b.pull_second(down + up, self.radius_x)
        tilt_x, tilt_y = b.of(self.center_x, self.radius_y), b.of(self.radius_x, self.center_y)
        constant = constant - _dot(down - up, tilt_x) - _dot(down + up, tilt_y)
        return (to_x, to_y), constant

    def _rounding(self) -> Tensor:
        """Return what the planes may be off by, shape `(batch, 1, *output_shape)`."""
        unit = _ROUNDING_UNITS * torch.finfo(self.center_x.dtype).eps
        largest_x = self.center_x.abs() + self.radius_x
        return unit * self.product.of(largest_x, self.center_y.abs() + self.radius_y)


def _dot(coefficients: Tensor, field: Tensor) -> Tensor:
    """Return the sums of products, shape `(batch, rows)`; the field has one row."""
    return torch.matmul(coefficients.flatten(2), field.flatten(1).unsqueeze(-1)).squeeze(-1)


class _Product(ABC):
    """A bilinear map and its adjoints, on tensors `(batch, rows or 1, *shape)`."""

    @abstractmethod
    def of(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the product."""

    @abstractmethod
    def pull_first(self, coefficients: Tensor, y: Tensor) -> Tensor:
        """Return the coefficients of x in ⟨coefficients, B(x, y)⟩."""

    @abstractmethod
    def pull_second(self, coefficients: Tensor, x: Tensor) -> Tensor:
        """Return the coefficients of y in ⟨coefficients, B(x, y)⟩."""


class _Elementwise(_Product):
    def of(self, x: Tensor, y: Tensor) -> Tensor:
        return x * y

    def pull_first(self, coefficients: Tensor, y: Tensor) -> Tensor:
        return coefficients * y

    def pull_second(self, coefficients: Tensor, x: Tensor) -> Tensor:
        return coefficients * x


class _Matrices(_Product):
    def of(self, x: Tensor, y: Tensor) -> Tensor:
        return x @ y

    def pull_first(self, coefficients: Tensor, y: Tensor) -> Tensor:
        return coefficients @ y.transpose(-1, -2)

    def pull_second(self, coefficients: Tensor, x: Tensor) -> Tensor:
        return x.transpose(-1, -2) @ coefficients


class _BilinearRule(NonlinearRule[OperatorT]):
    """What products of two activations have in common."""

    mixes = True
    optimisable = True
    product: _Product

    def relax(
        self,
        operator: OperatorT,
        inputs: Sequence[Interval],
        parameters: Parameters,
        slopes: Slopes,
    ) -> Relaxation:
        """Return planes; `Slopes.alpha` of shape `(batch, rows or 1, 2, *shape)` mixes them."""
        (cx, rx), (cy, ry) = (
            (side.center.unsqueeze(1), side.radius.unsqueeze(1)) for side in inputs
        )
        if slopes.alpha is None:
            return BilinearRelaxation(self.product, cx, rx, cy, ry)
        below, above = (2 * slopes.alpha - 1).unbind(2)
        return BilinearRelaxation(self.product, cx, rx, cy, ry, below, above)

    def alpha_start(self, operator: OperatorT, inputs: Sequence[Interval]) -> Tensor:
        """Start halfway between the two planes, on either side."""
        shape = self.product.of(inputs[0].lower, inputs[1].lower).shape
        return inputs[0].lower.new_full((shape[0], 2, *shape[1:]), 0.5)


def _least_and_largest(x: Interval, y: Interval) -> tuple[Tensor, Tensor]:
    """Return the ends of all products of one number from either interval."""
    ends = [_times(one, other) for one in (x.lower, x.upper) for other in (y.lower, y.upper)]
    lower = torch.minimum(torch.minimum(ends[0], ends[1]), torch.minimum(ends[2], ends[3]))
    upper = torch.maximum(torch.maximum(ends[0], ends[1]), torch.maximum(ends[2], ends[3]))
    return lower, upper


def _times(one: Tensor, other: Tensor) -> Tensor:
    """Multiply; zero times an infinite end is zero, since the end itself is never taken."""
    product = one * other
    return torch.where((one == 0) | (other == 0), torch.zeros_like(product), product)


class MultiplyRule(_BilinearRule[Multiply]):
    """x · y elementwise."""

    product = _Elementwise()

    def interval(
        self, operator: Multiply, inputs: Sequence[Interval], parameters: Parameters
    ) -> Interval:
        """Return the extremes of the four products of ends."""
        return Interval(*_least_and_largest(inputs[0], inputs[1]))

    def reads(self, wanted: Tensor, shapes: Sequence[tuple[int, ...]]) -> tuple[Tensor, ...]:
        """Return the same places of both factors."""
        return (wanted,) * len(shapes)


class MatrixProductRule(_BilinearRule[MatrixProduct]):
    """X Y over the last two axes."""

    product = _Matrices()

    def interval(
        self, operator: MatrixProduct, inputs: Sequence[Interval], parameters: Parameters
    ) -> Interval:
        """Add up the extremes of every product of entries, some inner indices at a time."""
        x, y = inputs
        lower = upper = x.lower.new_zeros(())
        inner, pairs = x.lower.shape[-1], x.lower[..., 0].numel() * y.lower.shape[-1]
        size = max(1, _CHUNK // max(1, pairs))
        for first in range(0, inner, size):
            part = slice(first, first + size)
            left = Interval(x.lower[..., part].unsqueeze(-1), x.upper[..., part].unsqueeze(-1))
            right = Interval(
                y.lower[..., part, :].unsqueeze(-3), y.upper[..., part, :].unsqueeze(-3)
            )
            low, high = _least_and_largest(left, right)
            lower, upper = lower + low.sum(-2), upper + high.sum(-2)
        return Interval(lower, upper)
