"""Leaves of the search tree, for whoever wants to prove them again.

Off, nothing is kept. On, every domain remembers which split of which domain it came from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from solvers.search.neurons.domains import Domains
from solvers.search.neurons.layout import Layout

__all__ = ["CommonTree", "Leaf", "LeafRecorder", "Passed", "Split", "SplitLog"]


@dataclass(frozen=True)
class Split:
    """One step from a domain to one of its halves.

    Attributes:
        node: Name of the node that is split.
        index: Flat index of the value.
        point: Where.
        upper: Whether the half is the one with values from `point` up.
        tightened: Bounds inside the half that backward passes with adaptive slopes improved, one
            after the other: node, flat index, and whether it is the upper bound.
    """

    node: str
    index: int
    point: float
    upper: bool
    tightened: tuple[tuple[str, int, bool], ...] = ()


@dataclass(frozen=True, eq=False)
class Leaf:
    """A domain in which a clause is proved to fail.

    Attributes:
        clause: Which clause.
        splits: From the region down.
        floor: Proved lower bound of the clause's margin; infinite where the domain is empty.
        values: The values that bounds, slopes and multipliers belong to: node names and flat
            indices.
        lower, upper: Their bounds in the domain, shape `(values,)`; those that splits do not
            imply follow from bounds of earlier nodes.
        alpha, gamma: Slopes and multipliers of every row of the clause, shape `(rows, values)`;
            positive multipliers belong to upper bounds, negative ones to lower bounds. Behind the
            slopes stands where the lines of other nodes were moved, if they were.
        sharp: Whether bounds in the domain were tightened where the clause can still hold, which
            nobody can follow from the splits.
        lines: Nodes whose lines were moved, and how many numbers tell of each.
        common: Whether it is a leaf of the tree that all clauses share.
    """

    clause: int
    splits: tuple[Split, ...]
    floor: float
    values: tuple[tuple[str, Tensor], ...]
    lower: Tensor
    upper: Tensor
    alpha: Tensor
    gamma: Tensor
    sharp: bool = False
    lines: tuple[tuple[str, int], ...] = ()
    common: bool = False


class LeafRecorder(Protocol):
    """Receives every leaf, once, in the order in which they are proved."""

    def record(self, leaf: Leaf) -> None:
        """Take a leaf."""
        ...


@dataclass(frozen=True, eq=False)
class Passed:
    """Bounds of a domain that passes improved, in this order.

    Attributes:
        bounds: Node, flat index, and whether it is the upper bound.
        slopes: Lower slopes of ReLUs in 255ths, one row for each; of the first values alone.
    """

    bounds: tuple[tuple[str, int, bool], ...]
    slopes: Tensor


@dataclass(eq=False)
class CommonTree:
    """The tree that all clauses share, for whoever wants to follow it. Domain 0 is the region.

    Attributes:
        values: That slopes belong to: node names and flat indices.
        cuts: Node, flat index and point by the numbers of domains that were split.
        halves: Numbers of their halves, the lower one first.
        passed: By numbers of domains.
        leaves: What is proved there, by numbers of domains; some of them are split further.
    """

    values: tuple[tuple[str, Tensor], ...] = ()
    cuts: dict[int, tuple[str, int, float]] = field(default_factory=dict)
    halves: dict[int, tuple[int, int]] = field(default_factory=dict)
    passed: dict[int, list[Passed]] = field(default_factory=lambda: defaultdict(list))
    leaves: dict[int, list[Leaf]] = field(default_factory=lambda: defaultdict(list))


class SplitLog:
    """Remembers how domains came about, by their numbers.

    Args:
        layout: Numbers the values.
        kept: Which values of a node the layout's network has, by name; all where it is missing.
        recorder: Receives the leaves.
        sharp: Whether bounds are tightened before domains are split.
        common: Takes the whole tree, where all clauses share it.
    """

    def __init__(
        self,
        layout: Layout,
        kept: Mapping[str, Tensor],
        recorder: LeafRecorder,
        *,
        sharp: bool = False,
        common: CommonTree | None = None,
    ) -> None:
        self._layout, self._recorder, self._sharp = layout, recorder, sharp
        self._common = common
        self._start: dict[int, tuple[Split, ...]] = {}
        self._origin: dict[int, tuple[int, int, float, bool]] = {}
        self._tightened: dict[int, tuple[tuple[str, int, bool], ...]] = {}
        self._values = tuple(
            (name, kept[name][indices] if name in kept else indices)
            for name, indices in ((slot.node.name, slot.indices) for slot in layout.slots)
        )
        if common is not None:
            common.values = self._values

    @cached_property
    def _lines(self) -> tuple[tuple[str, int], ...]:
        moved = self._layout.moved.items()
        return tuple((name, at.part.stop - at.part.start) for name, at in moved)

    def begin(self, domains: Domains, splits: Sequence[tuple[Split, ...]]) -> None:
        """Remember the splits of domains that the search begins with."""
        self._start.update(zip(domains.number.tolist(), splits, strict=True))

    def note(self, children: Domains, parents: Tensor, values: Tensor, points: Tensor) -> None:
        """Remember the children of domains: first all lower halves, then all upper ones."""
        count = len(parents)
        rows = zip(children.number.tolist(), parents.repeat(2).tolist(), strict=True)
        places, at = values.repeat(2).tolist(), points.repeat(2).tolist()
        for position, (number, parent) in enumerate(rows):
            self._origin[number] = (parent, places[position], at[position], position >= count)
        if self._common is not None:
            numbers = children.number.tolist()
            for place, parent in enumerate(parents.tolist()):
                self._common.cuts[parent] = (*self._value(places[place]), at[place])
                self._common.halves[parent] = numbers[place], numbers[count + place]

    def passed(self, number: Tensor, rows: Tensor, slopes: Tensor) -> None:
        """Remember passes that improved bounds of domains all clauses share.

        Args:
            number: Of each domain.
            rows: Domain, value and side of each bound, shape `(rows, 3)`.
            slopes: Of each, in 255ths.
        """
        assert self._common is not None  # noqa: S101  others are not told
        for domain in sorted(set(rows[:, 0].tolist())):
            own = rows[:, 0] == domain
            bounds = tuple(
                (*self._value(value), bool(side)) for _, value, side in rows[own].tolist()
            )
            self._common.passed[int(number[domain])].append(Passed(bounds, slopes[own].cpu()))

    def refined(self, domains: Domains, lower: Tensor, upper: Tensor) -> None:
        """Remember which bounds of fresh domains passes improved.

        Args:
            domains: Before.
            lower: What was found, shape `(domains, size)`; above `upper` where a domain is empty.
            upper: The same.
        """
        sides = torch.stack([lower > domains.lower, upper < domains.upper], dim=2)
        for number, improved in zip(domains.number.tolist(), sides, strict=True):
            places = improved.nonzero().tolist()
            if places:
                # in the order of nodes, in which they were bounded
                self._tightened[number] = tuple(
                    (*self._value(place), bool(side)) for place, side in places
                )

    def leaves(self, domains: Domains) -> None:
        """Hand proved domains to the recorder."""
        moved = domains.alpha.shape[2] > self._layout.size
        lines = self._lines if moved else ()
        for position in range(len(domains)):
            number = int(domains.number[position])
            leaf = Leaf(
                int(domains.clause[position]),
                self._splits(number),
                float(domains.floor[position]),
                self._values,
                domains.lower[position].clone(),
                domains.upper[position].clone(),
                domains.alpha[position].clone(),
                domains.gamma[position].clone(),
                self._sharp,
                lines,
                self._common is not None,
            )
            if self._common is not None:
                self._common.leaves[number].append(leaf)
            self._recorder.record(leaf)

    def _splits(self, number: int) -> tuple[Split, ...]:
        found: list[Split] = []
        while number in self._origin:
            tightened = self._tightened.get(number, ())
            number, value, point, upper = self._origin[number]
            found.append(Split(*self._value(value), point, upper, tightened))
        start = self._start.get(number, ())
        if start and number in self._tightened:
            start = (*start[:-1], replace(start[-1], tightened=self._tightened[number]))
        return (*start, *reversed(found))

    def _value(self, place: int) -> tuple[str, int]:
        """Return node and flat index of a value."""
        depth = int(self._layout.depth[place])
        name, indices = self._values[depth]
        return name, int(indices[place - self._layout.slots[depth].part.start])
