"""FastC2V: margins, and where it may decide them the bounds inside, by passes with cuts.

Cuts pay most in the bounds of hidden values, layer after layer, but that costs several times what
CROWN does. So it is done where it can turn an open margin into a proof: not where everything is
proved already, nor where the bound is too far off.

Source: Tjandraatmadja et al. 2020, section 4 (FastC2V).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from models.graph import Node
from solvers.bounds.backward import Scene
from solvers.bounds.cut_passes import (
    RowSlopes,
    Tightening,
    rows_with_cuts,
    tightened_rows,
    tightened_values,
)
from solvers.bounds.ibp import interval_of, nonlinear_depth, refinable_nodes
from solvers.bounds.intermediate import example_groups, select, undecided_in
from solvers.bounds.interval import Interval
from solvers.bounds.memory import MemoryBudget
from solvers.budget import Budget

__all__ = ["Effort", "FastC2V"]

Bounds = Mapping[str, Interval]

_SHRINKAGE = 1.35
"""What a layer's worth of cuts divides the distance of a margin's bound from its value at the
region's centre by: measured on fully connected MNIST networks of 2 to 9 layers, one round of 4
cuts. Only whether more work is spent depends on it."""


@dataclass(frozen=True)
class Effort:
    """How hard to try.

    Attributes:
        margins: For the margins themselves.
        inside: For the values of hidden layers.
        reach: An input's hidden layers are tightened if its open margins' bounds lie within this
            factor per layer of their values at the region's centre.
        worth: Hidden layers behind one whose undecided intervals keep more than this share of their
            widths are left as they are.
    """

    margins: Tightening = field(default_factory=Tightening)
    inside: Tightening = field(default_factory=lambda: Tightening(1, 4, (1.0,)))
    reach: float = _SHRINKAGE
    worth: float = 1.0

    @classmethod
    def inside_first(cls) -> Effort:
        """Return the effort to tighten hidden layers for a search, which all its domains inherit.

        Dense layers gain a tenth to a fifth, convolutions of small fields one or two hundredths,
        which is not worth their passes.
        """
        return cls(inside=Tightening(2, 16), reach=math.inf, worth=0.95)


@dataclass(frozen=True)
class FastC2V:
    """The method on one batch.

    Attributes:
        scene: Network and regions, without perturbed parameters.
        matrix, offset: The margins: coefficients of the output, `(batch, rows, *output_shape)`, and
            what is subtracted, `(batch, rows)`.
        slopes: Of the lower lines; those of single rows are the margins'.
        memory: Limits how many rows are in flight.
        budget: Ends the work early, with what is proved by then.
        effort: How hard to try.
    """

    scene: Scene
    matrix: Tensor
    offset: Tensor
    slopes: RowSlopes
    memory: MemoryBudget
    budget: Budget
    effort: Effort = field(default_factory=Effort)

    def run(self, bounds: Bounds, start: Tensor) -> tuple[Tensor, dict[str, Interval]]:
        """Tighten margins and bounds.

        Args:
            bounds: Sound bounds of every node, such as CROWN's.
            start: Bounds of the margins, `(batch, rows)`: those that come out are no looser.

        Returns:
            Bounds of the margins and of every node.
        """
        best = self.margins(bounds, start)
        known = dict(bounds)
        chosen = torch.nonzero(self._worth_more(best)).flatten()
        if not chosen.numel() or self.budget.exhausted:
            return best, known
        part = self._examples(chosen)
        inside = part.inside({name: interval[chosen] for name, interval in bounds.items()})
        best = best.index_copy(0, chosen, part.margins(inside, best[chosen]))
        for name, interval in inside.items():
            known[name] = known[name].put(chosen, interval)
        return best, known

    def _examples(self, index: Tensor) -> FastC2V:
        """Return the method on some of the examples."""
        return replace(
            self,
            scene=self.scene[index],
            matrix=self.matrix[index],
            offset=self.offset[index],
            slopes=self.slopes.examples(index),
        )

    def margins(self, bounds: Bounds, start: Tensor) -> Tensor:
        """Tighten the margins that are not positive, and the least of every example."""
        wanted = (start <= 0) | (start <= start.amin(1, keepdim=True))
        groups = example_groups(wanted)
        if groups is None:
            return self._margins(bounds, start, wanted)
        for index in groups:
            part = self._examples(index)
            inside = {name: interval[index] for name, interval in bounds.items()}
            start = start.index_copy(0, index, part._margins(inside, start[index], wanted[index]))
        return start

    def _margins(self, bounds: Bounds, start: Tensor, wanted: Tensor) -> Tensor:
        selection = select(wanted)
        size = rows_with_cuts(self.memory, self.scene)
        output = self.scene.network.graph.output
        best = start
        for first in range(0, selection.rows, size):
            rows = selection.indices[:, first : first + size]
            wide = rows.reshape(*rows.shape, *(1,) * (self.matrix.dim() - 2))
            coefficients = self.matrix.gather(1, wide.expand(-1, -1, *self.matrix.shape[2:]))
            found, _ = tightened_rows(
                self.scene,
                {output: coefficients},
                -self.offset.gather(1, rows),
                bounds,
                slopes=self.slopes.rows(rows),
                tightening=self.effort.margins,
                budget=self.budget,
            )
            # padding must leave what is there, or an example would depend on its neighbours
            known = best.gather(1, rows)
            valid = selection.valid[:, first : first + size]
            best = best.scatter(1, rows, torch.where(valid, torch.fmax(found, known), known))
        return best

    def _worth_more(self, lower: Tensor) -> Tensor:
        """Return which examples have open margins, all within reach, shape `(batch,)`."""
        depth = nonlinear_depth(self.scene.network.graph)
        layers = max((depth[node.name] for node in refinable_nodes(self.scene)), default=0)
        center = self.scene.region.center
        batch, rows = self.offset.shape
        at_center = self.scene.network(center).reshape(batch, -1, 1)
        matrix = self.matrix.reshape(batch, rows, -1)
        value = torch.matmul(matrix, at_center).squeeze(-1) - self.offset
        # a margin that is not positive at the centre cannot be proved; others of its clause may be
        open_ = (lower <= 0) & (value > 0)
        near = value - lower <= value * self.effort.reach**layers
        return open_.any(1) & (near | ~open_).all(1)

    def inside(self, known: Bounds) -> dict[str, Interval]:
        """Tighten the bounds of hidden values once more, layer after layer.

        Returns:
            Bounds of every node, nowhere looser than those known.
        """
        graph = self.scene.network.graph
        refinable = {node.name for node in refinable_nodes(self.scene)}
        depth = nonlinear_depth(graph)
        bounds: dict[str, Interval] = {}
        worth = True
        for node in graph.nodes:
            current = interval_of(self.scene, node, bounds).intersect(known[node.name])
            if worth and node.name in refinable and depth[node.name] > 0:
                before, current = current, self._refined(node, current, bounds)
                worth = self._gained(node, before, current)
            bounds[node.name] = current
        return bounds

    def _gained(self, node: Node, before: Interval, after: Interval) -> bool:
        """Return whether a layer's undecided values gained enough to go on behind it."""
        if self.effort.worth >= 1.0:
            return True
        undecided = undecided_in(self.scene, node, before)
        if not bool(undecided.any()):
            return True
        old, new = (((at.upper - at.lower)[undecided]).sum() for at in (before, after))
        return bool(new <= self.effort.worth * old)

    def _refined(self, node: Node, current: Interval, bounds: Bounds) -> Interval:
        """Tighten the undecided values of a node, in groups of examples that have about as many."""
        groups = example_groups(undecided_in(self.scene, node, current))
        if groups is None:
            return self._refined_together(node, current, bounds)
        for index in groups:
            inside = {name: interval[index] for name, interval in bounds.items()}
            part = replace(self, scene=self.scene[index])
            current = current.put(index, part._refined_together(node, current[index], inside))
        return current

    def _refined_together(self, node: Node, current: Interval, bounds: Bounds) -> Interval:
        selection = select(undecided_in(self.scene, node, current))
        size = max(1, rows_with_cuts(self.memory, self.scene) // 2)
        for first in range(0, selection.rows, size):
            if self.budget.exhausted:
                break
            part = selection[first : first + size]
            both, _ = tightened_values(
                self.scene,
                node,
                part.indices,
                bounds,
                slopes=RowSlopes(self.slopes.shared),
                tightening=self.effort.inside,
                budget=self.budget,
            )
            current = part.write(current, both[:, : part.rows], -both[:, part.rows :])
        return current
