"""Rules of S-shaped activations: convex left of 0, concave right of it, point-symmetric."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.operators import Operator
from models.parameters import Parameters
from solvers.bounds.interval import Interval
from solvers.bounds.relaxation import ElementwiseRelaxation, Relaxation
from solvers.bounds.rules.base import NonlinearRule, Slopes

__all__ = ["SShapedRule", "sigmoid_rule", "tanh_rule"]

# ruff: noqa: ARG002  (these functions have neither parameters nor free slopes)

_BISECTIONS = 40
"""Halvings of the tangent search; more do not change a float64 line."""


@dataclass(frozen=True)
class SShapedRule(NonlinearRule[Operator]):
    """Tangents and chords of an S-shaped function (Zhang et al. 2018, table 2).

    Attributes:
        value: The function f.
        derivative: Its derivative.
        curvature: Its second derivative.
        symmetry: f(−x) = symmetry − f(x).
    """

    value: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]
    curvature: Callable[[Tensor], Tensor]
    symmetry: float

    def relax(
        self,
        operator: Operator,
        inputs: Sequence[Interval],
        parameters: Parameters,
        slopes: Slopes,
    ) -> Relaxation:
        """Return an upper line, and the mirrored upper line of the mirrored interval below."""
        lower, upper = inputs[0].lower.unsqueeze(1), inputs[0].upper.unsqueeze(1)
        above_slope, above = self._upper_line(lower, upper)
        below_slope, below = self._upper_line(-upper, -lower)
        return ElementwiseRelaxation(below_slope, above_slope, self.symmetry - below, above)

    def _upper_line(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Return slope and intercept of a line above f on [lower, upper].

        Where f is convex, or the interval reaches too little into the concave half, that is the
        chord; elsewhere a tangent at a point d > 0 from which the line passes above f(lower).
        """
        at_lower, at_upper = self.value(lower), self.value(upper)
        width = upper - lower
        # On a sliver the chord's slope is noise: the constant f(upper) is sound and as good.
        sliver = width < 1e-6
        chord = (at_upper - at_lower) / torch.where(sliver, torch.ones_like(width), width)
        tangent = self._tangent_point(lower, upper, at_lower)
        is_chord = tangent >= upper
        slope = torch.where(is_chord, chord, self.derivative(tangent))
        through_lower = at_lower - slope * lower
        through_tangent = self.value(tangent) - slope * tangent
        through_upper = at_upper - slope * upper
        # Rounding may push a line below f at its touching points by an ulp: take the highest.
        intercept = torch.where(
            is_chord,
            torch.maximum(through_lower, through_upper),
            torch.maximum(through_tangent, through_lower),
        )
        slope = torch.where(sliver, torch.zeros_like(slope), slope)
        return slope, torch.where(sliver, at_upper, intercept)

    def _tangent_point(self, lower: Tensor, upper: Tensor, at_lower: Tensor) -> Tensor:
        """Return d ≥ max(0, lower) whose tangent lies above f(lower); at least `upper` if none.

        The tangent's height at `lower` grows with d > 0, so bisection finds the least such d; the
        midpoint of the interval is taken where it lies beyond.
        """
        with torch.no_grad():
            left = lower.clamp(min=0)
            right = torch.maximum(upper, left)
            usable = (self._height(right, lower) >= at_lower) & (upper > 0)
            for _ in range(_BISECTIONS):
                middle = (left + right) / 2
                sound = self._height(middle, lower) >= at_lower
                right = torch.where(sound, middle, right)
                left = torch.where(sound, left, middle)
        point = torch.maximum(self._following(right, lower), (lower + upper) / 2)
        return torch.where(usable, point, upper)

    def _following(self, point: Tensor, lower: Tensor) -> Tensor:
        """Return the least tangent point with the gradient that it has in `lower`.

        It solves height(d, lower) = f(lower); the implicit function theorem gives its derivative,
        which lies in [−1, 0] and does not need the search.
        """
        with torch.no_grad():
            bend = self.curvature(point) * (lower - point)
            turn = self.derivative(lower) - self.derivative(point)
            rate = (turn / torch.where(bend == 0, torch.ones_like(bend), bend)).clamp(-1, 0)
        return point + rate * (lower - lower.detach())

    def _height(self, point: Tensor, at: Tensor) -> Tensor:
        return self.value(point) + self.derivative(point) * (at - point)


def _sigmoid_derivative(x: Tensor) -> Tensor:
    s = torch.sigmoid(x)
    return s * (1 - s)


def _sigmoid_curvature(x: Tensor) -> Tensor:
    return _sigmoid_derivative(x) * (1 - 2 * torch.sigmoid(x))


def _tanh_derivative(x: Tensor) -> Tensor:
    return 1 - torch.tanh(x).square()


def _tanh_curvature(x: Tensor) -> Tensor:
    return -2 * torch.tanh(x) * _tanh_derivative(x)


sigmoid_rule = SShapedRule(torch.sigmoid, _sigmoid_derivative, _sigmoid_curvature, 1.0)
tanh_rule = SShapedRule(torch.tanh, _tanh_derivative, _tanh_curvature, 0.0)
