"""Bounds inside a network that a proof stands on, with optimised slopes of their own.

Layer after layer, each on the bounds before it, as the checker derives them again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.operators import Relu
from solvers.budget import Budget
from solvers.proof.container import BoundGroup
from solvers.proof.producing.lines import slope_shares
from solvers.proof.producing.slopes import quantised
from solvers.search.neurons.bounding import Bounder, Start
from solvers.search.neurons.crossing import Terms, first_slopes
from solvers.search.neurons.layout import Layout, Slot, rounded_out

__all__ = ["Groups", "optimised_groups"]

_STEPS = 12
_ROW_BYTES = 1 << 26
_COPIES = 6
_OWN_ENTRIES = 6_000_000
"""More slopes than this, in all groups together, would make files large: rows share theirs."""
_MOST_ENTRIES = 50_000_000
"""Of the slopes of one tensor while they are optimised; beyond, adaptive ones have to do."""
_LEVELS = 31
"""Slopes are rounded to so many steps, which pack better than all that a byte holds."""


@dataclass
class Groups:
    """What was found.

    Attributes:
        groups: In topological order.
        lower, upper: Bounds of the layout's values, float32 rounded outward, shape `(values,)`.
    """

    groups: list[BoundGroup]
    lower: Tensor
    upper: Tensor


def optimised_groups(
    layout: Layout, bounder: Bounder, tensors: Mapping[str, str], budget: Budget
) -> Groups:
    """Optimise the bounds of every value that is undecided, until time is up.

    Args:
        layout: Numbers the values that adaptive bounds leave undecided.
        bounder: Of that layout.
        tensors: ONNX names by node.
        budget: Ends the work; what is found by then is kept.
    """
    work = _Work(layout, bounder, tensors, budget)
    # Before the first slot there is nothing whose slopes could be chosen.
    for slot in layout.slots[1:]:
        work.improve(slot)
    return Groups(work.groups, work.lower, work.upper)


class _Work:
    """The bounds so far."""

    def __init__(
        self, layout: Layout, bounder: Bounder, tensors: Mapping[str, str], budget: Budget
    ) -> None:
        self._layout, self._bounder = layout, bounder
        self._tensors, self._budget = tensors, budget
        self.groups: list[BoundGroup] = []
        self.lower, self.upper = layout.lower.clone(), layout.upper.clone()
        self._room = _OWN_ENTRIES
        widest = max(node.size for node in layout.network.graph.nodes)
        self._rows = max(2, _ROW_BYTES // (widest * 4 * _COPIES))

    def improve(self, slot: Slot) -> None:
        """Optimise both bounds of what a slot leaves undecided."""
        undecided = self._layout.undecided(self.lower.unsqueeze(0), self.upper.unsqueeze(0))
        wanted = undecided[0, slot.part].nonzero().squeeze(1)
        entries = 2 * len(wanted) * self._layout.size
        if self._budget.exhausted or not 0 < entries <= _MOST_ENTRIES:
            return
        at = torch.cat([wanted, wanted])
        sides = torch.cat([torch.zeros_like(wanted), torch.ones_like(wanted)])
        start = Start(slot.node, slot.indices[at], 1.0 - 2.0 * sides)
        alpha, lines = self._tidy(slot, self._climbed(start)), self._bounder.moves
        if len(alpha) * self._layout.size > self._room:
            if lines:
                return  # rows ask for lines on different sides: they cannot share them
            alpha = self._tidy(slot, alpha.mean(0, keepdim=True))
        self._room -= len(alpha) * self._layout.size
        parts = [
            (part, self._terms(part.count, self._part(alpha, first)))
            for first, part in self._parts(start)
        ]
        self._take(
            slot.part.start + at,
            sides,
            torch.cat([self._bounder.lower(part, terms) for part, terms in parts]),
        )
        if lines:
            alpha = torch.cat([slope_shares(self._bounder, *part) for part in parts])
            alpha[:, slot.part.start :] = 0
        self.groups.append(
            BoundGroup(
                self._tensors[slot.node.name],
                slot.indices[at].cpu().numpy().astype(np.int32),
                sides.cpu().numpy().astype(np.uint8),
                quantised(alpha, np.uint8),
                lines,
            )
        )

    def _parts(self, start: Start) -> Iterator[tuple[int, Start]]:
        """Yield rows in pieces that fit into the processor's caches."""
        for first in range(0, start.count, self._rows):
            yield first, start[first : first + self._rows]

    def _part(self, alpha: Tensor, first: int) -> Tensor:
        return alpha if len(alpha) == 1 else alpha[first : first + self._rows]

    def _climbed(self, start: Start) -> Tensor:
        """Return optimised slopes of every row; adaptive ones where time is up."""
        found = []
        for _, part in self._parts(start):
            terms = self._terms(part.count)
            if not self._budget.exhausted:
                climb = self._bounder.climb(
                    part, terms, steps=_STEPS, budget=self._budget, rate=0.3, until_positive=False
                )
                terms = climb.terms
            found.append(terms.alpha)
        return torch.cat(found)

    def _terms(self, rows: int, alpha: Tensor | None = None) -> Terms:
        lower, upper = self.lower.expand(rows, -1), self.upper.expand(rows, -1)
        slopes = first_slopes(lower, upper) if alpha is None else alpha.expand(rows, -1)
        if alpha is None and self._bounder.moves:
            slopes = torch.cat([slopes, self._layout.line_start.expand(rows, -1)], dim=1)
        return Terms(lower, upper, slopes, torch.zeros_like(lower))

    def _tidy(self, slot: Slot, alpha: Tensor) -> Tensor:
        """Round slopes, and put zeros where none matters: behind the slot, and where decided."""
        undecided = (self.lower < 0) & (self.upper > 0)
        undecided[slot.part.start :] = False
        for other in self._layout.slots:
            if not isinstance(other.owner.operator, Relu):
                undecided[other.part] = False
        size = self._layout.size
        steps = (alpha[:, :size] * undecided * _LEVELS).round() / _LEVELS
        # As the file holds them; where lines were moved, it holds what comes of that.
        held = (steps.double() * 255).round() / 255
        return torch.cat([held, alpha[:, size:].double()], dim=1)

    def _take(self, place: Tensor, sides: Tensor, lower: Tensor) -> None:
        """Intersect bounds with what was proved, rounded outward."""
        below, above = sides == 0, sides == 1
        index = place[below]
        self.lower[index] = torch.maximum(self.lower[index], rounded_out(lower[below], up=False))
        index = place[above]
        self.upper[index] = torch.minimum(self.upper[index], rounded_out(-lower[above], up=True))
