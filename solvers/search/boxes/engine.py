"""Bounds of whole boxes by one level: nodes first, then the rows of clauses that are open."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace

import torch
from torch import Tensor

from models.network import Network
from solvers.bounds import MemoryBudget, Scene, rounding_allowance
from solvers.bounds.backward import Rows, concretize, pull_back
from solvers.bounds.crossing import whole
from solvers.bounds.ibp import refinable_nodes
from solvers.bounds.intermediate import relaxations_of, select
from solvers.bounds.rules import Slopes
from solvers.budget import Budget
from solvers.search.boxes.boxes import Boxes
from solvers.search.boxes.layout import Layout
from solvers.search.boxes.levels import LEVELS, Bounded, Bounds, Level

__all__ = ["Engine", "PaddedEngine"]


class Engine(ABC):
    """Bounds boxes by one level at a time.

    Args:
        network: In float64, affine parts folded.
        layout: Of the cases.

    Attributes:
        levels: Those that differ here, from cheap to tight.
    """

    levels: tuple[Level, ...] = (Level.INTERVAL, Level.FORWARD, Level.BACKWARD)

    def __init__(self, network: Network, layout: Layout) -> None:
        self.network, self.layout = network, layout
        self.memory = MemoryBudget.for_device(network.device)
        one = torch.zeros(1, dtype=torch.long, device=layout.lower.device)
        scene = Scene(network, layout.region(one, layout.lower[:1], layout.upper[:1]))
        # Of other nodes, bounds follow from these.
        self.inherited = tuple(node.name for node in refinable_nodes(scene))
        rows, outputs = layout.matrix.shape[1:]
        fitting = self.memory.examples(scene, max(64, layout.rows))
        matrices = self.memory.limit_bytes // (rows * outputs * layout.matrix.element_size())
        self._at_once = max(1, min(fitting, matrices))

    def bound(self, boxes: Boxes, level: Level, budget: Budget) -> Bounded:
        """Bound the clauses of every box that are not proved yet.

        Raises:
            UnsupportedMethodError: The level does not suit the network.
        """
        parts = [
            self.step(boxes[first : first + self._at_once], level, budget)
            for first in range(0, len(boxes), self._at_once)
        ]
        return Bounded.joined(parts)

    @abstractmethod
    def step(self, boxes: Boxes, level: Level, budget: Budget) -> Bounded:
        """Bound as many boxes as fit into memory at once."""

    def scene(self, boxes: Boxes) -> Scene:
        """Return the network over boxes."""
        return Scene(self.network, self.layout.region(boxes.case, boxes.lower, boxes.upper))

    def allowance(self, bounds: Bounds, box: Tensor, matrix: Tensor, offset: Tensor) -> Tensor:
        """Return what rounding of the margins' own terms may amount to.

        Args:
            bounds: Of every node over some boxes.
            box: Which of them each row is about, shape `(rows,)`.
            matrix: Of rows, shape `(rows, outputs)`.
            offset: Shape `(rows,)`.

        Returns:
            Shape `(rows,)`.
        """
        output = bounds[self.network.graph.output]
        size = torch.maximum(output.lower.abs(), output.upper.abs()).flatten(1)
        return rounding_allowance(matrix, offset, size[box])

    def wanted(self, boxes: Boxes) -> Tensor:
        """Return the rows whose clauses are open, a mask of shape `(boxes, rows)`."""
        return boxes.clause_lower.gather(1, self.layout.clause[boxes.case]) <= 0

    def critical(self, case: Tensor, rows: Tensor, clause_lower: Tensor) -> Tensor:
        """Return the row with the greatest bound of the clause with the least.

        Args:
            case: Of each box, shape `(boxes,)`.
            rows: Bounds of rows, shape `(boxes, rows)`.
            clause_lower: Bounds of clauses, shape `(boxes, clauses)`.

        Returns:
            Shape `(boxes,)`.
        """
        weakest = clause_lower.argmin(1, keepdim=True)
        own = self.layout.clause[case] == weakest
        return rows.masked_fill(~own, -torch.inf).argmax(1)


class PaddedEngine(Engine):
    """Keeps boxes as examples of a batch, which have equally many rows: for any network."""

    def step(self, boxes: Boxes, level: Level, budget: Budget) -> Bounded:
        """Bound as many boxes as fit into memory at once."""
        scene = self.scene(boxes)
        bounds = LEVELS[level](scene, self.memory, boxes.bounds, budget)
        rows, slopes = self._margins(scene, bounds, boxes)
        found = self.layout.clause_values(boxes.case, rows)
        clause_lower = torch.maximum(boxes.clause_lower, found)
        critical = self.critical(boxes.case, rows, clause_lower)
        chosen = slopes[torch.arange(len(boxes), device=slopes.device), critical]
        better = replace(
            boxes,
            clause_lower=clause_lower,
            scores=chosen.abs() * (boxes.upper - boxes.lower),
            bounds={name: bounds[name] for name in self.inherited},
        )
        return Bounded(better, chosen)

    def _margins(self, scene: Scene, bounds: Bounds, boxes: Boxes) -> tuple[Tensor, Tensor]:
        """Bound the rows of open clauses; others get −∞ and slopes of zero."""
        layout = self.layout
        selection = select(self.wanted(boxes))
        matrix, offset = layout.rows_of(boxes.case)
        lower = torch.full_like(offset, -torch.inf)
        slopes = offset.new_zeros(*offset.shape, layout.active.numel())
        relaxations = relaxations_of(scene, bounds, Slopes())
        size, start = self.memory.rows(scene), self.network.graph.input.name
        for first in range(0, selection.rows, size):
            index = selection.indices[:, first : first + size]
            some = matrix.gather(1, index.unsqueeze(-1).expand(-1, -1, matrix.shape[2]))
            coefficients = some.reshape(*index.shape, *self.network.output_shape)
            rows = Rows({self.network.graph.output: coefficients}, -offset.gather(1, index))
            pull_back(scene, rows, relaxations)
            found = concretize(scene, rows) - self._allowed(bounds, some, offset.gather(1, index))
            lower.scatter_(1, index, found.nan_to_num(nan=-torch.inf))
            pull_back(scene, rows, relaxations, end=start)
            left = rows.coefficients.get(start)
            if left is not None:
                at_input = whole(left).flatten(2)[..., layout.active]
                slopes.scatter_(1, index.unsqueeze(-1).expand_as(at_input), at_input)
        return lower, slopes

    def _allowed(self, bounds: Bounds, matrix: Tensor, offset: Tensor) -> Tensor:
        """Return the allowance of rows of shape `(boxes, rows, outputs)`."""
        count, rows = offset.shape
        box = torch.arange(count, device=offset.device).repeat_interleave(rows)
        flat = self.allowance(bounds, box, matrix.flatten(0, 1), offset.flatten())
        return flat.reshape(count, rows)
