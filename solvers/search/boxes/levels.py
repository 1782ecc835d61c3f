"""Ways to bound the margins over boxes, from cheap to tight, and how each is carried out.

Every level stands on the bounds of nodes that boxes inherit from the box they were cut from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.network import Network
from solvers.bounds import Interval, MemoryBudget, Scene
from solvers.bounds.backward import Rows, concretize, pull_back
from solvers.bounds.crossing import whole
from solvers.bounds.forward import forward_bounds
from solvers.bounds.ibp import propagate, refinable_nodes
from solvers.bounds.intermediate import relaxations_of, select, tightened
from solvers.bounds.rules import Slopes
from solvers.budget import Budget
from solvers.search.boxes.boxes import Boxes
from solvers.search.boxes.layout import Layout

__all__ = ["LEVELS", "Bounded", "Engine", "Level"]

Bounds = dict[str, Interval]


@dataclass(frozen=True, eq=False)
class Bounded:
    """What one level proved of some boxes.

    Attributes:
        boxes: The same boxes with better bounds and fresh scores.
        slopes: Coefficients of the row that decides the weakest clause, over the inputs that
            vary, shape `(boxes, varying)`.
    """

    boxes: Boxes
    slopes: Tensor

    def __getitem__(self, index: Tensor) -> Bounded:
        """Return some of the boxes, by mask or position."""
        where = index.nonzero().squeeze(1) if index.dtype == torch.bool else index
        return Bounded(self.boxes[where], self.slopes[where])

    @classmethod
    def joined(cls, parts: list[Bounded]) -> Bounded:
        """Put parts together."""
        boxes = Boxes.joined([part.boxes for part in parts])
        return cls(boxes, torch.cat([part.slopes for part in parts]))


Level = Callable[[Scene, MemoryBudget, Mapping[str, Interval], Budget], Bounds]
"""Bounds every node over some boxes, given what they inherit."""


def _interval(
    scene: Scene, _memory: MemoryBudget, known: Mapping[str, Interval], _budget: Budget
) -> Bounds:
    return propagate(scene, known)


def _forward(
    scene: Scene, memory: MemoryBudget, known: Mapping[str, Interval], _budget: Budget
) -> Bounds:
    return forward_bounds(scene, memory, known)[0]


def _backward(
    scene: Scene, memory: MemoryBudget, known: Mapping[str, Interval], budget: Budget
) -> Bounds:
    return tightened(scene, Slopes(), memory, budget=budget, within=known)


LEVELS: Mapping[str, Level] = {
    "interval": _interval,
    "forward": _forward,
    "backward": _backward,
}
"""In the order of their cost."""


class Engine:
    """Bounds boxes by one level at a time.

    Args:
        network: In float64, affine parts folded.
        layout: Of the cases.
    """

    def __init__(self, network: Network, layout: Layout) -> None:
        self._network, self._layout = network, layout
        self._memory = MemoryBudget.for_device(network.device)
        scene = Scene(network, layout.region(*self._one()))
        # Of other nodes, bounds follow from these.
        self._inherited = {node.name for node in refinable_nodes(scene)}
        self._input = network.graph.input.name
        widest = layout.matrix.shape[1] * layout.matrix.shape[2] * layout.matrix.element_size()
        per_row = self._memory.examples(scene, max(64, layout.rows))
        self._at_once = max(1, min(per_row, self._memory.limit_bytes // widest))

    def _one(self) -> tuple[Tensor, Tensor, Tensor]:
        case = torch.zeros(1, dtype=torch.long, device=self._layout.lower.device)
        return case, self._layout.lower[:1], self._layout.upper[:1]

    @property
    def inherited(self) -> frozenset[str]:
        """Nodes of which boxes hand bounds down."""
        return frozenset(self._inherited)

    def bound(self, boxes: Boxes, level: str, budget: Budget) -> Bounded:
        """Bound the clauses of every box that are not proved yet."""
        parts = [
            self._bound(boxes[first : first + self._at_once], level, budget)
            for first in range(0, len(boxes), self._at_once)
        ]
        return Bounded.joined(parts)

    def _bound(self, boxes: Boxes, level: str, budget: Budget) -> Bounded:
        region = self._layout.region(boxes.case, boxes.lower, boxes.upper)
        scene = Scene(self._network, region)
        bounds = LEVELS[level](scene, self._memory, boxes.bounds, budget)
        rows, slopes = self._margins(scene, bounds, boxes)
        found = self._layout.clause_values(boxes.case, rows)
        clause_lower = torch.maximum(boxes.clause_lower, found)
        critical = self._critical(boxes.case, rows, clause_lower)
        chosen = slopes[torch.arange(len(boxes), device=slopes.device), critical]
        handed = {name: bounds[name] for name in self._inherited}
        scores = chosen.abs() * (boxes.upper - boxes.lower)
        better = replace(boxes, clause_lower=clause_lower, scores=scores, bounds=handed)
        return Bounded(better, chosen)

    def _margins(self, scene: Scene, bounds: Bounds, boxes: Boxes) -> tuple[Tensor, Tensor]:
        """Bound the rows of open clauses; others get −∞ and slopes of zero."""
        layout = self._layout
        owner = layout.clause[boxes.case]
        wanted = boxes.clause_lower.gather(1, owner) <= 0
        selection = select(wanted)
        count, most = selection.indices.shape
        matrix, offset = layout.rows_of(boxes.case)
        size = self._memory.rows(scene)
        varying = layout.active.numel()
        lower = offset.new_full((count, layout.rows), -torch.inf)
        slopes = offset.new_zeros(count, layout.rows, varying)
        relaxations = relaxations_of(scene, bounds, Slopes())
        output = self._network.graph.output
        for first in range(0, most, size):
            index = selection.indices[:, first : first + size]
            some = matrix.gather(1, index.unsqueeze(-1).expand(-1, -1, matrix.shape[2]))
            coefficients = some.reshape(*index.shape, *self._network.output_shape)
            rows = Rows({output: coefficients}, -offset.gather(1, index))
            pull_back(scene, rows, relaxations)
            found = concretize(scene, rows).nan_to_num(nan=-torch.inf)
            pull_back(scene, rows, relaxations, end=self._input)
            lower.scatter_(1, index, found)
            left = rows.coefficients.get(self._input)
            if left is not None:
                flat = whole(left).flatten(2)[..., layout.active]
                slopes.scatter_(1, index.unsqueeze(-1).expand_as(flat), flat)
        return lower, slopes

    def _critical(self, case: Tensor, rows: Tensor, clause_lower: Tensor) -> Tensor:
        """Return the row with the greatest bound of the clause with the least, `(boxes,)`."""
        weakest = clause_lower.argmin(1, keepdim=True)
        own = self._layout.clause[case] == weakest
        return rows.masked_fill(~own, -torch.inf).argmax(1)
