"""Bounds inside the network where a clause can still hold.

A counterexample lies where every row f of its clause is at most zero. The smaller a part of a
domain that is, the tighter are the bounds of neurons over it. For any weights λ ≥ 0 the function
z + Σ λ·(f − c) is at most z wherever all f ≤ c, so that every lower bound of it is one of z there.
The weights climb together with slopes and multipliers. What is proved on such bounds is
min(bound, c), which is enough to know that a margin is positive. Tighter bounds raise the margin's
own bound, which makes the part smaller: near the end, this goes on by itself until nothing is left.

Sources: Kotha et al. 2023 (INVPROP: output constraints tighten the bounds of hidden neurons);
Belotti et al. 2009 (bound tightening by an objective cutoff).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from solvers.budget import Budget
from solvers.search.neurons.ascent import Adam, Ascent
from solvers.search.neurons.bounding import Bounder
from solvers.search.neurons.branching import losses
from solvers.search.neurons.crossing import Terms, Traces
from solvers.search.neurons.domains import Domains
from solvers.search.neurons.functions import Functions, Limited
from solvers.search.neurons.layout import Layout, Slot
from solvers.search.neurons.refining import both_sides, emptied, start_of, tightened

__all__ = ["Focuser"]

_STEPS = 8
_RATE = 0.4
_REACH = 0.1
"""Where weights start, in widths of a neuron per missing margin."""
_WEIGHT_RATE = 0.03
_WORTH = 0.8
"""Rows are dropped when no more than this share of them is left."""
_COPY_BYTES = 1 << 24
"""What one of about twenty tensors of a climb may take."""


@dataclass(frozen=True, eq=False)
class _Task:
    """Domains whose values are bounded, and where.

    Attributes:
        domains: Whose slopes and multipliers are good for the clause.
        functions: Of every row of every domain.
        cutoff: Of the margin, shape `(domains,)`.
    """

    domains: Domains
    functions: Functions
    cutoff: Tensor

    def limits(self, domain: Tensor) -> Functions:
        """Return the clause's rows, less the cutoff, one after the other for every domain given."""
        per = self.domains.alpha.shape[1]
        index = (domain.unsqueeze(1) * per + torch.arange(per, device=domain.device)).flatten()
        rows = self.functions[index]
        cutoff = self.cutoff[domain].to(rows.offset.dtype).repeat_interleave(per)
        return Functions(rows.coefficients, rows.offset + cutoff)


class Focuser:
    """Tightens the bounds of values inside domains for margins up to a cutoff.

    Args:
        layout: Numbers the values.
        bounder: Bounds them.
        row_limit: Most rows of one pass.
    """

    def __init__(self, layout: Layout, bounder: Bounder, *, row_limit: int) -> None:
        self._layout, self._bounder = layout, bounder
        self._row_limit = max(2, min(row_limit, _COPY_BYTES // (4 * max(1, layout.size))))

    @property
    def values(self) -> int:
        """How many values a domain has at most."""
        return self._layout.size

    def passes(self, values: int) -> int:
        """Return how many rows cross the network, forward or back, to tighten some values."""
        return 2 * values * (_STEPS + 1)

    def focus(
        self, domains: Domains, functions: Functions, cutoff: Tensor, budget: Budget, most: int
    ) -> tuple[Domains, int]:
        """Tighten the bounds of domains; those found empty get the cutoff as a floor.

        Args:
            domains: With finite floors.
            functions: Of every row of every domain.
            cutoff: Above 0, shape `(domains,)`; bounds hold where all rows are at most that.
            budget: When to stop; what is tightened by then counts.
            most: How many values of a domain are looked at, the most influential ones.

        Returns:
            The domains, and how many values were looked at.
        """
        task = _Task(domains, functions, cutoff)
        lower, upper, chosen = domains.lower, domains.upper, self._chosen(task, most)
        for slot in self._layout.slots:
            if slot.node.name in self._bounder.scene.front:
                continue
            wanted = torch.zeros_like(chosen)
            wanted[:, slot.part] = chosen[:, slot.part]
            wanted &= self._layout.undecided(lower, upper) & ~(lower > upper).any(1, keepdim=True)
            rows = both_sides(wanted)
            for first in range(0, len(rows), self._row_limit):
                if budget.exhausted:
                    break
                part = rows[first : first + self._row_limit]
                found = self._bound(task, slot, part, lower, upper, budget=budget)
                lower, upper = tightened(lower, upper, part, found)
        return emptied(domains, lower, upper, cutoff), int(chosen.sum())

    def _chosen(self, task: _Task, most: int) -> Tensor:
        """Return the values whose relaxations cost the margin most, shape `(domains, size)`."""
        domains = task.domains
        undecided = self._layout.undecided(domains.lower, domains.upper)
        if most >= int(undecided.sum(1).max()):
            return undecided
        terms = domains.terms.to(self._bounder.dtype)
        traces = Traces.like(terms)
        self._bounder.passed(task.functions, Ascent(terms, self._layout, _RATE), traces)
        _, reach = losses(self._layout, terms, traces)
        reach = reach.reshape(len(domains), -1, reach.shape[1]).amax(1).nan_to_num()
        reach = torch.where(undecided, reach, -torch.ones_like(reach))
        places = reach.topk(min(most, reach.shape[1]), dim=1).indices
        return undecided & torch.zeros_like(undecided).scatter_(1, places, True)

    def _bound(
        self, task: _Task, slot: Slot, part: Tensor, lower: Tensor, upper: Tensor, *, budget: Budget
    ) -> Tensor:
        """Return lower bounds of values, or of their negatives, for rows of `both_sides`."""
        domain, value, side = part.unbind(1)
        domains = task.domains
        start = start_of(slot, value, side)
        low, high = lower[domain], upper[domain]
        width = (high - low).gather(1, value.unsqueeze(1))
        per = domains.alpha.shape[1]
        missing = domains.floor[domain].abs().clamp(min=1e-12).to(width.dtype)
        scale = (width / missing.unsqueeze(1)).expand(-1, per)
        limited = Limited(start, task.limits(domain), _REACH / per * scale)
        terms = Terms(
            low,
            high,
            domains.alpha[domain].mean(1),
            (limited.weights.unsqueeze(-1) * domains.gamma[domain]).sum(1),
        )
        climb = _Climb(self._bounder, self._layout, limited, terms, scale)
        return self._bounder.lower(*climb.best(budget))


class _Climb:
    """The ascent of weights, slopes and multipliers of values; the best iterates are kept.

    Args:
        bounder: Makes passes.
        layout: Numbers the values.
        limited: What is bounded, with the weights to start from.
        terms: To start from.
        scale: Length of weights, shape `(rows, rows_of_a_clause)`.
    """

    def __init__(
        self, bounder: Bounder, layout: Layout, limited: Limited, terms: Terms, scale: Tensor
    ) -> None:
        self._bounder, self._limited, self._scale = bounder, limited, scale
        self._state = Ascent(terms.to(bounder.dtype), layout, _RATE)
        self._adam = Adam(limited.weights)
        self._rows = torch.arange(limited.count, device=scale.device)
        started = self._state.terms
        self._value = started.lower.new_full((limited.count,), -torch.inf)
        self._terms = replace(started, alpha=started.alpha.clone(), gamma=started.gamma.clone())
        self._weights = limited.weights.clone()
        self._whole = limited

    def best(self, budget: Budget) -> tuple[Limited, Terms]:
        """Climb, and return with what the bounds were best; rows leave once they are decided."""
        for step in range(_STEPS + 1):
            traces = Traces.like(self._state.terms)
            passed = self._bounder.passed(self._limited, self._state, traces)
            self._note(passed.value)
            open_ = self._value[self._rows] <= 0
            if step == _STEPS or budget.exhausted or not bool(open_.any()):
                break
            self._move(traces, passed.places[self._bounder.scene.network.graph.output])
            left = open_.nonzero().squeeze(1)
            if len(left) <= _WORTH * len(open_):
                self._keep(left)
        return replace(self._whole, weights=self._weights), self._terms

    def _note(self, value: Tensor) -> None:
        better = (value > self._value[self._rows]).nonzero().squeeze(1)
        where, terms = self._rows[better], self._state.terms
        self._value[where] = value[better]
        self._terms.alpha[where], self._terms.gamma[where] = (
            terms.alpha[better],
            terms.gamma[better],
        )
        self._weights[where] = self._limited.weights[better]

    def _move(self, traces: Traces, outputs: Tensor) -> None:
        self._state.move(traces)
        pressure = self._limited.pressure(outputs[0].reshape(outputs.shape[1], -1)) * self._scale
        moved = self._adam.step(pressure.to(self._scale.dtype)) * self._scale
        weights = torch.add(self._limited.weights, moved, alpha=_WEIGHT_RATE).clamp(min=0)
        self._limited = replace(self._limited, weights=weights)

    def _keep(self, rows: Tensor) -> None:
        self._rows, self._scale = self._rows[rows], self._scale[rows]
        self._limited = self._limited[rows]
        self._adam.keep(rows)
        self._state.keep(rows)
