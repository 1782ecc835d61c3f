"""The rule of smooth and kinked functions of one value, by traits: where they bend and turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf

import torch
from torch import Tensor

from models.parameters import Parameters
from solvers.bounds.interval import Interval
from solvers.bounds.relaxation import ElementwiseRelaxation, Relaxation
from solvers.bounds.rules.base import NonlinearRule, OperatorT, Slopes
from solvers.bounds.rules.touching import Line, Span, line_over_corners, movable_line, touching_line

__all__ = ["Curve", "CurveRule", "Domain", "Piece", "enclosed"]

# ruff: noqa: ARG002  (curves have no parameters)

Piece = tuple[float, float]
"""An interval, its ends possibly infinite."""


@dataclass(frozen=True)
class Domain:
    """Where a function is defined.

    Attributes:
        contains: Given both ends, whether the function is defined on all of the interval.
        text: What leaving it means, for people: "reaches 0", say.
    """

    contains: Callable[[Tensor, Tensor], Tensor]
    text: str


@dataclass(frozen=True)
class Curve:
    """A function and what a relaxation has to know of it.

    Attributes:
        value: The function f.
        derivative: Its derivative; at a kink, either one-sided derivative.
        concave: Where f is concave: at most two pieces. Of two, the left one ends at −∞ and the
            right one at ∞, every derivative in the left is below every one in the right, and so
            is the slope of every chord from one to the other: no line touches both.
        convex: Where f is convex, under the same conditions mirrored.
        corners_above: Kinks at which the slope falls, of a function that is convex between them;
            `concave` is then empty.
        corners_below: Kinks at which the slope rises, of a function that is concave between them.
        turns: Where f is least or greatest within its surroundings.
        linear: Pieces on which f is linear.
        domain: Where f is defined; None for everywhere.
        reach: How far from the lower end a line may touch.
    """

    value: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]
    concave: tuple[Piece, ...] = ()
    convex: tuple[Piece, ...] = ()
    corners_above: tuple[float, ...] = ()
    corners_below: tuple[float, ...] = ()
    turns: tuple[float, ...] = ()
    linear: tuple[Piece, ...] = ()
    domain: Domain | None = None
    reach: float = inf

    @property
    def negated(self) -> Curve:
        """−f."""
        return replace(
            self,
            value=lambda x: -self.value(x),
            derivative=lambda x: -self.derivative(x),
            concave=self.convex,
            convex=self.concave,
            corners_above=self.corners_below,
            corners_below=self.corners_above,
        )

    def range(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Return the least and the greatest value on intervals inside the domain."""
        places = [lower, *(torch.clamp(lower.new_tensor(t), lower, upper) for t in self.turns)]
        values = torch.stack([self.value(place) for place in (*places, upper)])
        return values.amin(0), values.amax(0)

    def line_above(self, lower: Tensor, upper: Tensor) -> Line:
        """Return a line above f on intervals inside the domain."""
        span = self._span(lower, upper)
        if self.corners_above:
            return line_over_corners(span, self.corners_above)
        return touching_line(span)

    def lines_above(self, lower: Tensor, upper: Tensor) -> Callable[[Tensor], Line]:
        """Return lines above f, by the share of the interval at which one should touch f."""
        span = self._span(lower, upper)
        if self.corners_above:
            fixed = line_over_corners(span, self.corners_above)
            return lambda _: fixed
        line, width = movable_line(span), upper - lower
        return lambda share: line(torch.minimum(lower + share * width, lower + self.reach))

    def _span(self, lower: Tensor, upper: Tensor) -> Span:
        goal = torch.minimum((lower + upper) / 2, lower + self.reach)
        left, right = self._concave_part(lower, upper)
        return Span(self.value, self.derivative, lower, upper, left, right, goal)

    def _concave_part(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Cut the concave piece that an interval reaches; empty where it reaches none, or two."""
        if not self.concave:
            return upper, lower
        parts = [(lower.clamp(min=a), upper.clamp(max=b)) for a, b in self.concave]
        left, right = parts[-1]
        if len(parts) == 1:
            return left, right
        reaches_first, reaches_last = parts[0][0] < parts[0][1], left < right
        left = torch.where(reaches_last, left, parts[0][0])
        right = torch.where(reaches_last, right, parts[0][1])
        both = reaches_first & reaches_last
        return torch.where(both, upper, left), torch.where(both, lower, right)


@dataclass(frozen=True)
class CurveRule(NonlinearRule[OperatorT]):
    """Interval and lines of a function that a `Curve` describes.

    Attributes:
        curve: Describes the function that an operator computes.
    """

    curve: Callable[[OperatorT], Curve]
    optimisable = True
    own_lines = True

    def interval(
        self, operator: OperatorT, inputs: Sequence[Interval], parameters: Parameters
    ) -> Interval:
        """Return the exact range; unbounded where the interval leaves the domain."""
        curve = self.curve(operator)
        lower, upper, outside = _within(curve, inputs[0])
        least, most = curve.range(lower, upper)
        if outside is None:
            return Interval(least, most)
        return Interval(least.masked_fill(outside, -inf), most.masked_fill(outside, inf))

    def relax(
        self,
        operator: OperatorT,
        inputs: Sequence[Interval],
        parameters: Parameters,
        slopes: Slopes,
    ) -> Relaxation:
        """Return a line above the function, and one above its mirror image, mirrored.

        `Slopes.alpha`, shape `(batch, rows or 1, 2, *shape)`, places where the lower and the upper
        line touch the function.
        """
        if slopes.alpha is not None:
            return self.adjustable(operator, inputs, parameters)(slopes.alpha)
        curve = self.curve(operator)
        lower, upper, ends, outside = self._enclosed_by(operator, inputs[0])
        above = curve.line_above(lower, upper)
        below = curve.negated.line_above(lower, upper)
        return enclosed(above, below, ends, outside)

    def adjustable(
        self, operator: OperatorT, inputs: Sequence[Interval], parameters: Parameters
    ) -> Callable[[Tensor], Relaxation]:
        """Return lines for any points of contact."""
        curve = self.curve(operator)
        lower, upper, ends, outside = self._enclosed_by(operator, inputs[0])
        above = curve.lines_above(lower, upper)
        below = curve.negated.lines_above(lower, upper)

        def relaxation(alpha: Tensor) -> Relaxation:
            first, second = alpha.unbind(2)
            return enclosed(above(second), below(first), ends, outside)

        return relaxation

    def alpha_start(self, operator: OperatorT, inputs: Sequence[Interval]) -> Tensor:
        """Start halfway, on either side."""
        shape = inputs[0].lower.shape
        return inputs[0].lower.new_full((shape[0], 2, *shape[1:]), 0.5)

    def _enclosed_by(
        self, operator: OperatorT, bounds: Interval
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor], Tensor | None]:
        """Return both ends, the range, and where an interval leaves the domain, with rows of 1."""
        curve = self.curve(operator)
        lower, upper, outside = _within(curve, bounds)
        lower, upper = lower.unsqueeze(1), upper.unsqueeze(1)
        least, most = curve.range(lower, upper)
        if outside is not None:
            outside = outside.unsqueeze(1)
            least, most = least.masked_fill(outside, -inf), most.masked_fill(outside, inf)
        return lower, upper, (least, most), outside

    def undecided(self, operator: OperatorT, bounds: Interval, position: int = 0) -> Tensor:
        """Return the inputs that are not on a linear piece, nor fixed."""
        decided = bounds.upper <= bounds.lower
        for low, high in self.curve(operator).linear:
            decided = decided | ((bounds.lower >= low) & (bounds.upper <= high))
        return ~decided

    def passes_on(self, operator: OperatorT) -> bool:
        """Return whether there is no linear piece, on which inputs are left as they are."""
        return not self.curve(operator).linear

    def outside(self, operator: OperatorT, bounds: Interval) -> tuple[Tensor, str] | None:
        """Return where an interval leaves the function's domain, if it has one."""
        domain = self.curve(operator).domain
        if domain is None:
            return None
        return ~domain.contains(bounds.lower, bounds.upper), domain.text


def _within(curve: Curve, bounds: Interval) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return both ends, put at 1 where they leave the domain, and where they do."""
    if curve.domain is None:
        return bounds.lower, bounds.upper, None
    outside = ~curve.domain.contains(bounds.lower, bounds.upper)
    return bounds.lower.masked_fill(outside, 1), bounds.upper.masked_fill(outside, 1), outside


def enclosed(
    above: Line, below: Line, ends: tuple[Tensor, Tensor], outside: Tensor | None = None
) -> ElementwiseRelaxation:
    """Return lines above f and −f as a relaxation.

    Args:
        above: A line above f.
        below: A line above −f.
        ends: Least and greatest value, which stand in for lines that overflowed.
        outside: Where nothing but `ends` holds.
    """
    lower_slope, lower = _or_constant(Line(-below.slope, -below.intercept), ends[0], outside)
    upper_slope, upper = _or_constant(above, ends[1], outside)
    return ElementwiseRelaxation(lower_slope, upper_slope, lower, upper)


def _or_constant(line: Line, constant: Tensor, outside: Tensor | None) -> tuple[Tensor, Tensor]:
    usable = line.slope.isfinite() & line.intercept.isfinite()
    if outside is not None:
        usable = usable & ~outside
    slope = torch.where(usable, line.slope, torch.zeros_like(line.slope))
    return slope, torch.where(usable, line.intercept, constant)
