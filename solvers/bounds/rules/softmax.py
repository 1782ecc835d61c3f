"""The rule of Softmax between other operators.

Below, eᵃ / b is convex in a and b > 0, so that its tangent plane stays below it, also where b is
replaced by chords that lie above Σ eˣ. Above, p = eᵗ lies below its chord over the range of
t = xᵢ − log Σ eˣ, and the tangent of the concave t lies above t. Either plane is a multiple of xᵢ
less a direction that all outputs share, so that a backward pass costs no square of the axis.

Source: Wei et al. 2023, *Convex Bounds on the Softmax Function with Applications to Robustness
Verification*, the bounds called LSE, made linear.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from models.operators import Softmax
from models.parameters import Parameters
from solvers.bounds.interval import Interval
from solvers.bounds.relaxation import Relaxation
from solvers.bounds.rules.base import NonlinearRule, Slopes

__all__ = ["SoftmaxRelaxation", "SoftmaxRule"]

# ruff: noqa: ARG002  (Softmax has no parameters)

_MARGIN = 0.05
"""Tangent points keep this share of the interval off either end: the chords' sum, by which a
tangent's height is divided, is at least this share of its largest value there."""
_ROUNDING_UNITS = 64.0
"""Planes give up this many units of rounding of the largest input: their offsets cancel it."""
_NOTHING = -1e30
"""Stands for the logarithm of an empty sum."""


@dataclass(frozen=True)
class _Planes:
    """weightᵢ · (xᵢ − direction · x) + offsetᵢ, on one side of the i-th output.

    Attributes:
        weight, direction, offset: Shape `(batch, rows or 1, *shape)`.
    """

    weight: Tensor
    direction: Tensor
    offset: Tensor

    def pull(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """Return the coefficients of x, and the constant, of a sum of planes."""
        weighted = coefficients * self.weight
        passed = weighted - weighted.sum(-1, keepdim=True) * self.direction
        return passed, (coefficients * self.offset).flatten(2).sum(-1)

    def unless(self, constant: Tensor, better: Tensor) -> _Planes:
        """Return the planes, with constants instead where those are better."""
        return _Planes(
            torch.where(better, torch.zeros_like(self.weight), self.weight),
            self.direction,
            torch.where(better, constant, self.offset),
        )

    def at(self, x: Tensor) -> Tensor:
        """Return the value of every plane at points of shape `(batch, 1, *shape)`."""
        return self.weight * (x - (self.direction * x).sum(-1, keepdim=True)) + self.offset


@dataclass(frozen=True)
class SoftmaxRelaxation(Relaxation):
    """A plane below and a plane above each output.

    Attributes:
        below, above: The planes.
    """

    below: _Planes
    above: _Planes

    def backward(self, coefficients: Tensor) -> tuple[tuple[Tensor], Tensor]:
        """Take the plane that each coefficient's sign asks for."""
        low, low_constant = self.below.pull(coefficients.clamp(min=0))
        high, high_constant = self.above.pull(coefficients.clamp(max=0))
        return (low + high,), low_constant + high_constant


class SoftmaxRule(NonlinearRule[Softmax]):
    """e^xᵢ / Σⱼ e^xⱼ along the last axis."""

    mixes = True
    optimisable = True

    def interval(
        self, operator: Softmax, inputs: Sequence[Interval], parameters: Parameters
    ) -> Interval:
        """Put xᵢ at one end and all others at the opposite ends, which is exact."""
        logs = _log_interval(inputs[0])
        # Not a number comes from infinite inputs, of which nothing but [0, 1] is known.
        lower, upper = logs.lower.exp().nan_to_num(nan=0.0), logs.upper.exp().nan_to_num(nan=1.0)
        return Interval(lower.clamp(0, 1), upper.clamp(0, 1))

    def relax(
        self,
        operator: Softmax,
        inputs: Sequence[Interval],
        parameters: Parameters,
        slopes: Slopes,
    ) -> Relaxation:
        """Return planes; `Slopes.alpha`, shape `(batch, rows or 1, 2, *shape)`, places tangents."""
        ends = self.interval(operator, inputs, parameters)
        lowest, highest = ends.lower.unsqueeze(1), ends.upper.unsqueeze(1)
        (x,) = inputs
        known = (x.lower.isfinite() & x.upper.isfinite()).all(-1, keepdim=True)
        lower = x.lower.where(known, 0.0).unsqueeze(1)
        upper = x.upper.where(known, 0.0).unsqueeze(1)
        known = known.unsqueeze(1)
        if slopes.alpha is None:
            first = second = (lower + upper) / 2
        else:
            share = _MARGIN + (1 - 2 * _MARGIN) * slopes.alpha
            first, second = (lower + part * (upper - lower) for part in share.unbind(2))
        center = (lower + upper) / 2
        below, above = _below(lower, upper, first), _above(lower, upper, second)
        return SoftmaxRelaxation(
            below.unless(lowest, ~known | (below.at(center) < lowest)),
            above.unless(highest, ~known | (above.at(center) > highest)),
        )

    def alpha_start(self, operator: Softmax, inputs: Sequence[Interval]) -> Tensor:
        """Start with tangents at the centre, on either side."""
        shape = inputs[0].lower.shape
        return inputs[0].lower.new_full((shape[0], 2, *shape[1:]), 0.5)


def _below(lower: Tensor, upper: Tensor, point: Tensor) -> _Planes:
    """Return tangents of e^xᵢ / Σⱼ chordⱼ(xⱼ) at `point`, all divided by the largest e^x."""
    largest = upper.amax(-1, keepdim=True)
    ends, width = (upper - largest).exp(), upper - lower
    chord = ends * _decay(width)
    rest = (ends - chord * upper).sum(-1, keepdim=True)
    total = (ends + chord * (point - upper)).sum(-1, keepdim=True)
    height = (point - largest).exp() / total
    offset = height * (2 - point - rest / total - _rounding(lower, upper))
    return _Planes(height, chord / total, offset)


def _above(lower: Tensor, upper: Tensor, point: Tensor) -> _Planes:
    """Return chords of e^t, with t = xᵢ − log Σ eˣ replaced by its tangent at `point`."""
    logs = _log_interval(Interval(lower, upper))
    highest = logs.upper.exp()
    chord = highest * _decay((logs.upper - logs.lower).clamp(min=0))
    share = point.softmax(-1)
    tangent = (share * point).sum(-1, keepdim=True) - point.logsumexp(-1, keepdim=True)
    offset = highest + chord * (tangent - logs.upper + _rounding(lower, upper))
    return _Planes(chord, share, offset)


def _rounding(lower: Tensor, upper: Tensor) -> Tensor:
    """Return what the exponents may be off by, shape `(batch, 1, *leading, 1)`."""
    size = torch.maximum(lower.abs(), upper.abs()).amax(-1, keepdim=True)
    return _ROUNDING_UNITS * torch.finfo(lower.dtype).eps * (1 + size)


def _decay(width: Tensor) -> Tensor:
    """Return (1 − e^−w) / w, which is 1 at 0: the slope of a chord of e^x whose upper end is 1."""
    positive = width > 0
    safe = torch.where(positive, width, torch.ones_like(width))
    return torch.where(positive, -torch.expm1(-safe) / safe, torch.ones_like(width))


def _log_interval(x: Interval) -> Interval:
    """Return the range of xᵢ − log Σ eˣ: the logarithm of each output."""
    return Interval(
        x.lower - torch.logaddexp(x.lower, _log_sum_of_others(x.upper)),
        x.upper - torch.logaddexp(x.upper, _log_sum_of_others(x.lower)),
    )


def _log_sum_of_others(x: Tensor) -> Tensor:
    """Return log Σ_{j≠i} e^xⱼ along the last axis, from sums before and behind each entry.

    Taking e^xᵢ away from the whole sum would cancel where it dominates.
    """
    before = functional.pad(x.logcumsumexp(-1)[..., :-1], (1, 0), value=_NOTHING)
    behind = functional.pad(x.flip(-1).logcumsumexp(-1)[..., :-1], (1, 0), value=_NOTHING)
    return torch.logaddexp(before, behind.flip(-1))
