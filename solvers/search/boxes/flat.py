"""Backward passes for many small boxes: rows of all boxes side by side, none of them padding.

The engine keeps as many rows for every example. Among thousands of boxes of a small dense network
each box wants rows of other neurons, and of few. Here every row names its box; the lines of its
box are looked up for it, and the batch has a single example with all rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from models.graph import Node
from models.network import Network
from models.operators import Linear
from solvers.bounds import Interval, Scene
from solvers.bounds.backward import Entry, Rows, concretize, pull_back, unit_rows
from solvers.bounds.crossing import whole
from solvers.bounds.ibp import interval_of, nonlinear_nodes, propagate, refinable_nodes
from solvers.bounds.intermediate import relax_node, undecided_mask
from solvers.bounds.patches import is_map
from solvers.bounds.relaxation import ElementwiseRelaxation, Relaxation
from solvers.bounds.rules import Slopes
from solvers.budget import Budget

__all__ = ["FlatPass", "Traced", "fits_flat"]

_CHUNK_BYTES = 1 << 20
"""Of one coefficient array: larger ones leave the processor's caches."""


def fits_flat(network: Network, region: Interval) -> bool:
    """Return whether all nonlinear nodes of a network are elementwise, and none is on maps.

    Args:
        network: Whose nodes are looked at.
        region: Some boxes to try relaxations on.
    """
    scene, bent = Scene(network, region), nonlinear_nodes(network.graph)
    if any(is_map(node.shape) for node in bent):
        return False
    bounds = propagate(scene)
    return all(
        isinstance(relax_node(scene, node, bounds, Slopes()), ElementwiseRelaxation)
        for node in bent
    )


@dataclass(frozen=True, eq=False)
class Traced:
    """What became of some rows.

    Attributes:
        lower: Their bounds, shape `(rows,)`.
        at_input: Their coefficients there, shape `(rows, inputs)`.
        seen: Their coefficients at the output of nonlinear nodes, shape `(rows, size)`.
    """

    lower: Tensor
    at_input: Tensor
    seen: Mapping[str, Tensor]

    def __getitem__(self, index: Tensor) -> Traced:
        """Return some rows."""
        seen = {name: values[index] for name, values in self.seen.items()}
        return Traced(self.lower[index], self.at_input[index], seen)

    def replaced(self, index: Tensor, other: Traced) -> Traced:
        """Return the rows with some of them replaced."""
        seen = {
            name: values.index_copy(0, index, other.seen[name])
            for name, values in self.seen.items()
        }
        lower = self.lower.index_copy(0, index, other.lower)
        return Traced(lower, self.at_input.index_copy(0, index, other.at_input), seen)

    @classmethod
    def joined(cls, parts: Sequence[Traced]) -> Traced:
        """Put rows together."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            torch.cat([part.lower for part in parts]),
            torch.cat([part.at_input for part in parts]),
            {name: torch.cat([part.seen[name] for part in parts]) for name in parts[0].seen},
        )


@dataclass(eq=False)
class _Shares:
    """Rows of undecided values: whose they are, and how they depend on the inputs."""

    box: list[Tensor] = field(default_factory=list)
    value: list[Tensor] = field(default_factory=list)
    at_input: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class _Noted(Relaxation):
    """Lines that note the coefficients that cross them."""

    name: str
    inner: Relaxation
    seen: dict[str, Tensor]

    def backward(self, coefficients: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Note the coefficients, and cross."""
        self.seen[self.name] = coefficients.flatten(2)[0]
        return self.inner.backward(coefficients)


class FlatPass:
    """Backward passes over some boxes.

    Args:
        scene: Network and boxes.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._network: Network = scene.network
        self._lines: dict[str, ElementwiseRelaxation] = {}
        self._shares: dict[str, _Shares] = {}
        self.bounds: dict[str, Interval] = {}

    def tighten(self, known: Mapping[str, Interval], budget: Budget) -> None:
        """Bound every node, as `solvers.bounds.intermediate.tightened` does.

        Args:
            known: Sound bounds of some nodes over the same boxes or larger ones.
            budget: Once it is spent, nodes keep the bounds that they have.
        """
        graph = self._network.graph
        refinable = {node.name for node in refinable_nodes(self._scene)}
        for node in graph.nodes:
            current = interval_of(self._scene, node, self.bounds)
            if node.name in known:
                current = current.intersect(known[node.name])
            if node.name in refinable:
                current = self._refined(node, current, budget)
            self.bounds[node.name] = current

    def _refined(self, node: Node, current: Interval, budget: Budget) -> Interval:
        """Bound undecided values on the likelier side, and those still undecided on the other."""
        likelier = torch.where(current.center >= 0, 1.0, -1.0).to(current.lower.dtype).flatten(1)
        shares = self._shares[node.name] = _Shares()
        for side in (likelier, -likelier):
            mask = undecided_mask(self._network.graph, node, current).flatten(1)
            box, value = mask.nonzero().unbind(1)
            for part in self.parts(len(box), node):
                if budget.exhausted:
                    return current
                signs = side[box[part], value[part]]
                rows = unit_rows(self._scene, node, value[part].unsqueeze(0), signs.unsqueeze(0))
                traced = self.trace(rows, box[part])
                current = _tightened(current, (box[part], value[part], signs), traced.lower)
                if side is likelier:
                    shares.box.append(box[part])
                    shares.value.append(value[part])
                    shares.at_input.append(traced.at_input)
        return current

    def parts(self, count: int, node: Node | None = None) -> Iterator[slice]:
        """Yield slices of rows that go well together.

        Args:
            count: Of all rows.
            node: Whose values they are, None for the output's.
        """
        graph = self._network.graph
        end = graph.node(graph.output) if node is None else node
        # Rows of dense layers begin in front of them.
        passed = [
            other.size
            for other in graph.ancestors(end.name)
            if other is not end or not isinstance(end.operator, Linear)
        ]
        size = max(64, _CHUNK_BYTES // (8 * max(passed)))
        for first in range(0, count, size):
            yield slice(first, first + size)

    def trace(self, rows: Rows, box: Tensor, *, note: bool = False) -> Traced:
        """Pull rows back to the input.

        Args:
            rows: Coefficients of shape `(1, rows, …)`; consumed.
            box: Which box each row is about, shape `(rows,)`.
            note: Whether to keep the coefficients on the way.
        """
        seen: dict[str, Tensor] = {}
        picked: dict[str, Relaxation] = {}

        def relaxation(node: Node) -> Relaxation:
            if node.name not in picked:
                picked[node.name] = _picked(self._lines_of(node), box)
            there = picked[node.name]
            return _Noted(node.name, there, seen) if note else there

        pull_back(self._scene, rows, relaxation)
        lower = self._concretized(rows, box)
        start = self._network.graph.input
        pull_back(self._scene, rows, relaxation, end=start.name)
        left = rows.coefficients.get(start.name)
        at_input = lower.new_zeros(len(box), start.size) if left is None else whole(left).flatten(2)
        return Traced(lower, at_input.reshape(len(box), start.size), seen)

    def _lines_of(self, node: Node) -> ElementwiseRelaxation:
        if node.name not in self._lines:
            lines = relax_node(self._scene, node, self.bounds, Slopes())
            assert isinstance(lines, ElementwiseRelaxation)  # noqa: S101  see fits_flat
            self._lines[node.name] = lines
        return self._lines[node.name]

    def _concretized(self, rows: Rows, box: Tensor) -> Tensor:
        """Minimise over each row's own box, as examples of one row each."""
        entry, left = self._scene.entry, rows.coefficients.get(self._scene.entry.node.name)
        turned = Rows()
        if left is not None:
            turned.coefficients[entry.node.name] = whole(left).transpose(0, 1)
        turned.constant = self._column(rows.constant, len(box))
        turned.added = self._column(rows.added, len(box))
        place = Entry(entry.node, entry.region[box], None)
        return concretize(self._scene, turned, place).squeeze(1)

    def _column(self, value: Tensor | float, rows: int) -> Tensor:
        """Return numbers of rows as examples of one row each."""
        if not isinstance(value, Tensor):
            value = self._scene.region.lower.new_full((1, 1), value)
        return value.expand(1, rows).transpose(0, 1)

    def looseness(self, box: Tensor, seen: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """Say how much of some rows' looseness each input is to blame for.

        A row loses at each nonlinear value its coefficient times the distance between the lines
        there, at most. That distance comes from the width of the value's interval, to which the
        inputs contribute as much as the value's own linear bounds depend on them.

        Args:
            box: Of each row, no box twice, shape `(rows,)`.
            seen: Coefficients of these rows at nonlinear nodes.
            inputs: Flat indices of the inputs that are asked about.

        Returns:
            Shape `(rows, inputs)`.
        """
        graph = self._network.graph
        radius = self._scene.region.radius.flatten(1)[:, inputs]
        total = torch.zeros_like(radius)
        for node in nonlinear_nodes(graph):
            # Up to the entry bounds are exact: what lines lose there, rows do not.
            if node.name not in seen or node.name in self._scene.front:
                continue
            source = graph.node(node.inputs[0])
            interval = self.bounds[source.name]
            gap = _distance(self._lines_of(node), interval).flatten(1)
            lost = torch.zeros_like(gap)
            lost[box] = seen[node.name].abs() * gap[box]
            for one, value, rows in self._dependence(source, lost):
                share = rows[:, inputs].abs() * radius[one]
                share = share / share.sum(1, keepdim=True).clamp(min=torch.finfo(share.dtype).tiny)
                total.index_add_(0, one, share * lost[one, value].unsqueeze(1))
        return total[box]

    def _dependence(self, node: Node, lost: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield boxes, values and coefficients at the input of values that lose something."""
        shares = self._shares.get(node.name)
        if shares is not None:
            yield from zip(shares.box, shares.value, shares.at_input, strict=True)
            return
        box, value = (lost > 0).nonzero().unbind(1)
        for part in self.parts(len(box), node):
            rows = unit_rows(self._scene, node, value[part].unsqueeze(0))
            yield box[part], value[part], self.trace(rows, box[part]).at_input


def _picked(lines: ElementwiseRelaxation, box: Tensor) -> ElementwiseRelaxation:
    """Return the lines of each row's box, shape `(1, rows, *shape)`."""

    def pick(line: Tensor) -> Tensor:
        return line.squeeze(1).index_select(0, box).unsqueeze(0)

    low = lines.lower_intercept
    return ElementwiseRelaxation(
        pick(lines.lower_slope),
        pick(lines.upper_slope),
        None if low is None else pick(low),
        pick(lines.upper_intercept),
    )


def _distance(lines: ElementwiseRelaxation, interval: Interval) -> Tensor:
    """Return how far the two lines are from each other, at most, on an interval."""
    slope = (lines.upper_slope - lines.lower_slope).squeeze(1)
    intercept = lines.upper_intercept.squeeze(1)
    if lines.lower_intercept is not None:
        intercept = intercept - lines.lower_intercept.squeeze(1)
    ends = torch.maximum(slope * interval.lower, slope * interval.upper) + intercept
    return ends.nan_to_num(nan=0.0, posinf=1e30).clamp(min=0.0)


def _tightened(current: Interval, rows: tuple[Tensor, Tensor, Tensor], found: Tensor) -> Interval:
    """Intersect single values with new bounds; one that is not a number leaves the old one."""
    box, value, signs = rows
    lower, upper = current.lower.flatten(1), current.upper.flatten(1)
    old = Interval(lower[box, value], upper[box, value])
    above = torch.where(signs < 0, -found, torch.inf)
    new = old.intersect(Interval(torch.where(signs > 0, found, -torch.inf), above))
    shape = current.lower.shape
    return Interval(
        lower.index_put((box, value), new.lower).reshape(shape),
        upper.index_put((box, value), new.upper).reshape(shape),
    )
