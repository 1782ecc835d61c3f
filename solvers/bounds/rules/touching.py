"""Lines above a function of one value, by the pieces on which it is concave.

A line s·x + c lies above f on [l, u] exactly if c is at least the largest f(x) − s·x there. That
maximum is at an end, at a corner, or within a concave piece, where f(x) − s·x is concave and so
has one peak. Every line here takes its intercept from this maximum, so a slope may be chosen
freely: a bad one costs tightness, never soundness.

Slopes are those of the concave envelope at the interval's midpoint, which leaves the smallest
area between line and function: a tangent there, a tangent through an end, or a chord.

Source: tangents and chords as in Zhang et al. 2018 (CROWN), table 2, for any number of bends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

__all__ = ["Line", "Span", "line_over_corners", "movable_line", "raised", "touching_line"]

Function = Callable[[Tensor], Tensor]

_HALVINGS = 44
"""Steps of a search; a secant step behind them finds the rest of a float64."""
_NOISE = float(2**20)
"""A chord is used where its rise exceeds so many units of rounding."""


@dataclass(frozen=True)
class Line:
    """slope · x + intercept, one per element."""

    slope: Tensor
    intercept: Tensor


@dataclass(frozen=True)
class Span:
    """A function over intervals, and the concave piece that matters on each.

    Attributes:
        value, derivative: Of the function; at a kink, either one-sided derivative.
        lower, upper: Ends of the intervals, of one shape.
        left, right: Where the function is concave, inside the interval; empty where `left` is not
            below `right`. Beside it the function is convex.
        goal: Where the line should be close to the function; usually the midpoint.
    """

    value: Function
    derivative: Function
    lower: Tensor
    upper: Tensor
    left: Tensor
    right: Tensor
    goal: Tensor

    @property
    def bent(self) -> Tensor:
        """Where there is a concave piece."""
        return self.left < self.right


def touching_line(span: Span) -> Line:
    """Return the line above a function with at most one concave piece per interval.

    Tangents at points of the piece from `first` on pass above the lower end, those up to `last`
    above the upper end. Where none passes above both, the chord lies above the function.
    """
    first, last = _contacts(span)
    return _touching_between(span, first, last)


def movable_line(span: Span) -> Callable[[Tensor], Line]:
    """Return the line above a function as a function of where it should be close to it.

    Only tangents move; what does not depend on the goal is computed once. Goals may have more rows
    than the span.
    """
    first, last = _contacts(span)
    fixed, tangent = _touching_between(span, first, last), span.bent & (first <= last)
    lower, upper = span.lower, span.upper
    at_lower, at_upper = span.value(lower), span.value(upper)

    def line(goal: Tensor) -> Line:
        point = torch.minimum(torch.maximum(goal, first), last)
        point = torch.where(tangent, point, span.goal)
        slope = span.derivative(point)
        ends = torch.maximum(at_lower - slope * lower, at_upper - slope * upper)
        intercept = raised(span.value(point) - slope * point, ends)
        return Line(
            torch.where(tangent, slope, fixed.slope),
            torch.where(tangent, intercept, fixed.intercept),
        )

    return line


def _contacts(span: Span) -> tuple[Tensor, Tensor]:
    """Return from where to where in the concave piece tangents pass above both ends."""
    lower, upper, bent = span.lower, span.upper, span.bent
    with torch.no_grad():
        first = _first_tangent(span, lower, span.left, span.right, bent & (lower < span.left))
        last = _first_tangent(span, upper, span.right, span.left, bent & (upper > span.right))
        first = torch.where(first.isnan(), torch.inf, first)
        last = torch.where(last.isnan(), -torch.inf, last)
    return first, last


def _touching_between(span: Span, first: Tensor, last: Tensor) -> Line:
    """Return the tangent close to the goal; the chord where none passes above both ends."""
    lower, upper, bent = span.lower, span.upper, span.bent
    at_lower, at_upper = span.value(lower), span.value(upper)
    tangent = bent & (first <= last)
    point = torch.minimum(torch.maximum(span.goal, first), last)
    point = torch.where(tangent, point, span.goal)
    slope = span.derivative(point)
    # A tangent through an end turns about it: the slope's gradient is that of the secant.
    slope = _following(slope, point, (lower, at_lower), tangent & (span.goal < first))
    slope = _following(slope, point, (upper, at_upper), tangent & (span.goal > last))
    chord = ~tangent & _reliable(span, at_lower, at_upper)
    slope = torch.where(chord, _secant((lower, at_lower), (upper, at_upper), chord), slope)
    ends = torch.maximum(at_lower - slope * lower, at_upper - slope * upper)
    touching = torch.where(tangent, span.value(point) - slope * point, ends)
    peak = torch.maximum(ends, _peak(span, slope, bent & ~tangent))
    return Line(slope, raised(touching, peak))


def raised(intercept: Tensor, least: Tensor) -> Tensor:
    """Raise an intercept to `least`, by what is rounding unless the slope was a bad choice.

    The gradient is that of the intercept: where the two are equal but for rounding, it would be
    a matter of chance otherwise.
    """
    return intercept + (least - intercept).clamp(min=0).detach()


def line_over_corners(span: Span, corners: Sequence[float]) -> Line:
    """Return the line above a function that is convex but for a few corners.

    Its concave envelope is that of finitely many points: the ends, and the corners between them.
    """
    lower, upper = span.lower, span.upper
    places = [lower, *(torch.clamp(lower.new_tensor(k), lower, upper) for k in corners), upper]
    points = [(place, span.value(place)) for place in places]
    slope = span.derivative(span.goal)
    best = torch.full_like(lower, -torch.inf)
    for one, other in combinations(points, 2):
        around = (one[0] <= span.goal) & (span.goal <= other[0])
        usable = around & _reliable(span, one[1], other[1], run=other[0] - one[0])
        chord = _secant(one, other, usable)
        height = one[1] + chord * (span.goal - one[0])
        higher = usable & (height > best)
        slope = torch.where(higher, chord, slope)
        best = torch.where(higher, height, best)
    intercepts = torch.stack([value - slope * place for place, value in points])
    return Line(slope, intercepts.amax(0))


Point = tuple[Tensor, Tensor]
"""Places and the function's values there."""


def _secant(one: Point, other: Point, where: Tensor) -> Tensor:
    """Return the slope through two points where asked for; elsewhere something finite."""
    run = torch.where(where, other[0] - one[0], torch.ones_like(one[0]))
    rise = torch.where(where, other[1] - one[1], torch.zeros_like(one[0]))
    return rise / run


def _following(slope: Tensor, point: Tensor, end: Point, where: Tensor) -> Tensor:
    """Return the slope with the gradient that it has as a function of an end of the interval.

    The tangent through an end touches where the secant's slope is stationary, so moving the point
    of contact has no effect of first order. Where the function is flat to rounding, the gradient
    is left out.
    """
    where = where & ((point - end[0]).abs() > 1e-9 * (1 + point.abs()))
    if not slope.requires_grad or not bool(where.any()):
        return slope
    touched = point.detach()
    contact = (touched, end[1].detach() + slope.detach() * (touched - end[0].detach()))
    secant = _secant(end, contact, where)
    return torch.where(where, slope.detach() + secant - secant.detach(), slope)


def _reliable(
    span: Span, at_lower: Tensor, at_upper: Tensor, *, run: Tensor | None = None
) -> Tensor:
    """Return where a chord rises by more than rounding, so that its slope is no noise."""
    with torch.no_grad():
        width = span.upper - span.lower if run is None else run
        steep = torch.maximum(span.derivative(span.lower).abs(), span.derivative(span.upper).abs())
        steep = torch.maximum(steep, span.derivative(span.goal).abs())
        size = at_lower.abs() + at_upper.abs()
        noise = _NOISE * torch.finfo(width.dtype).eps * size
        return (width > 0) & (width * steep > noise)


def _first_tangent(span: Span, end: Tensor, near: Tensor, far: Tensor, outside: Tensor) -> Tensor:
    """Return where in the concave piece tangents begin to pass above the function at `end`.

    Args:
        span: The function.
        end: An end of the interval.
        near: The end of the concave piece on that side.
        far: Its other end.
        outside: Whether the end lies outside the piece; from within, every tangent passes above.

    Returns:
        `near` where every tangent passes above; not a number where none does.
    """
    found = near.detach().clone()
    if not bool(outside.any()):
        return found
    at, close, away = end[outside], near[outside], far[outside]
    target = span.value(at)

    def height(point: Tensor) -> Tensor:
        return span.value(point) + span.derivative(point) * (at - point) - target

    none = height(away) < 0
    for _ in range(_HALVINGS):
        middle = close + (away - close) / 2
        above = height(middle) >= 0
        away = torch.where(above, middle, away)
        close = torch.where(above, close, middle)
    below, above_by = height(close), height(away)
    gap = above_by - below
    share = torch.where((below < 0) & (gap > 0), -below / gap, torch.zeros_like(gap))
    found[outside] = torch.where(none, torch.nan, close + (away - close) * share.clamp(0, 1))
    return found


def _peak(span: Span, slope: Tensor, where: Tensor) -> Tensor:
    """Bound f(x) − slope·x over the concave piece from above; −∞ where not asked for.

    Bisection keeps the peak between two points; the tangent at the first, taken to the second,
    is above it.
    """
    result = torch.full_like(slope, -torch.inf)
    if not bool(where.any()):
        return result
    with torch.no_grad():
        left, right, s = span.left[where], span.right[where], slope[where]
        for _ in range(_HALVINGS):
            middle = left + (right - left) / 2
            rising = span.derivative(middle) >= s
            left = torch.where(rising, middle, left)
            right = torch.where(rising, right, middle)
        rise = (span.derivative(left) - s).clamp(min=0)
        result[where] = span.value(left) - s * left + rise * (right - left)
    return result
