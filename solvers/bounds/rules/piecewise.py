"""Rules of piecewise linear activations: Relu, LeakyRelu, PRelu, Clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from models.operators import Clip, LeakyRelu, Operator, PRelu, Relu
from models.parameters import Parameters
from solvers.bounds.gradients import chord
from solvers.bounds.interval import Interval
from solvers.bounds.relaxation import ElementwiseRelaxation, Relaxation
from solvers.bounds.rules.base import NonlinearRule, SlopeChoice, Slopes

__all__ = ["ClipRule", "LeakyReluRule", "PReluRule", "ReluRule"]


# ruff: noqa: ARG002  (some rules need neither parameters nor slopes)

BentT = TypeVar("BentT", bound=Operator)


@dataclass(frozen=True)
class _ReluLines:
    """The triangle of one ReLU per element.

    Attributes:
        lower_slope: Of the lower line through the origin, shape `(batch, rows or 1, *shape)`.
        upper_slope, upper_intercept: Of the chord, shape `(batch, 1, *shape)`.
    """

    lower_slope: Tensor
    upper_slope: Tensor
    upper_intercept: Tensor


def _relu_lines(bounds: Interval, slopes: Slopes) -> _ReluLines:
    """Enclose max(0, x) (Ehlers 2017; lower slopes after Zhang et al. 2018, Xu et al. 2021)."""
    lower, upper = bounds.lower.unsqueeze(1), bounds.upper.unsqueeze(1)
    slope, intercept = _chord(lower, upper)
    if slopes.alpha is not None:
        active = (lower >= 0).to(lower.dtype)
        chosen = torch.where((lower < 0) & (upper > 0), slopes.alpha, active)
    elif slopes.choice is SlopeChoice.PARALLEL:
        chosen = slope
    else:
        # True where stably active, false where stably inactive, and else the smaller area.
        chosen = (upper > -lower).to(lower.dtype)
    return _ReluLines(chosen, slope, intercept)


def _chord(lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """Return slope and intercept of the chord, also where an end is infinite."""
    slope, intercept = chord(lower, upper)
    if bool((slope.detach().sum() + intercept.detach().sum()).isfinite()):
        return slope, intercept
    unstable, active = (lower < 0) & (upper > 0), (lower >= 0).to(lower.dtype)
    slope = torch.where(unstable, slope, active)
    return slope, torch.where(unstable, intercept, torch.zeros_like(intercept))


class _BentAtZeroRule(NonlinearRule[BentT]):
    """What functions with one kink, at 0, have in common."""

    optimisable = True
    settles = True
    bent_at_zero = True

    def undecided(self, operator: BentT, bounds: Interval, position: int = 0) -> Tensor:
        """Return the unstable neurons."""
        return bounds.unstable

    def alpha_start(self, operator: BentT, inputs: Sequence[Interval]) -> Tensor:
        """Start from CROWN's adaptive choice."""
        return (inputs[0].upper > -inputs[0].lower).to(inputs[0].lower.dtype)


class ReluRule(_BentAtZeroRule[Relu]):
    """max(0, x): the triangle where unstable, exact elsewhere."""

    def relax(
        self,
        operator: Relu,
        inputs: Sequence[Interval],
        parameters: Parameters,
        slopes: Slopes,
    ) -> Relaxation:
        """Return the chord above and a line through the origin below."""
        lines = _relu_lines(inputs[0], slopes)
        return ElementwiseRelaxation(
            lines.lower_slope, lines.upper_slope, None, lines.upper_intercept
        )


def _two_piece(bounds: Interval, slope: Tensor, slopes: Slopes) -> ElementwiseRelaxation:
    """Enclose slope·x + (1 − slope)·max(0, x), reusing the lines of ReLU.

    Where 1 − slope is negative the function is concave and the two lines trade places.
    """
    lines = _relu_lines(bounds, slopes)
    bend = 1 - slope
    # Blended so that a stable neuron's slope is exactly `slope` or 1, however large `slope` is.
    below = slope * (1 - lines.lower_slope) + lines.lower_slope
    above = slope * (1 - lines.upper_slope) + lines.upper_slope
    offset = bend * lines.upper_intercept
    convex = bend >= 0
    zero = torch.zeros_like(offset)
    return ElementwiseRelaxation(
        torch.where(convex, below, above),
        torch.where(convex, above, below),
        torch.where(convex, zero, offset),
        torch.where(convex, offset, zero),
    )


class LeakyReluRule(_BentAtZeroRule[LeakyRelu]):
    """x where positive, slope · x where negative."""

    def interval(
        self, operator: LeakyRelu, inputs: Sequence[Interval], parameters: Parameters
    ) -> Interval:
        """Apply to both ends, and to 0 where a negative slope makes it the least value."""
        return _bent_interval(operator, inputs[0], parameters)

    def relax(
        self,
        operator: LeakyRelu,
        inputs: Sequence[Interval],
        parameters: Parameters,
        slopes: Slopes,
    ) -> Relaxation:
        """Enclose with ReLU's lines."""
        return _two_piece(inputs[0], inputs[0].lower.new_tensor(operator.slope), slopes)


class PReluRule(_BentAtZeroRule[PRelu]):
    """x where positive, a stored slope · x where negative."""

    def interval(
        self, operator: PRelu, inputs: Sequence[Interval], parameters: Parameters
    ) -> Interval:
        """Apply to both ends, and to 0 where a negative slope makes it the least value."""
        return _bent_interval(operator, inputs[0], parameters)

    def relax(
        self,
        operator: PRelu,
        inputs: Sequence[Interval],
        parameters: Parameters,
        slopes: Slopes,
    ) -> Relaxation:
        """Enclose with ReLU's lines."""
        return _two_piece(inputs[0], operator.slope.resolve(parameters), slopes)


def _bent_interval(
    operator: LeakyRelu | PRelu, bounds: Interval, parameters: Parameters
) -> Interval:
    """Bound a function that is linear on either side of 0, monotone or not."""
    one = operator.forward([bounds.lower], parameters)
    other = operator.forward([bounds.upper], parameters)
    lower, upper = torch.minimum(one, other), torch.maximum(one, other)
    return Interval(torch.where(bounds.unstable, lower.clamp(max=0), lower), upper)


class ClipRule(NonlinearRule[Clip]):
    """min(max(x, low), high): a rising ramp between two flat pieces."""

    settles = True

    def relax(
        self,
        operator: Clip,
        inputs: Sequence[Interval],
        parameters: Parameters,
        slopes: Slopes,
    ) -> Relaxation:
        """Return for either side the better of a line through a kink and a constant."""
        lower, upper = inputs[0].lower.unsqueeze(1), inputs[0].upper.unsqueeze(1)
        above = _ramp_upper_line(lower, upper, operator.lower, operator.upper)
        # clip(x, low, high) = −clip(−x, −high, −low), so the lower line is an upper line mirrored.
        mirrored = _ramp_upper_line(-upper, -lower, -operator.upper, -operator.lower)
        return ElementwiseRelaxation(mirrored[0], above[0], -mirrored[1], above[1])

    def undecided(self, operator: Clip, bounds: Interval, position: int = 0) -> Tensor:
        """Return the inputs whose interval holds a kink."""
        low_kink = (bounds.lower < operator.lower) & (bounds.upper > operator.lower)
        high_kink = (bounds.lower < operator.upper) & (bounds.upper > operator.upper)
        return low_kink | high_kink


def _ramp_upper_line(
    lower: Tensor, upper: Tensor, low: float, high: float
) -> tuple[Tensor, Tensor]:
    """Return slope and intercept of a line above min(max(x, low), high) on [lower, upper].

    The candidates are the chord from the left end to the upper kink (or to the right end, if that
    comes first) and the constant at the right end; the one with the smaller mean is taken.
    """
    left, right = lower.clamp(low, high), upper.clamp(low, high)
    corner = upper.clamp(max=high)
    run = corner - lower
    rising = (run > 0) & (right > left)
    safe_run = torch.where(rising, run, torch.ones_like(run))
    slope = torch.where(rising, (right - left) / safe_run, torch.zeros_like(run))
    intercept = torch.where(rising, left - slope * lower, right)
    # A chord that starts above the lower kink is exact up to the corner; otherwise compare areas.
    constant_is_better = slope * (lower + upper) / 2 + intercept > right
    slope = torch.where(constant_is_better, torch.zeros_like(slope), slope)
    return slope, torch.where(constant_is_better, right, intercept)
