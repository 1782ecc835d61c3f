"""Inputs worth trying in boxes: their centres, and where linear bounds are least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from models.network import Network
from solvers.attack import AttackOptions, attack
from solvers.bracket import Bracket, Witness
from solvers.budget import Budget
from solvers.problem import Box, Case
from solvers.search.boxes.boxes import Boxes
from solvers.search.boxes.layout import Layout
from solvers.search.boxes.levels import Bounded

__all__ = ["Probe"]

_MEMORY = 1 << 28
_OFFERS = 4
"""Inputs of one batch that are handed to the independent runtime."""
_ATTACKED = 8
"""Boxes that are attacked because they look promising; as many others are, too."""
_NARROW = AttackOptions(restarts=4, samples=16, steps=20, diversify_steps=2, stop_at_first=True)
_WIDE = AttackOptions(restarts=200, samples=800, stop_at_first=True)
_MOST_DOUBLINGS = 3
"""Attacks of whole regions take twice as many restarts each time, so many times."""


class Probe:
    """Tries inputs and offers the best of them.

    Args:
        network: In float64.
        layout: Of the cases.
        brackets: One per case.
        witness: Judges what is offered.
    """

    def __init__(
        self, network: Network, layout: Layout, brackets: Sequence[Bracket], witness: Witness
    ) -> None:
        self._network, self._layout = network, layout
        self._brackets, self._witness = brackets, witness
        activations = sum(node.size for node in network.graph.nodes)
        self._at_once = max(1, _MEMORY // (8 * activations))
        self._attacked = network.to(torch.float32, network.device)
        self._random = torch.Generator().manual_seed(0)
        self._last: Boxes | None = None
        self._attacks = 0

    @property
    def falsified(self) -> bool:
        """Whether some case has a counterexample."""
        return any(bracket.counterexample is not None for bracket in self._brackets)

    def look(self, bounded: Bounded) -> Boxes:
        """Try the centre and the least corner of every box; return the boxes with what they saw."""
        boxes = bounded.boxes
        if not len(boxes):
            return boxes
        center = boxes.lower / 2 + boxes.upper / 2
        corner = torch.where(bounded.slopes > 0, boxes.lower, boxes.upper)
        values = torch.cat([center, corner])
        case = boxes.case.repeat(2)
        margins = self._margins(case, values)
        self._offer(case, values, margins)
        self._last = replace(boxes, reached=torch.minimum(*margins.chunk(2)), bounds={})
        return replace(boxes, reached=self._last.reached)

    def _margins(self, case: Tensor, values: Tensor) -> Tensor:
        parts = []
        with torch.no_grad():
            for first in range(0, len(case), self._at_once):
                part = slice(first, first + self._at_once)
                y = self._network(self._layout.inputs(case[part], values[part])).flatten(1)
                parts.append(self._layout.margins(case[part], y))
        return torch.cat(parts)

    def _offer(self, case: Tensor, values: Tensor, margins: Tensor) -> None:
        """Offer the best inputs."""
        best = margins.topk(min(_OFFERS, len(margins)), largest=False).indices
        for position in best.tolist():
            bracket = self._brackets[int(case[position])]
            margin = float(margins[position])
            if margin > 0 and margin >= bracket.upper:
                break
            one = self._layout.inputs(case[position : position + 1], values[position].unsqueeze(0))
            bracket.offer(self._witness, one[0].cpu().numpy())
            if bracket.counterexample is not None:
                break

    def descend(self, budget: Budget) -> None:
        """Attack whole regions, and boxes of the last batch, by turns."""
        self._attacks += 1
        if self._attacks % 2 or self._last is None:
            more = 2 ** min(self._attacks // 2, _MOST_DOUBLINGS)
            wide = replace(_WIDE, restarts=more * _WIDE.restarts, samples=more * _WIDE.samples)
            self._attack(self._open_cases(), wide, budget)
        else:
            self._attack(self._some_boxes(self._last), _NARROW, budget)

    def _open_cases(self) -> list[tuple[Bracket, Case]]:
        """Return the cases without a verdict that came closest to a counterexample."""
        waiting = [bracket for bracket in self._brackets if not bracket.decided]
        waiting.sort(key=lambda bracket: bracket.upper)
        return [(bracket, bracket.case) for bracket in waiting[:_ATTACKED]]

    def _some_boxes(self, boxes: Boxes) -> list[tuple[Bracket, Case]]:
        """Return the boxes of least margin as cases, and as many others."""
        best = boxes.reached.topk(min(_ATTACKED, len(boxes)), largest=False).indices
        others = torch.randperm(len(boxes), generator=self._random)[:_ATTACKED]
        some = boxes[torch.cat([best, others.to(best.device)])]
        region = self._layout.region(some.case, some.lower, some.upper)
        corners = zip(region.lower.cpu().numpy(), region.upper.cpu().numpy(), strict=True)
        brackets = [self._brackets[place] for place in some.case.tolist()]
        return [
            (bracket, Case(Box(lower, upper), bracket.case.specification))
            for (lower, upper), bracket in zip(corners, brackets, strict=True)
        ]

    def _attack(
        self, targets: Sequence[tuple[Bracket, Case]], options: AttackOptions, budget: Budget
    ) -> None:
        if not targets:
            return
        seeded = replace(options, seed=self._attacks)
        results = attack(self._attacked, [case for _, case in targets], seeded, budget=budget)
        order = sorted(range(len(results)), key=lambda place: results[place].margin)
        for place in order[:_OFFERS]:
            bracket, found = targets[place][0], results[place]
            if found.margin > 0 and found.margin >= bracket.upper:
                break
            bracket.offer(self._witness, found.candidate)
