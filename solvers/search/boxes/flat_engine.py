"""Bounds of thousands of small boxes at once, and of weighted sums of rows."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.network import Network
from solvers.bounds import BoundOptions, Scene
from solvers.bounds.alpha import optimised
from solvers.bounds.backward import Rows
from solvers.bounds.interval import ROUNDING_UNITS
from solvers.budget import Budget
from solvers.search.boxes.boxes import Boxes
from solvers.search.boxes.engine import Engine, PaddedEngine
from solvers.search.boxes.flat import FlatPass, Traced, fits_flat
from solvers.search.boxes.layout import Layout
from solvers.search.boxes.levels import LEVELS, Bounded, Level
from solvers.search.boxes.narrowing import narrowed
from solvers.search.boxes.weights import best_weights

__all__ = ["FlatEngine", "engine_for"]

_LINEAR_SHARE = 0.1
"""How much a change of the margin along an input counts beside the looseness it brings.

A linear function is not bounded any better in halves of a box; but which row of a clause is best,
and whether looseness is left at all, may change along it.
"""
_CLIMB_SHARE = 0.5
"""Moving slopes may take so much of the time that all else took."""
_CLIMB = BoundOptions(iterations=20, optimise_intermediate=False, stop_when_positive=True)
_TRACED = {Level.BACKWARD, Level.SLOPES}
_LEAST_GAIN = 0.02
"""A weighted sum is bounded where linear bounds promise so much more than the best row has."""


def engine_for(network: Network, layout: Layout) -> Engine:
    """Return the engine that suits a network, over the inputs that vary where that is enough."""
    network, layout = narrowed(network, layout)
    padded = PaddedEngine(network, layout)
    one = torch.zeros(1, dtype=torch.long, device=layout.lower.device)
    region = layout.region(one, layout.lower[:1], layout.upper[:1])
    return FlatEngine(network, layout) if fits_flat(network, region) else padded


@dataclass(frozen=True, eq=False)
class _Deciding:
    """One row per box: the one that its weakest clause hangs on.

    Attributes:
        box: Positions of boxes that are open, shape `(open,)`.
        traced: The row of each.
    """

    box: Tensor
    traced: Traced


class FlatEngine(Engine):
    """Keeps the rows of all boxes side by side: for dense networks with elementwise nonlinearities.

    Clauses of several rows are tried once more by the best weighted sum of these, and inputs are
    scored by how much of the looseness of a bound they are to blame for.
    """

    levels = tuple(Level)

    def step(self, boxes: Boxes, level: Level, budget: Budget) -> Bounded:
        """Bound as many boxes as fit into memory at once."""
        scene = self.scene(boxes)
        work, began = FlatPass(scene), time.perf_counter()
        if level in _TRACED:
            work.tighten(boxes.bounds, budget)
        else:
            work.bounds = LEVELS[level](scene, self.memory, boxes.bounds, budget)
        boxes = replace(boxes, bounds={name: work.bounds[name] for name in self.inherited})
        box, row = self.wanted(boxes).nonzero().unbind(1)
        traced = self._rows(work, boxes.case[box], row, box)
        bounded = self._judged(work, boxes, (box, row), traced, level)
        if level is not Level.SLOPES:
            return bounded
        spare = budget.at_most(_CLIMB_SHARE * (time.perf_counter() - began))
        return self._climbed(work, bounded, (box, row), traced.lower, spare)

    def _rows(self, work: FlatPass, case: Tensor, row: Tensor, box: Tensor) -> Traced:
        """Pull single rows back."""
        parts = []
        for part in work.parts(len(box)):
            matrix, offset = self.layout.single_rows(case[part], row[part])
            parts.append(self._traced(work, matrix, offset, box[part]))
        return Traced.joined(parts)

    def _traced(self, work: FlatPass, matrix: Tensor, offset: Tensor, box: Tensor) -> Traced:
        coefficients = matrix.reshape(1, -1, *self.network.output_shape)
        rows = Rows({self.network.graph.output: coefficients}, -offset.unsqueeze(0))
        traced = work.trace(rows, box, note=True)
        allowed = self.allowance(work.bounds, box, matrix, offset)
        return replace(traced, lower=traced.lower - allowed)

    def _climbed(
        self,
        work: FlatPass,
        bounded: Bounded,
        place: tuple[Tensor, Tensor],
        lower: Tensor,
        budget: Budget,
    ) -> Bounded:
        """Move the slopes of the best row of every clause that is open.

        Args:
            work: What the boxes' nodes are known to be.
            bounded: All boxes, their clauses bounded by the slopes that relaxations choose.
            place: Box and row of what was bounded.
            lower: The bounds of these rows.
            budget: For one step at least.
        """
        layout, boxes, (box, row) = self.layout, bounded.boxes, place
        known = boxes.clause_lower.flatten()
        clause = box * boxes.clause_lower.shape[1] + layout.clause[boxes.case[box], row]
        lower = lower.nan_to_num(nan=-torch.inf)
        best = torch.full_like(known, -torch.inf).scatter_reduce(0, clause, lower, "amax")
        index = ((lower == best[clause]) & (known[clause] <= 0)).nonzero().squeeze(1)
        if not len(index):
            return bounded
        box, row, clause = box[index], row[index], clause[index]
        matrix, offset = layout.single_rows(boxes.case[box], row)
        final = matrix.reshape(-1, 1, *self.network.output_shape), offset.unsqueeze(1)
        region = layout.region(boxes.case[box], boxes.lower[box], boxes.upper[box])
        bounds = {name: interval[box] for name, interval in work.bounds.items()}
        with torch.enable_grad():
            climbed = optimised(Scene(self.network, region), final, bounds, _CLIMB, budget)
        found = climbed.lower[:, 0] - self.allowance(work.bounds, box, matrix, offset)
        found = found.nan_to_num(nan=-torch.inf)
        better = known.scatter_reduce(0, clause, found, "amax").reshape(boxes.clause_lower.shape)
        return replace(bounded, boxes=replace(boxes, clause_lower=better))

    def _judged(
        self,
        work: FlatPass,
        boxes: Boxes,
        place: tuple[Tensor, Tensor],
        traced: Traced,
        level: Level,
    ) -> Bounded:
        """Turn bounds of rows into bounds of clauses, slopes and scores."""
        layout = self.layout
        lower = boxes.lower.new_full((len(boxes), layout.rows), -torch.inf)
        lower[place] = traced.lower.nan_to_num(nan=-torch.inf)
        clause_lower = torch.maximum(boxes.clause_lower, layout.clause_values(boxes.case, lower))
        index = torch.zeros_like(lower, dtype=torch.long)
        index[place] = torch.arange(len(traced.lower), device=index.device)
        critical = self.critical(boxes.case, lower, clause_lower)
        chosen = index.gather(1, critical.unsqueeze(1)).squeeze(1)
        slopes = traced.at_input[chosen][:, layout.active]
        scores = slopes.abs() * (boxes.upper - boxes.lower)
        box = (clause_lower.amin(1) <= 0).nonzero().squeeze(1)
        if not len(box):
            return Bounded(replace(boxes, clause_lower=clause_lower, scores=scores), slopes)
        deciding = _Deciding(box, traced[chosen[box]])
        if layout.has_sums:
            deciding = self._summed(work, boxes, (index, traced), clause_lower, deciding)
        slopes[deciding.box] = deciding.traced.at_input[:, layout.active]
        if level in _TRACED:
            # Other levels do not know how nodes depend on the inputs.
            blame = work.looseness(deciding.box, deciding.traced.seen, layout.active)
            scores[deciding.box] = blame + _LINEAR_SHARE * scores[deciding.box]
        return Bounded(replace(boxes, clause_lower=clause_lower, scores=scores), slopes)

    def _summed(
        self,
        work: FlatPass,
        boxes: Boxes,
        rows: tuple[Tensor, Traced],
        clause_lower: Tensor,
        deciding: _Deciding,
    ) -> _Deciding:
        """Bound the best weighted sum of the rows of each open box's weakest clause.

        Args:
            work: What the boxes' nodes are known to be.
            boxes: All boxes.
            rows: Where each box's rows lie, shape `(boxes, rows)`, among those traced.
            clause_lower: Bounds of all clauses; improved in place.
            deciding: The best single rows of open boxes.

        Returns:
            The sums where these are better than single rows.
        """
        layout, (index, traced), box = self.layout, rows, deciding.box
        weakest = clause_lower[box].argmin(1, keepdim=True)
        own = layout.clause[boxes.case[box]] == weakest
        at = index[box]
        slopes = traced.at_input[at][..., layout.active]
        radius = (boxes.upper - boxes.lower)[box] / 2
        center = traced.lower[at] + (slopes.abs() * radius.unsqueeze(1)).sum(2)
        weights, gain = best_weights(slopes, center, radius, own)
        worthwhile = (gain > _LEAST_GAIN).nonzero().squeeze(1)
        if not len(worthwhile):
            return deciding
        box, weakest, weights = box[worthwhile], weakest[worthwhile], weights[worthwhile]
        matrix, offset = layout.rows_of(boxes.case[box])
        summed = torch.bmm(weights.unsqueeze(1), matrix).squeeze(1)
        threshold = (weights * offset).sum(1)
        parts = [
            self._traced(work, summed[part], threshold[part], box[part])
            for part in work.parts(len(box))
        ]
        found = Traced.joined(parts)
        lower = self._careful(work, found.lower, weights, (box, matrix, offset))
        old = clause_lower[box].gather(1, weakest)
        new = torch.maximum(old, lower.nan_to_num(nan=-torch.inf).unsqueeze(1))
        clause_lower[box] = clause_lower[box].scatter(1, weakest, new)
        return _Deciding(deciding.box, deciding.traced.replaced(worthwhile, found))

    def _careful(
        self,
        work: FlatPass,
        lower: Tensor,
        weights: Tensor,
        rows: tuple[Tensor, Tensor, Tensor],
    ) -> Tensor:
        """Lower the bound of a sum by what rounding of the sum itself may cost, and of weights.

        The sum's coefficients are off by a few units of what was added up, times the outputs.
        Weights add up to S, about 1, and the margin is at least the sum divided by S.
        """
        box, matrix, offset = rows
        output = work.bounds[self.network.graph.output]
        size = torch.maximum(output.lower.abs(), output.upper.abs()).flatten(1)[box]
        reach = torch.bmm(matrix.abs(), size.unsqueeze(-1)).squeeze(-1) + offset.abs()
        unit = ROUNDING_UNITS * torch.finfo(torch.float64).eps
        slack = unit * ((weights * reach).sum(1) + lower.abs())
        return (lower - slack) / weights.sum(1)
