"""The ascent of slopes and multipliers, which are two flat tensors."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from solvers.search.neurons.crossing import Enclosing, ReluLines, Terms, Traces
from solvers.search.neurons.layout import Layout

__all__ = ["Adam", "Ascent"]

_MOMENTS = (0.5, 0.999)
_DECAY = 0.97
_TINY = 1e-12
"""Keeps steps finite where a gradient has always been zero."""


class Adam:
    """Steps of one tensor, row by row, by Adam (Kingma and Ba 2015).

    Args:
        like: Of the tensor's shape.
    """

    def __init__(self, like: Tensor) -> None:
        self._first, self._second = torch.zeros_like(like), torch.zeros_like(like)
        self._taken = 0

    def keep(self, rows: Tensor) -> None:
        """Go on with some of the rows."""
        self._first, self._second = self._first[rows], self._second[rows]

    def step(self, gradient: Tensor) -> Tensor:
        """Return the next step up, in units of the rate; steps get shorter with time."""
        self._taken += 1
        decay, decay2 = _MOMENTS
        self._first.mul_(decay).add_(gradient, alpha=1 - decay)
        self._second.mul_(decay2).addcmul_(gradient, gradient, value=1 - decay2)
        mean = self._first * (_DECAY ** (self._taken - 1) / (1 - decay**self._taken))
        size = (self._second / (1 - decay2**self._taken)).sqrt_()
        return mean.div_(size.add_(_TINY))


class Ascent:
    """Where a climb stands, and its next step.

    Args:
        terms: Where it begins.
        layout: Of the values.
        rate: Length of the first step, in slopes; multipliers move in proportion to the
            coefficients that they are added to.
    """

    def __init__(self, terms: Terms, layout: Layout, rate: float) -> None:
        self.terms = replace(terms, alpha=terms.alpha.clone(), gamma=terms.gamma.clone())
        self.lines = ReluLines.of(self.terms)
        self.enclosures: dict[str, Enclosing] = {}
        self._rate = rate
        self._slopes, self._multipliers = Adam(terms.alpha), Adam(terms.gamma)
        self._scale: Tensor | None = None
        self._layout = layout
        self._free = layout.cut(terms.lower, terms.upper)

    def keep(self, rows: Tensor) -> None:
        """Go on with some of the rows."""
        self.terms, self.lines = self.terms[rows], self.lines.rows(rows)
        self.enclosures = {}
        self._slopes.keep(rows)
        self._multipliers.keep(rows)
        self._free = self._free[rows]
        if self._scale is not None:
            self._scale = self._scale[rows]

    def move(self, traces: Traces) -> None:
        """Make one step."""
        if self._scale is None:
            # Only bounds that splits impose: the others hold by themselves, or nearly so, and
            # multipliers that hover around zero slow the climb down.
            self._scale = _scale(traces, self._layout) * self._free
        terms = self.terms
        slope = (traces.pull.clamp(min=0) * traces.place).masked_fill_(~self.lines.unstable, 0)
        if traces.steepness is not None:
            slope = torch.cat([slope, traces.steepness], dim=1)
        terms.alpha.add_(self._slopes.step(slope), alpha=self._rate).clamp_(0, 1)
        moved = self._multipliers.step(_pressure(terms, traces.place)).mul_(self._scale)
        before = terms.gamma.clone()
        terms.gamma.add_(moved, alpha=self._rate)
        # A multiplier that changes sign would pay for the other bound: it stops at zero first.
        terms.gamma.masked_fill_(before * terms.gamma < 0, 0)
        self.lines = self.lines.with_alpha(terms.slopes)


def _pressure(terms: Terms, place: Tensor) -> Tensor:
    """Return the bounds' derivative in γ: z* − u where γ > 0, z* − l where γ < 0.

    At 0 it is how far z* lies outside of [l, u].
    """
    gamma = terms.gamma
    inside = torch.maximum(torch.minimum(place, terms.upper), terms.lower)
    nearest = torch.where(gamma > 0, terms.upper, torch.where(gamma < 0, terms.lower, inside))
    return place - nearest


def _scale(traces: Traces, layout: Layout) -> Tensor:
    """Return the mean size of the coefficients at every slot, spread over its values."""
    scale = torch.empty_like(traces.pull)
    for slot in layout.slots:
        part = slot.part
        scale[:, part] = traces.pull[:, part].abs().mean(1, keepdim=True)
    return scale
