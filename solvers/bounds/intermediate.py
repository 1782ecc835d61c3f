"""Intermediate bounds: what the relaxations of a backward pass stand on.

Nodes are visited in topological order. Each is bounded by interval arithmetic from the tightened
bounds before it; the inputs of nonlinear nodes are then tightened by a backward pass, but only
those values for which it can matter, such as ReLUs that are not already stable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from models.graph import Graph, Node
from solvers.bounds.backward import Relaxations, Scene, lower_bounds, unit_rows
from solvers.bounds.ibp import interval_of, nonlinear_depth, refinable_nodes
from solvers.bounds.interval import Interval
from solvers.bounds.memory import MemoryBudget
from solvers.bounds.patches import is_map
from solvers.bounds.relaxation import ConstantRelaxation, Relaxation
from solvers.bounds.rules import NonlinearRule, Slopes, rule_for
from solvers.budget import Budget

__all__ = [
    "Selection",
    "example_groups",
    "relax_node",
    "relaxations_of",
    "select",
    "tightened",
    "undecided_in",
    "undecided_mask",
]


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
    """Enclose one nonlinear or perturbed node on the bounds of its inputs."""
    if node.name in scene.drifts:
        return scene.perturbed(node, bounds)
    rule = rule_for(node.operator)
    assert isinstance(rule, NonlinearRule)  # noqa: S101  lower_bounds asks for no other
    inputs = [bounds[name] for name in node.inputs]
    return rule.relax(node.operator, inputs, scene.network.parameters, slopes)


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
        for position, name in enumerate(consumer.inputs):
            rule = rule_for(consumer.operator)
            if name == node.name and isinstance(rule, NonlinearRule):
                mask |= rule.undecided(consumer.operator, bounds, position)
    return mask


def undecided_in(scene: Scene, node: Node, bounds: Interval) -> Tensor:
    """Return the values of a node that a scene wants tighter, a mask."""
    mask, wanted = undecided_mask(scene.network.graph, node, bounds), scene.wanted.get(node.name)
    return mask if wanted is None else mask & wanted


def tightened(
    scene: Scene,
    slopes: Slopes,
    memory: MemoryBudget,
    known: Mapping[str, Interval] | None = None,
    budget: Budget | None = None,
    *,
    within: Mapping[str, Interval] | None = None,
) -> dict[str, Interval]:
    """Bound every node, tightening by backward passes where it can matter.

    Args:
        scene: Network and regions.
        slopes: Of the lower lines.
        memory: Limits how many rows are in flight.
        known: Sound bounds of some nodes over the same regions; nodes with known bounds are not
            tightened again.
        budget: Once it is spent, nodes keep the bounds of interval arithmetic.
        within: Sound bounds of some nodes that are tightened all the same, such as those over
            larger regions.

    Returns:
        Bounds of every node, shape `(batch, *node_shape)`.
    """
    graph = scene.network.graph
    refinable = {node.name for node in refinable_nodes(scene)}
    done = {} if known is None else known
    start = {} if within is None else within
    bounds: dict[str, Interval] = {}
    refiner = _Refiner(scene, slopes, memory, budget or Budget(), bounds)
    for node in graph.nodes:
        current = interval_of(scene, node, bounds)
        if node.name in start:
            current = current.intersect(start[node.name])
        if node.name in done:
            current = current.intersect(done[node.name])
        elif node.name in refinable:
            current = refiner.refine(node, current)
        bounds[node.name] = current
    return bounds


class _Refiner:
    """Tightens nodes one after the other, each by short backward passes before the whole one.

    A short pass crosses one nonlinear node and takes the interval bounds of the next. On maps,
    where windows are still small there, it costs a fraction of the whole pass and settles many
    ReLUs, which then need no more rows. On dense layers it measured as no gain.
    Source: early termination in Müller et al. 2021 (GPUPoly), section 4.
    """

    def __init__(
        self,
        scene: Scene,
        slopes: Slopes,
        memory: MemoryBudget,
        budget: Budget,
        bounds: Mapping[str, Interval],
    ) -> None:
        self._scene, self._memory, self._budget, self._bounds = scene, memory, budget, bounds
        self._slopes = slopes
        self._whole = relaxations_of(scene, bounds, slopes)
        self._depth = nonlinear_depth(scene.network.graph)

    def refine(self, node: Node, current: Interval) -> Interval:
        """Tighten the undecided values of one node."""
        if not _settles(self._scene.network.graph, node):
            return self._in_groups(node, current, _Refiner._both_sides)
        depth = self._depth[node.name]
        if depth > 1 and is_map(node.shape):
            current = self._side_by_side(node, current, depth - 1)
        return self._side_by_side(node, current, None)

    def _side_by_side(self, node: Node, current: Interval, floor: int | None) -> Interval:
        """Bound undecided values on the side that is likelier to settle them, then on the other.

        A ReLU is settled by the bound on the side of its mean alone, so that most need one row
        instead of two. With a `floor`, passes end at nonlinear nodes of that depth or less.
        """
        likelier = torch.where(current.center >= 0, 1.0, -1.0).to(current.lower.dtype)
        for side in (likelier, -likelier):

            def one_side(
                refiner: _Refiner,
                node: Node,
                part: Interval,
                index: Tensor | None,
                side: Tensor = side,
            ) -> Interval:
                signs = side if index is None else side[index]
                return refiner._one_side(node, part, signs.flatten(1), floor)

            current = self._in_groups(node, current, one_side)
        return current

    def _in_groups(self, node: Node, current: Interval, step: _Step) -> Interval:
        """Make a step with examples that need about as many rows, so that few rows are padding."""
        groups = example_groups(undecided_in(self._scene, node, current))
        if groups is None:
            return step(self, node, current, None)
        for index in groups:
            bounds = {name: interval[index] for name, interval in self._bounds.items()}
            part = _Refiner(self._scene[index], self._slopes, self._memory, self._budget, bounds)
            current = current.put(index, step(part, node, current[index], index))
        return current

    def _short(self, floor: int) -> Relaxations:
        """Return relaxations that end a pass at nonlinear nodes of depth `floor` or less."""

        def relaxation(node: Node) -> Relaxation:
            if self._depth[node.name] > floor:
                return self._whole(node)
            interval = self._bounds[node.name]
            return ConstantRelaxation(interval.lower, interval.upper)

        return relaxation

    def _both_sides(self, node: Node, current: Interval, _index: Tensor | None) -> Interval:
        """Bound undecided values from below and above in one pass, which shares its first steps."""
        for part in self._parts(node, current, two_sided=True):
            rows = unit_rows(self._scene, node, part.indices)
            both = lower_bounds(self._scene, rows, self._whole, two_sided=True)
            current = part.write(current, both[:, : part.rows], -both[:, part.rows :])
        return current

    def _one_side(self, node: Node, current: Interval, side: Tensor, floor: int | None) -> Interval:
        """Bound undecided values from below where `side` is 1 and from above where it is −1."""
        relaxations = self._whole if floor is None else self._short(floor)
        for part in self._parts(node, current, two_sided=False):
            signs = side.gather(1, part.indices)
            rows = unit_rows(self._scene, node, part.indices, signs)
            found = lower_bounds(self._scene, rows, relaxations)
            below = torch.where(signs > 0, found, torch.full_like(found, -torch.inf))
            above = torch.where(signs < 0, -found, torch.full_like(found, torch.inf))
            current = part.write(current, below, above)
        return current

    def _parts(self, node: Node, current: Interval, *, two_sided: bool) -> Iterator[Selection]:
        """Yield the undecided values in pieces that fit into memory, until time is up."""
        selection = select(undecided_in(self._scene, node, current))
        size = self._memory.rows(self._scene, two_sided=two_sided)
        for first in range(0, selection.rows, size):
            if self._budget.exhausted:
                return
            yield selection[first : first + size]


_Step = Callable[[_Refiner, Node, Interval, Tensor | None], Interval]
"""Tightens a node over some examples, whose positions in the batch are given; None for all."""


def example_groups(mask: Tensor) -> list[Tensor] | None:
    """Group examples that have about as many set entries.

    Args:
        mask: Shape `(batch, *shape)`.

    Returns:
        Positions in the batch, group by group, the fullest first, without examples that have no
        set entry; None where one group for the whole batch is as good.
    """
    counts = mask.flatten(1).sum(1)
    ordered, places = counts.sort(descending=True, stable=True)
    numbers = [int(count) for count in ordered if count > 0]
    starts = [0]
    for position, count in enumerate(numbers):
        if 2 * count < numbers[starts[-1]]:
            starts.append(position)
    if len(starts) == 1 and 4 * len(numbers) >= 3 * len(counts):
        return None
    ends = [*starts[1:], len(numbers)]
    return [places[first:end] for first, end in zip(starts, ends, strict=True) if end > first]


def _settles(graph: Graph, node: Node) -> bool:
    """Return whether tighter bounds can settle values of a node for good."""
    rules = [rule_for(other.operator) for other in graph.nodes if node.name in other.inputs]
    return any(isinstance(rule, NonlinearRule) and rule.settles for rule in rules)
