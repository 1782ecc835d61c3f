"""Intermediate bounds: what the relaxations of a backward pass stand on.

Nodes are visited in topological order. Each is bounded by interval arithmetic from the tightened
bounds before it; the inputs of nonlinear nodes are then tightened by a backward pass, but only
those values for which it can matter, such as ReLUs that are not already stable.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from models.graph import Graph, Node
from solvers.bounds.backward import Relaxations, Scene, lower_bounds, unit_rows
from solvers.bounds.ibp import interval_of, refinable_nodes
from solvers.bounds.interval import Interval
from solvers.bounds.memory import MemoryBudget
from solvers.bounds.relaxation import Relaxation
from solvers.bounds.rules import NonlinearRule, Slopes, rule_for
from solvers.budget import Budget

__all__ = ["Selection", "relax_node", "relaxations_of", "select", "tightened", "undecided_mask"]


@dataclass(frozen=True)
class Selection:
    """Which values of a node get rows, per example, padded to the same number.

    Attributes:
        indices: Flat indices, shape `(batch, rows)`.
        valid: False where a row is padding, shape `(batch, rows)`.
    """

    indices: Tensor
    valid: Tensor

    @property
    def rows(self) -> int:
        """Rows per example."""
        return int(self.indices.shape[1])

    def __getitem__(self, rows: slice) -> Selection:
        """Return some of the rows."""
        return Selection(self.indices[:, rows], self.valid[:, rows])

    def write(self, bounds: Interval, lower: Tensor, upper: Tensor) -> Interval:
        """Intersect the selected values' bounds with new ones, shape `(batch, rows)` each.

        A new bound that is not a number leaves the old one.
        """
        flat_lower, flat_upper = bounds.lower.flatten(1), bounds.upper.flatten(1)
        old_lower = flat_lower.gather(1, self.indices)
        old_upper = flat_upper.gather(1, self.indices)
        # A row of padding repeats some index: it must write back what is there.
        new_lower = torch.where(self.valid, torch.fmax(lower, old_lower), old_lower)
        new_upper = torch.where(self.valid, torch.fmin(upper, old_upper), old_upper)
        crossed = new_lower > new_upper
        shape = bounds.lower.shape
        return Interval(
            flat_lower.scatter(1, self.indices, torch.where(crossed, new_upper, new_lower)).reshape(
                shape
            ),
            flat_upper.scatter(1, self.indices, torch.where(crossed, new_lower, new_upper)).reshape(
                shape
            ),
        )


def select(mask: Tensor) -> Selection:
    """Return the set entries of each example.

    Args:
        mask: Shape `(batch, *shape)`.
    """
    flat = mask.flatten(1)
    most = int(flat.sum(1).max()) if flat.numel() else 0
    # A stable sort puts the set entries first and leaves distinct indices behind as padding.
    order = flat.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most]
    return Selection(order, flat.gather(1, order))


def relax_node(
    scene: Scene, node: Node, bounds: Mapping[str, Interval], slopes: Slopes
) -> Relaxation:
    """Enclose one nonlinear node on the bounds of its input."""
    rule = rule_for(node.operator)
    assert isinstance(rule, NonlinearRule)  # noqa: S101  lower_bounds asks for no other
    return rule.relax(node.operator, bounds[node.inputs[0]], scene.network.parameters, slopes)


def relaxations_of(scene: Scene, bounds: Mapping[str, Interval], slopes: Slopes) -> Relaxations:
    """Return relaxations built on first use and kept, with the same slopes for every row."""
    kept: dict[str, Relaxation] = {}

    def relaxation(node: Node) -> Relaxation:
        if node.name not in kept:
            kept[node.name] = relax_node(scene, node, bounds, slopes)
        return kept[node.name]

    return relaxation


def undecided_mask(graph: Graph, node: Node, bounds: Interval) -> Tensor:
    """Return the values of a node that some nonlinear consumer wants tighter, a mask."""
    mask = torch.zeros_like(bounds.lower, dtype=torch.bool)
    for consumer in graph.nodes:
        if node.name in consumer.inputs:
            rule = rule_for(consumer.operator)
            if isinstance(rule, NonlinearRule):
                mask |= rule.undecided(consumer.operator, bounds)
    return mask


def tightened(
    scene: Scene,
    slopes: Slopes,
    memory: MemoryBudget,
    known: Mapping[str, Interval] | None = None,
    budget: Budget | None = None,
) -> dict[str, Interval]:
    """Bound every node, tightening by backward passes where it can matter.

    Args:
        scene: Network and regions.
        slopes: Of the lower lines.
        memory: Limits how many rows are in flight.
        known: Sound bounds of some nodes over the same regions; nodes with known bounds are not
            tightened again.
        budget: Once it is spent, nodes keep the bounds of interval arithmetic.

    Returns:
        Bounds of every node, shape `(batch, *node_shape)`.
    """
    graph = scene.network.graph
    refinable = {node.name for node in refinable_nodes(graph)}
    done = {} if known is None else known
    bounds: dict[str, Interval] = {}
    relaxations = relaxations_of(scene, bounds, slopes)
    for node in graph.nodes:
        current = interval_of(scene, node, bounds)
        if node.name in done:
            current = current.intersect(done[node.name])
        elif node.name in refinable:
            current = _refine(_Pass(scene, relaxations, memory, budget or Budget()), node, current)
        bounds[node.name] = current
    return bounds


@dataclass(frozen=True)
class _Pass:
    scene: Scene
    relaxations: Relaxations
    memory: MemoryBudget
    budget: Budget


def _refine(task: _Pass, node: Node, current: Interval) -> Interval:
    """Tighten the undecided values of one node."""
    scene = task.scene
    selection = select(undecided_mask(scene.network.graph, node, current))
    for part in _chunks(selection, task.memory.rows(scene, two_sided=True)):
        if task.budget.exhausted:
            break
        rows = unit_rows(scene, node, part.indices)
        both = lower_bounds(scene, rows, task.relaxations, two_sided=True)
        current = part.write(current, both[:, : part.rows], -both[:, part.rows :])
    return current


def _chunks(selection: Selection, size: int) -> Iterator[Selection]:
    for first in range(0, selection.rows, size):
        yield selection[first : first + size]
