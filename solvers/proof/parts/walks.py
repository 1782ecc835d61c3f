"""Walks through trees of splits inside the network: domains, and what is derived in them.

A tree belongs to one clause, or is common to all. In a common one a node may prove a clause in its
domain, all of it, so that those behind it need no word of that clause. Bounds inside a domain are
improved by passes whose slopes and multipliers may be any, since whatever they are what follows
holds there, and what holds in a domain holds in its halves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers.proof.bounds import Array, Choices, Enclosure, Integers
from solvers.proof.checker import HELD_VALUES, Box, halves
from solvers.proof.container import BoundGroup, NeuronTree, check_tree, require
from solvers.proof.network import CheckedNetwork
from solvers.proof.parts.lines import chosen_lines
from solvers.proof.parts.planes import Cross, PlaneTable

__all__ = ["Walk", "apply_groups", "columns_of"]

SPLIT, TIGHTEN, CLOSE = 1, 2, 3
ADAPTIVE = -1
"""In place of a row of slopes; what is below that names a dual."""

Parts = Mapping[int, tuple[slice, Integers]]
Leaf = tuple[int, Array, Array]


def columns_of(
    network: CheckedNetwork, values: Sequence[tuple[str, int]], index: NDArray[np.int32]
) -> Parts:
    """Return by vector which columns stand for values of it, and positions of these.

    Args:
        network: Whose values.
        values: Names of tensors, and how many values of each are listed.
        index: Positions of all of them.
    """
    parts: dict[int, tuple[slice, Integers]] = {}
    start = 0
    for name, many in values:
        vector, own = read_vector(network, name), index[start : start + many].astype(np.intp)
        require(vector not in parts, f"values of the tensor {name!r} are listed twice")
        require(len(own) == len(np.unique(own)) == many, f"values of {name!r} are repeated")
        inside = ((own >= 0) & (own < network.sizes[vector])).all()
        require(inside, f"the tensor {name!r} has no value with one of the indices given")
        parts[vector] = slice(start, start + many), own
        start += many
    require(start == len(index), "more indices of values are given than tensors have")
    return parts


def read_vector(network: CheckedNetwork, name: str) -> int:
    """Return the number of a pre-activation."""
    vector = network.names.get(name, -1)
    known = vector in network.read_vectors
    require(known, f"no nonlinear operator of the network reads a tensor {name!r}")
    return vector


def apply_groups(
    enclosure: Enclosure, groups: Sequence[BoundGroup], parts: Parts, planes: PlaneTable
) -> int:
    """Improve bounds of a single domain, group after group; return how many passes that took."""
    passes = 0
    for group in groups:
        _apply(enclosure, group, parts, planes, passes)
        passes += len(group.index)
    return passes


def _apply(
    enclosure: Enclosure, group: BoundGroup, parts: Parts, planes: PlaneTable, first: int
) -> None:
    """Improve bounds by passes with slopes of a group, and planes from that of a number on."""
    vector, index = read_vector(enclosure.network, group.tensor), group.index.astype(np.intp)
    inside = (index >= 0) & (index < enclosure.network.sizes[vector]) & (group.side <= 1)
    require(inside.all(), f"bounds of {group.tensor!r} do not fit it")

    def choices(rows: slice) -> Choices:
        cross = planes.cross(numbers[rows])
        if group.alpha is None:
            return Choices({}, {}, cross)
        alpha = group.alpha if len(group.alpha) == 1 else group.alpha[rows]
        slopes = spread(shares(alpha), parts, sizes, np.nan)
        return Choices(slopes, {}, chosen_lines(slopes, cross) if group.lines else cross)

    sizes, numbers = enclosure.network.sizes, first + np.arange(len(index))
    enclosure.improve(vector, np.zeros_like(index), index, group.side, choices)
    enclosure.renew()


def spread(values: Array, parts: Parts, sizes: Sequence[int], rest: float) -> dict[int, Array]:
    """Return numbers of values that are listed, `(rows, columns)`, as rows of all their vectors."""
    found = {vector: np.full((len(values), sizes[vector]), rest) for vector in parts}
    for vector, (part, index) in parts.items():
        found[vector][:, index] = values[:, part]
    return found


def shares(whole: NDArray[np.unsignedinteger]) -> Array:
    """Return numbers from 0 to 1 that a file holds as fractions of the largest of their type."""
    return whole / float(np.iinfo(whole.dtype).max)


class Walk:
    """Visits the domains of a tree, clause after clause."""

    def __init__(
        self, enclosure: Enclosure, tree: NeuronTree, name: str, known: Callable[[str], Any]
    ) -> None:
        self._enclosure, self._tree, self._name, self._known = enclosure, tree, name, known
        check_tree(tree, name)
        self._parts = columns_of(enclosure.network, tree.values, tree.index)
        self._planes = PlaneTable(enclosure.network, tree.planes, self._parts, name)
        self._windows: Callable[[Integers, Cross], Cross] = lambda _, cross: cross
        if tree.windows is not None:
            self._windows = known("windows")(enclosure, tree.windows, name)
        self._passes = apply_groups(enclosure, tree.groups, self._parts, self._planes)
        self._whole = self._columns(enclosure)
        self._nodes = iter(tree.kind.tolist())
        self._splits = zip(tree.split_value, tree.split_point, strict=True)
        self._leaves, self._tightens = count(), count()
        self.batch = max(HELD_VALUES // (8 * sum(enclosure.network.sizes) + len(tree.index)), 1)

    def at_end(self) -> bool:
        """Return whether nothing is left over."""
        return next(self._nodes, None) is None

    def leaves(self, clauses: Mapping[int, int]) -> Iterator[Leaf]:
        """Yield number and bounds of the values of every leaf of the next tree.

        What they name is for the caller to prove, but that no clause is left out is seen here.

        Args:
            clauses: That the tree is for, by the numbers of their rows.
        """
        waiting: list[tuple[Box, frozenset[int]]] = [(self._whole, frozenset())]
        every, rows = set(clauses.values()), self._tree.leaf_row
        while waiting:
            (box, proved), kind = waiting.pop(), next(self._nodes, None)
            require(kind is not None, f"{self._name} ends early, or has no tree for some clause")
            if kind == SPLIT:
                value, point = next(self._splits)
                waiting += [(half, proved) for half in halves(box, value, point)]
            elif kind == TIGHTEN:
                waiting.append((self._tightened(box, next(self._tightens)), proved))
            else:
                leaf = next(self._leaves)
                yield leaf, *box
                proved |= {clauses.get(int(rows[leaf]), -1)}
                if kind == CLOSE:
                    waiting.append((box, proved))
                elif self._tree.common is not None:
                    whole = (box[0] > box[1]).any() or every <= proved
                    require(whole, f"{self._name}: a leaf leaves a clause open")

    def bound(self, leaf: Integers, low: Array, high: Array, rows: Array) -> Array:
        """Return lower bounds of one linear function of the outputs in each leaf."""
        tree, alpha = self._tree, self._tree.leaf_alpha[leaf]
        factors = np.zeros(low.shape)
        for place, number in enumerate(leaf):
            part = slice(tree.gamma_start[number], tree.gamma_start[number + 1])
            factors[place, tree.gamma_value[part]] = tree.gamma[part]
        network, parts = self._enclosure.network, self._parts
        slopes = self._slopes(alpha, parts)
        cross = self._windows(leaf, self._planes.cross(self._passes + leaf))
        if tree.lines:
            cross = chosen_lines(slopes, cross)
        choices = Choices(slopes, spread(factors, parts, network.sizes, 0.0), cross)
        found = self._within(low, high).backward(network.output, rows, choices=choices)
        for place in np.flatnonzero(alpha < ADAPTIVE).tolist():
            one = self._within(low[place][None], high[place][None])
            bound, dual = self._known("duals"), ADAPTIVE - 1 - int(alpha[place])
            found[place] = bound(one, parts, tree.duals, dual, rows[place])
        return found

    def _slopes(self, alpha: Integers, parts: Parts) -> dict[int, Array]:
        """Return slopes at some vectors, by rows of those that the tree holds."""
        slopes = np.full((len(alpha), len(self._tree.index)), np.nan)
        slopes[alpha >= 0] = shares(self._tree.alpha[alpha[alpha >= 0]])
        return spread(slopes, parts, self._enclosure.network.sizes, np.nan)

    def _columns(self, enclosure: Enclosure) -> Box:
        """Return bounds of all values that are listed."""
        low, high = np.zeros(len(self._tree.index)), np.zeros(len(self._tree.index))
        for vector, (part, index) in self._parts.items():
            low[part] = enclosure.lower[vector][0, index]
            high[part] = enclosure.upper[vector][0, index]
        return low, high

    def _within(self, low: Array, high: Array) -> Enclosure:
        """Return bounds of all vectors in domains, given those of the values in each."""
        closer = {}
        for vector, (part, index) in self._parts.items():
            root = self._enclosure.lower[vector], self._enclosure.upper[vector]
            both = np.repeat(root[0], len(low), axis=0), np.repeat(root[1], len(low), axis=0)
            both[0][:, index], both[1][:, index] = low[:, part], high[:, part]
            closer[vector] = both
        return self._enclosure.within(closer)

    def _tightened(self, box: Box, number: int) -> Box:
        """Improve bounds in a domain by passes, tensor after tensor."""
        tree = self._tree
        chosen = slice(tree.tighten_start[number], tree.tighten_start[number + 1])
        value, side = tree.tighten_value[chosen], tree.tighten_side[chosen]
        enclosure = self._within(box[0][None], box[1][None])
        for vector, (part, index) in self._parts.items():
            here = (value >= part.start) & (value < part.stop)
            own = index[value[here] - part.start]
            choices = partial(self._tuned, vector, np.flatnonzero(here) + chosen.start)
            enclosure.improve(vector, np.zeros_like(own), own, side[here], choices)
        return self._columns(enclosure)

    def _tuned(self, vector: int, bounds: Integers, rows: slice) -> Choices | None:
        """Return what a common tree chooses for bounds of a vector: slopes of what is before it."""
        common = self._tree.common
        if common is None:
            return None
        before = {other: part for other, part in self._parts.items() if other < vector}
        return Choices(self._slopes(common.slopes[bounds[rows]], before), {})
