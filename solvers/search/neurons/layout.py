"""Which values of a network can be split, and how they are numbered.

A domain of the search is the region cut down by bounds of single values inside the network. Only
values that are undecided at the root can ever be split, often a small share of all. They are
numbered through, node after node, so that whatever is known of a domain fits into flat rows of
one length: its bounds, slopes and multipliers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from models.graph import Graph, Node
from models.network import Network
from models.operators import Constant, Relu, Sigmoid, Tanh
from models.parameters import Parameters
from solvers.bounds import Interval
from solvers.bounds.ibp import nonlinear_nodes
from solvers.bounds.intermediate import undecided_mask
from solvers.bounds.relaxation import Relaxation
from solvers.bounds.rules import NonlinearRule, Slopes, rule_for

__all__ = [
    "Layout",
    "Moved",
    "Slot",
    "confined",
    "layout_of",
    "loss_known",
    "outward",
    "rounded_out",
]

_NARROW = 1e-6
"""Intervals narrower than this, relative to 1 + their size, are not split any more."""


@dataclass(frozen=True)
class Slot:
    """The values of one node that can be split.

    Attributes:
        node: What is split: an input of nonlinear nodes.
        owner: The nonlinear node at which multipliers of these values are added to a pass.
        indices: Flat indices into the node, shape `(values,)`.
        part: Where these values stand in a row of the layout.
    """

    node: Node
    owner: Node
    indices: Tensor
    part: slice


@dataclass(frozen=True)
class Moved:
    """A node other than a ReLU whose lines can be moved.

    Attributes:
        shape: Of its `Slopes.alpha`, without batch and rows.
        part: Where that stands behind the slopes of ReLUs in a row of slopes.
    """

    shape: tuple[int, ...]
    part: slice


@dataclass(frozen=True, eq=False)
class Layout:
    """Values that can be split, numbered through.

    Attributes:
        network: Folded.
        slots: One per node with such values, in topological order.
        root: Bounds of every node over the region, batch 1.
        lower, upper: Bounds of the values over the region, float32 rounded outward, shape
            `(size,)`.
    """

    network: Network
    slots: tuple[Slot, ...]
    root: Mapping[str, Interval]
    lower: Tensor
    upper: Tensor
    _cast: dict[torch.dtype, Network] = field(default_factory=dict, repr=False)
    _active: dict[tuple[str, torch.dtype], Tensor] = field(default_factory=dict, repr=False)
    _unlisted: dict[str, Tensor] = field(default_factory=dict, repr=False)
    _settled: dict[tuple[str, torch.dtype], Relaxation] = field(default_factory=dict, repr=False)

    @property
    def size(self) -> int:
        """Number of values that can be split."""
        return int(self.lower.shape[0])

    @cached_property
    def by_node(self) -> Mapping[str, Slot]:
        """Slots by the name of the node that is split."""
        return {slot.node.name: slot for slot in self.slots}

    @cached_property
    def depth(self) -> Tensor:
        """Position of each value's slot, shape `(size,)`."""
        depth = torch.zeros(self.size, dtype=torch.long, device=self.lower.device)
        for position, slot in enumerate(self.slots):
            depth[slot.part] = position
        return depth

    def parameters(self, dtype: torch.dtype) -> Parameters:
        """Return the network's parameters in a dtype."""
        if dtype not in self._cast:
            self._cast[dtype] = self.network.to(dtype, self.network.device)
        return self._cast[dtype].parameters

    @cached_property
    def _starts(self) -> dict[str, Tensor]:
        """Where moved lines begin, flat, by the name of the node."""
        found = {}
        for node in nonlinear_nodes(self.network.graph):
            rule = rule_for(node.operator)
            open_ = any(name in self.by_node for name in node.inputs)
            if not isinstance(rule, NonlinearRule) or not rule.optimisable or not open_:
                continue
            if not isinstance(node.operator, Relu):
                inputs = [self.root[name] for name in node.inputs]
                found[node.name] = rule.alpha_start(node.operator, inputs)[0].to(torch.float32)
        return found

    @cached_property
    def moved(self) -> Mapping[str, Moved]:
        """Nodes other than ReLUs whose lines can be moved, by name."""
        found, first = {}, self.size
        for name, start in self._starts.items():
            last = first + start.numel()
            found[name] = Moved(tuple(start.shape), slice(first, last))
            first = last
        return found

    @cached_property
    def told(self) -> bool:
        """Whether leaves can tell of all lines that are moved: one slope for each value says it.

        Of curves that rise, a line lies below or above as the sign of its coefficient has it.
        """
        graph = self.network.graph
        return all(isinstance(graph.node(name).operator, (Sigmoid, Tanh)) for name in self._starts)

    @cached_property
    def line_start(self) -> Tensor:
        """Where moved lines begin, as they stand behind the slopes of ReLUs, shape `(lines,)`."""
        empty = torch.zeros(0, dtype=torch.float32, device=self.lower.device)
        return torch.cat([empty, *(start.flatten() for start in self._starts.values())])

    def in_dtype(self, dtype: torch.dtype) -> Network:
        """Return the network in a dtype."""
        self.parameters(dtype)
        return self._cast[dtype]

    def active(self, name: str, dtype: torch.dtype) -> Tensor:
        """Return 1 where a ReLU of a node is active over the whole region, shape `(node_size,)`.

        It is 0 where a ReLU is off, and where it is undecided.
        """
        key = (name, dtype)
        if key not in self._active:
            self._active[key] = (self.root[name].lower >= 0).flatten().to(dtype)
        return self._active[key]

    def unlisted(self, name: str) -> Tensor:
        """Return which values of a node ReLUs leave undecided though they cannot be split.

        Float32 does not hold a bound of theirs, or nothing that is asked depends on them. Flat
        indices, shape `(values,)`; mostly none.
        """
        if name not in self._unlisted:
            root = self.root[name]
            # Whatever is not seen to be decided: comparisons with what is no number are false.
            undecided = ~((root.lower >= 0) | (root.upper <= 0)).flatten()
            undecided[self.by_node[name].indices] = False
            self._unlisted[name] = undecided.nonzero().squeeze(1)
        return self._unlisted[name]

    def settled(self, node: Node, dtype: torch.dtype) -> Relaxation:
        """Return what encloses a nonlinear node that no split touches, for all rows at once."""
        key = (node.name, dtype)
        if key not in self._settled:
            inputs = [
                Interval(self.root[name].lower.to(dtype), self.root[name].upper.to(dtype))
                for name in node.inputs
            ]
            rule = rule_for(node.operator)
            assert isinstance(rule, NonlinearRule)  # noqa: S101  passes ask for no other
            parameters = self.parameters(dtype)
            self._settled[key] = rule.relax(node.operator, inputs, parameters, Slopes())
        return self._settled[key]

    def cut(self, lower: Tensor, upper: Tensor) -> Tensor:
        """Return where bounds are worth a multiplier: those of splits, shape `(domains, size)`.

        A ReLU's bounds are, once they decide it; any other value's, once they are not the root's.
        """
        moved = (lower > self.lower) | (upper < self.upper)
        decided = (lower >= 0) | (upper <= 0)
        return torch.where(self._at_zero, decided, moved)

    @cached_property
    def kinds(self) -> tuple[Tensor, ...]:
        """One mask, or two, of values by how well it is known what their relaxations lose.

        It is exact for inputs of functions of one value. For those of products and the like, and
        of functions with stored slopes, widths stand in, which cannot be compared with it.
        """
        guessed = torch.zeros(self.size, dtype=torch.bool, device=self.lower.device)
        for slot in self.slots:
            guessed[slot.part] = not loss_known(slot.owner)
        found = tuple(mask for mask in (~guessed, guessed) if bool(mask.any()))
        return found or (guessed,)

    @cached_property
    def _at_zero(self) -> Tensor:
        """Which values are inputs of ReLUs, shape `(size,)`."""
        found = torch.zeros(self.size, dtype=torch.bool, device=self.lower.device)
        for slot in self.slots:
            found[slot.part] = isinstance(slot.owner.operator, Relu)
        return found

    def undecided(self, lower: Tensor, upper: Tensor) -> Tensor:
        """Return which values can still be split, shape `(domains, size)`.

        Args:
            lower: Of the values in each domain, shape `(domains, size)`.
            upper: The same.
        """
        wide = upper - lower > _NARROW * (1 + torch.maximum(lower.abs(), upper.abs()))
        found = torch.zeros_like(wide)
        for slot in self.slots:
            bounds = Interval(lower[:, slot.part], upper[:, slot.part])
            mask = torch.zeros_like(bounds.lower, dtype=torch.bool)
            for rule, node, position in _consumers(self.network.graph, slot.node):
                mask |= rule.undecided(node.operator, bounds, position)
            found[:, slot.part] = mask
        return found & wide

    def full(self, name: str, lower: Tensor, upper: Tensor) -> Interval:
        """Return bounds of all values of a node in every domain, shape `(domains, *node_shape)`.

        Args:
            name: Of any node.
            lower: Of the values in each domain, shape `(domains, size)`; gives the dtype.
            upper: The same.
        """
        root, slot = self.root[name], self.by_node.get(name)
        shape = (lower.shape[0], *root.lower.shape[1:])
        whole = [end.to(lower.dtype).expand(shape) for end in (root.lower, root.upper)]
        if slot is None:
            return Interval(*whole)
        parts = (lower[:, slot.part], upper[:, slot.part])
        ends = [
            end.flatten(1).index_copy(1, slot.indices, part).reshape(shape)
            for end, part in zip(whole, parts, strict=True)
        ]
        return Interval(*ends)


def layout_of(
    network: Network,
    bounds: Mapping[str, Interval],
    wanted: Mapping[str, Tensor] | None = None,
) -> Layout:
    """Number the values that are undecided over the region.

    Args:
        network: Folded.
        bounds: Of every node, batch 1.
        wanted: Masks of the values worth a split, by node; those of nodes that are missing all are.
    """
    graph = network.graph
    rounded = {name: outward(interval) for name, interval in bounds.items()}
    slots, lower, upper, start = [], [], [], 0
    for node, owner in _splittable(graph):
        interval = rounded[node.name]
        mask = undecided_mask(graph, node, interval) & interval.lower.isfinite()
        if wanted is not None and node.name in wanted:
            mask &= wanted[node.name]
        mask &= interval.upper.isfinite() & (interval.upper > interval.lower)
        indices = mask.flatten().nonzero().squeeze(1)
        if len(indices) == 0:
            continue
        stop = start + len(indices)
        slots.append(Slot(node, owner, indices, slice(start, stop)))
        lower.append(interval.lower.flatten()[indices])
        upper.append(interval.upper.flatten()[indices])
        start = stop
    empty = torch.zeros(0, dtype=torch.float32, device=network.device)
    return Layout(
        network,
        tuple(slots),
        rounded,
        torch.cat([empty, *(part.to(torch.float32) for part in lower)]),
        torch.cat([empty, *(part.to(torch.float32) for part in upper)]),
    )


def confined(
    network: Network, wanted: Mapping[str, Tensor], names: Collection[str]
) -> dict[str, Tensor]:
    """Return masks as of `layout_of` that leave values of some nodes only.

    Args:
        network: Folded.
        wanted: Masks of values that are worth a split, by node.
        names: Of nodes.
    """
    nothing = {
        node.name: torch.zeros(1, *node.shape, dtype=torch.bool, device=network.device)
        for node in network.graph.nodes
        if node.name not in names
    }
    return {**wanted, **nothing}


def loss_known(node: Node) -> bool:
    """Return whether what a nonlinear node's lines lose follows from the one value it reads."""
    single = len(node.inputs) == 1 and not rule_for(node.operator).mixes
    return single and not node.operator.references()


def outward(bounds: Interval) -> Interval:
    """Return the bounds rounded outward to numbers that float32 holds, in their own dtype."""
    if bounds.lower.dtype == torch.float32:
        return bounds
    low, high = rounded_out(bounds.lower, up=False), rounded_out(bounds.upper, up=True)
    return Interval(low.to(bounds.lower.dtype), high.to(bounds.upper.dtype))


def rounded_out(values: Tensor, *, up: bool) -> Tensor:
    """Return the nearest float32 numbers that are not below, or not above."""
    near = values.to(torch.float32)
    beyond = near.to(values.dtype) < values if up else near.to(values.dtype) > values
    infinity = torch.full_like(near, torch.inf if up else -torch.inf)
    return torch.where(beyond, torch.nextafter(near, infinity), near)


def _splittable(graph: Graph) -> list[tuple[Node, Node]]:
    """Return the inputs of nonlinear nodes, each with the consumer that adds multipliers."""
    owners: dict[str, Node] = {}
    for node in nonlinear_nodes(graph):
        for name in node.inputs:
            # The first consumer comes last in a backward pass; any of them would do.
            if not isinstance(graph.node(name).operator, Constant):
                owners.setdefault(name, node)
    return [(node, owners[node.name]) for node in graph.nodes if node.name in owners]


def _consumers(graph: Graph, node: Node) -> list[tuple[NonlinearRule, Node, int]]:  # type: ignore[type-arg]
    """Return the nonlinear consumers of a node: rule, consumer, and which input it is."""
    found = []
    for consumer in graph.nodes[1:]:
        rule = rule_for(consumer.operator)
        if isinstance(rule, NonlinearRule):
            found += [
                (rule, consumer, position)
                for position, name in enumerate(consumer.inputs)
                if name == node.name
            ]
    return found
