"""Rules of sine and cosine, for intervals within one period and across many."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from models.operators import Cos, Operator, Sin
from models.parameters import Parameters
from solvers.bounds.interval import Interval
from solvers.bounds.relaxation import Relaxation
from solvers.bounds.rules.base import NonlinearRule, Slopes
from solvers.bounds.rules.curves import enclosed
from solvers.bounds.rules.touching import Line, Span, raised, touching_line

__all__ = ["WaveRule", "cos_rule", "sin_rule"]

# ruff: noqa: ARG002  (waves have neither parameters nor free slopes)

WaveT = TypeVar("WaveT", bound=Operator)
Function = Callable[[Tensor], Tensor]

_TURN = 2 * math.pi
_FARTHEST = 1e7
"""Beyond it, places within a period are too uncertain; an error of 1e-9 costs its square."""


@dataclass(frozen=True)
class _Wave:
    """A function of period 2π and amplitude 1.

    Attributes:
        value, derivative: The function.
        crest: Where it is 1. It is concave within π/2 of there.
    """

    value: Function
    derivative: Function
    crest: float

    @property
    def negated(self) -> _Wave:
        """The wave with its sign changed."""
        return _Wave(lambda x: -self.value(x), lambda x: -self.derivative(x), self.crest + math.pi)

    def highest(self, lower: Tensor, upper: Tensor) -> Tensor:
        """Return the greatest value."""
        ends = torch.maximum(self.value(lower), self.value(upper))
        # Lines are not drawn where a crest is misjudged by rounding; the constant 1 always holds.
        first = self.crest + _TURN * torch.ceil((lower - self.crest) / _TURN)
        near = self._settled(lower, upper)
        known = (near & (first > upper)) | (lower == upper)
        return torch.where(known, ends, torch.ones_like(ends))

    def line_above(self, lower: Tensor, upper: Tensor) -> Line:
        """Return a line above the wave."""
        goal = (lower + upper) / 2
        top = self.crest + _TURN * torch.round((goal - self.crest) / _TURN)
        left = torch.maximum(lower, top - math.pi / 2)
        right = torch.minimum(upper, top + math.pi / 2)
        # Where another concave piece is reached too, a chord or a constant takes over.
        alone = (lower >= top - 1.5 * math.pi) & (upper <= top + 1.5 * math.pi)
        left, right = torch.where(alone, left, upper), torch.where(alone, right, lower)
        line = touching_line(Span(self.value, self.derivative, lower, upper, left, right, goal))
        intercept = raised(line.intercept, self._peak(line.slope, lower, upper))
        constant = self.highest(lower, upper)
        usable = self._settled(lower, upper)
        usable = usable & (line.slope * goal + intercept <= constant)
        return Line(
            torch.where(usable, line.slope, torch.zeros_like(constant)),
            torch.where(usable, intercept, constant),
        )

    def _settled(self, lower: Tensor, upper: Tensor) -> Tensor:
        """Return where an interval is shorter than a period, and not too far out."""
        return (upper - lower < _TURN) & (torch.maximum(upper.abs(), lower.abs()) < _FARTHEST)

    def _peak(self, slope: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        """Return the greatest value − slope · x among the places where the wave has that slope.

        Right of a crest the slope falls to −1. These places are a period apart and the value there
        is the same, so that the first one is the best for a rising line and the last for a falling
        one. One that is misjudged by rounding is an end of the interval, which is harmless.
        """
        with torch.no_grad():
            place = self.crest - torch.asin(slope.clamp(-1, 1))
            first = place + _TURN * torch.ceil((lower - place) / _TURN)
            last = place + _TURN * torch.floor((upper - place) / _TURN)
            best = torch.where(slope >= 0, first, last)
            best = torch.minimum(torch.maximum(best, lower), upper)
            return self.value(best) - slope * best


@dataclass(frozen=True)
class WaveRule(NonlinearRule[WaveT]):
    """Interval and lines of a wave.

    Attributes:
        wave: The function.
    """

    wave: _Wave

    def interval(
        self, operator: WaveT, inputs: Sequence[Interval], parameters: Parameters
    ) -> Interval:
        """Return the exact range."""
        lower, upper = inputs[0].lower, inputs[0].upper
        return Interval(-self.wave.negated.highest(lower, upper), self.wave.highest(lower, upper))

    def relax(
        self,
        operator: WaveT,
        inputs: Sequence[Interval],
        parameters: Parameters,
        slopes: Slopes,
    ) -> Relaxation:
        """Return a line above the wave, and one above its mirror image, mirrored."""
        lower, upper = inputs[0].lower.unsqueeze(1), inputs[0].upper.unsqueeze(1)
        above = self.wave.line_above(lower, upper)
        below = self.wave.negated.line_above(lower, upper)
        return enclosed(above, below, (torch.full_like(lower, -1), torch.ones_like(lower)))

    def passes_on(self, operator: WaveT) -> bool:
        """Return that it does: ranges are exact, and no piece is linear."""
        return True


sin_rule = WaveRule[Sin](_Wave(torch.sin, torch.cos, math.pi / 2))
cos_rule = WaveRule[Cos](_Wave(torch.cos, lambda x: -torch.sin(x), 0.0))
