"""Bounds inside the network, computed afresh in domains by climbs.

A split of an early neuron tightens everything behind it, layer by layer. Bounds of the region,
which domains would inherit, know nothing of that: in deep dense networks they are what keeps
margins far below zero. Here every value that a domain leaves undecided is bounded again, with
slopes and multipliers of its own (Wang et al. 2021), so that the splits of the domain count, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from solvers.budget import Budget
from solvers.search.neurons.bounding import Bounder, Climb
from solvers.search.neurons.crossing import Terms
from solvers.search.neurons.functions import Start
from solvers.search.neurons.influence import Sensitivity
from solvers.search.neurons.layout import Layout, Slot
from solvers.search.neurons.refining import behind, both_sides, start_of, tightened

__all__ = ["Passes", "Rebounder"]

Passes = Callable[[Tensor, Tensor], None]
"""Told of bounds that passes improved, rows as of `both_sides`, and of their slopes, which are
whole numbers of 255ths and have the values in front of them alone."""

_CLIMBED = 3
"""A step of a climb costs as much as this many plain passes."""
_TIMED, _TIMED_ROWS = 3, 256
_LEVELS = 15
"""Slopes that are told of are rounded to so many steps, which pack well."""


class Rebounder:
    """Bounds the undecided values of domains.

    Args:
        layout: Numbers the values, all of them inputs of ReLUs.
        bounder: Bounds them.
        row_limit: Most rows of one pass.
    """

    def __init__(self, layout: Layout, bounder: Bounder, *, row_limit: int) -> None:
        self._layout, self._bounder, self._row_limit = layout, bounder, row_limit
        self._slots = behind(layout, bounder)

    @property
    def values(self) -> int:
        """How many values a domain has at most that are bounded again."""
        return sum(len(slot.indices) for slot in self._slots)

    def seconds(self, steps: int) -> float:
        """Return how long a domain takes at most, about, by passes from its last layer."""
        if self.values == 0:
            return 0.0
        slot, layout = self._slots[-1], self._layout
        # No more than a pass may have: on large networks so many rows fill the memory.
        count = min(_TIMED_ROWS, self._row_limit)
        rows = torch.arange(count, device=layout.lower.device) % len(slot.indices)
        part = torch.stack([torch.zeros_like(rows), rows + slot.part.start, rows % 2], dim=1)
        one = layout.lower.unsqueeze(0), layout.upper.unsqueeze(0)
        start, terms = self._start(slot, part), self._terms(*one, part)
        took = []
        for _ in range(_TIMED):
            began = time.thread_time()  # the same on a busy machine
            self._bounder.estimate(start, terms)
            took.append(time.thread_time() - began)
        return 2 * self.values * (1 + _CLIMBED * steps) * min(took) / len(rows)

    def tighten(
        self,
        lower: Tensor,
        upper: Tensor,
        *,
        steps: int,
        budget: Budget,
        seen: Passes | None = None,
    ) -> tuple[Tensor, Tensor, list[tuple[Tensor, Sensitivity]]]:
        """Bound undecided values again, layer by layer.

        Args:
            lower: Bounds of the values in each domain, shape `(domains, size)`.
            upper: The same.
            steps: Most gradient steps of a climb.
            budget: When to stop; what is tightened by then counts.
            seen: Told of what others need to follow: bounds are then those of rounded slopes
                without multipliers.

        Returns:
            Bounds, which cross where a domain is empty, and what they depend on, layer by layer.
        """
        sensed = []
        for slot in self._slots:
            rows = self._rows(slot, lower, upper)
            for first in range(0, len(rows), self._row_limit):
                if budget.exhausted:
                    break
                part = rows[first : first + self._row_limit]
                start, terms = self._start(slot, part), self._terms(lower, upper, part)
                climb = self._bounder.climb(start, terms, steps=steps, budget=budget)
                before = slot.part.start
                found = Sensitivity.of(self._layout, climb.terms, climb.traces, before=before)
                sensed.append((part, found))
                chosen = climb.terms if seen is None else self._tidy(slot, climb)
                value = self._bounder.lower(start, chosen)
                if seen is not None:
                    domain, place, side = part.unbind(1)
                    known = torch.where(side == 0, lower[domain, place], -upper[domain, place])
                    better = value > known
                    told = chosen.alpha[better, :before].double() * 255
                    seen(part[better], told.round().to(torch.uint8))
                lower, upper = tightened(lower, upper, part, value)
        return lower, upper, sensed

    def _tidy(self, slot: Slot, climb: Climb) -> Terms:
        """Return rounded slopes, zero where none matters, and no multipliers."""
        terms = climb.terms
        used = (terms.lower < 0) & (terms.upper > 0) & (climb.traces.pull > 0)
        used[:, slot.part.start :] = False
        steps = (terms.alpha * used * _LEVELS).round() * (255 // _LEVELS)
        # As a file holds them, in the precision of the bounds that count.
        kind = self._bounder.exact_dtype
        return replace(terms.to(kind), alpha=steps.to(kind) / 255, gamma=terms.gamma.to(kind) * 0)

    def guessed(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Return about what bounds a single pass would find; they prove nothing."""
        for slot in self._slots:
            rows = self._rows(slot, lower, upper)
            for first in range(0, len(rows), self._row_limit):
                part = rows[first : first + self._row_limit]
                start, terms = self._start(slot, part), self._terms(lower, upper, part)
                found = self._bounder.estimate(start, terms)
                lower, upper = tightened(lower, upper, part, found)
        return lower, upper

    def _rows(self, slot: Slot, lower: Tensor, upper: Tensor) -> Tensor:
        """Return the bounds to find, one domain after the other, rows as of `both_sides`."""
        wanted = torch.zeros_like(lower, dtype=torch.bool)
        wanted[:, slot.part] = self._layout.undecided(lower, upper)[:, slot.part]
        wanted &= ~(lower > upper).any(1, keepdim=True)
        rows = both_sides(wanted)
        return rows[rows[:, 0].argsort(stable=True)]

    def _start(self, slot: Slot, part: Tensor) -> Start:
        return start_of(slot, part[:, 1], part[:, 2])

    def _terms(self, lower: Tensor, upper: Tensor, part: Tensor) -> Terms:
        low, high = lower[part[:, 0]], upper[part[:, 0]]
        return Terms(low, high, (high > -low).to(low.dtype), torch.zeros_like(low))
