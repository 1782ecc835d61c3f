"""Inputs worth trying in boxes: their centres, and where linear bounds are least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from models.network import Network
from solvers.attack.descent import Descent, descend
from solvers.attack.objectives import ClauseBatch
from solvers.attack.options import AttackOptions
from solvers.bracket import Bracket, Witness
from solvers.budget import Budget
from solvers.search.boxes.boxes import Boxes
from solvers.search.boxes.layout import Layout
from solvers.search.boxes.levels import Bounded

__all__ = ["Probe"]

_MEMORY = 1 << 28
_OFFERS = 4
"""Inputs of one batch that are handed to the independent runtime."""
_STARTS = 12
"""Inputs that descents begin from."""


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
        self._best: tuple[Tensor, Tensor, Tensor] | None = None

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
        return replace(boxes, reached=torch.minimum(*margins.chunk(2)))

    def _margins(self, case: Tensor, values: Tensor) -> Tensor:
        parts = []
        with torch.no_grad():
            for first in range(0, len(case), self._at_once):
                part = slice(first, first + self._at_once)
                y = self._network(self._layout.inputs(case[part], values[part])).flatten(1)
                parts.append(self._layout.margins(case[part], y))
        return torch.cat(parts)

    def _offer(self, case: Tensor, values: Tensor, margins: Tensor) -> None:
        """Offer the best inputs, and keep some for descents."""
        best = margins.topk(min(_STARTS, len(margins)), largest=False).indices
        self._best = (case[best], values[best], margins[best])
        for position in best[:_OFFERS].tolist():
            bracket = self._brackets[int(case[position])]
            margin = float(margins[position])
            if margin > 0 and margin >= bracket.upper:
                break
            one = self._layout.inputs(case[position : position + 1], values[position].unsqueeze(0))
            bracket.offer(self._witness, one[0].cpu().numpy())
            if bracket.counterexample is not None:
                break

    def descend(self, budget: Budget) -> None:
        """Go downhill from the best inputs of the last batch, within their whole regions."""
        if self._best is None:
            return
        case, values, _ = self._best
        cases = [self._brackets[int(index)].case for index in case]
        start = self._layout.inputs(case, values).float().unsqueeze(1)
        with torch.no_grad():
            y = self._network(start.squeeze(1).double()).flatten(1).cpu().numpy()
        clauses = []
        for one, outputs in zip(cases, y, strict=True):
            ranked = sorted(one.specification.clauses, key=lambda c: float(c.margin(outputs)))
            clauses.append(ranked[:1])
        count, shape = len(cases), start.shape[2:]
        descent = Descent(
            run=lambda x: self._network(x.double()).flatten(1).float(),
            lower=self._corner([c.region.lower for c in cases], shape),
            upper=self._corner([c.region.upper for c in cases], shape),
            start=start,
            clauses=ClauseBatch.of(clauses, start.device),
            target=torch.zeros(count, 1, dtype=torch.long, device=start.device),
            stride=torch.ones(count, 1, device=start.device),
            direction=torch.zeros(count, 1, self._network.output_size, device=start.device),
        )
        options = AttackOptions(steps=15, diversify_steps=0, step_fraction=0.03)
        found = descend(descent, options, budget)
        best = int(found.margin.argmin())
        bracket = self._brackets[int(case[best])]
        if float(found.margin[best]) < bracket.upper:
            bracket.offer(self._witness, found.x[best].double().cpu().numpy())

    def _corner(self, corners: Sequence[np.ndarray], shape: torch.Size) -> Tensor:
        stacked = torch.from_numpy(np.stack(corners)).float()
        return stacked.reshape(-1, 1, *shape).to(self._network.device)
