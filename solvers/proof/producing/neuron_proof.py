"""A neuron tree of the file, from the leaves that a search proved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from solvers.proof.container import BoundGroup, Common, NeuronTree
from solvers.proof.producing.lines import with_lines
from solvers.proof.producing.slopes import Compact, compacted
from solvers.proof.producing.values import Values
from solvers.search.neurons import Leaf
from solvers.search.neurons.bounding import Bounder
from solvers.search.neurons.clauses import ClauseRows
from solvers.search.neurons.crossing import Terms
from solvers.search.neurons.recording import CommonTree
from solvers.search.neurons.split_tree import SplitTree

__all__ = ["LeafTable", "TreeWriter", "proved_leaves"]

_LEAF, _SPLIT, _TIGHTEN, _CLOSE = range(4)
_EMPTY = -1
_ADAPTIVE = -1
_BATCH = 256


@dataclass(frozen=True, eq=False)
class LeafTable:
    """What the leaves of a search are proved with.

    Attributes:
        place: Position in the rest by a leaf's identity; empty leaves are missing.
        row: Row of its clause, shape `(leaves,)`.
        compact: Slopes and multipliers.
        columns: Which of the tree's values these belong to.
        lines: Whether slopes are those of curves, too.
    """

    place: Mapping[int, int]
    row: NDArray[np.int64]
    compact: Compact
    columns: NDArray[np.int64]
    lines: bool = False


def proved_leaves(
    bounder: Bounder, clauses: ClauseRows, leaves: Sequence[Leaf], values: Values, need: float
) -> LeafTable | None:
    """Choose row, slopes and multipliers of every leaf that is not empty.

    Args:
        bounder: On the bounds that the search began with.
        clauses: Of the case.
        leaves: Of one search.
        values: Of the tree; holds all that the search could split.
        need: What the bound of every leaf has to exceed.

    Returns:
        None where some leaf is not proved with rounded slopes.
    """
    kept = [leaf for leaf in leaves if np.isfinite(leaf.floor)]
    columns = values.places(kept[0].values) if kept else np.zeros(0, dtype=np.int64)
    size = bounder.layout.size
    lower, upper = (
        torch.stack([getattr(leaf, side) for leaf in kept]) if kept else torch.zeros(0, size)
        for side in ("lower", "upper")
    )
    rows = clauses.rows
    alpha, gamma = (
        torch.cat([getattr(leaf, name) for leaf in kept]) if kept else torch.zeros(0, size)
        for name in ("alpha", "gamma")
    )
    every = Terms(lower.repeat_interleave(rows, 0), upper.repeat_interleave(rows, 0), alpha, gamma)
    own = torch.tensor([leaf.clause for leaf in kept], dtype=torch.long)
    functions = clauses.functions(own)
    best = torch.zeros(len(kept), dtype=torch.long)
    if rows > 1:
        found = [
            bounder.lower(functions[i : i + _BATCH], every[slice(i, i + _BATCH)])
            for i in range(0, functions.count, _BATCH)
        ]
        best = torch.cat([torch.zeros(0), *found]).reshape(-1, rows).argmax(1).cpu()
    index = torch.arange(len(kept)) * rows + best
    chosen = Terms(*(p.cpu()[index] for p in (every.lower, every.upper, every.alpha, every.gamma)))
    device = functions.offset.device
    proved = functions[index.to(device)]
    compact = (
        with_lines(bounder, proved, chosen)
        if chosen.moves
        else compacted(bounder, proved, chosen, need)
    )
    if compact is None:
        return None
    place = {id(leaf): number for number, leaf in enumerate(kept)}
    # Rows beyond a clause's own repeat its first.
    row = torch.where(best < clauses.counts[own], best, 0)
    return LeafTable(place, row.numpy(), compact, columns, chosen.moves)


@dataclass
class TreeWriter:
    """Writes the trees of all clauses of one box, one after the other.

    Attributes:
        values: Of the tree.
        tensors: ONNX names by node.
    """

    values: Values
    tensors: Mapping[str, str]
    _kind: list[int] = field(default_factory=list)
    _splits: list[tuple[int, float]] = field(default_factory=list)
    _tightened: list[list[tuple[int, bool]]] = field(default_factory=list)
    _leaves: list[tuple[int, int]] = field(default_factory=list)
    _gamma: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = field(default_factory=list)
    _slopes: list[Tensor] = field(default_factory=list)
    _places: NDArray[np.int64] | None = None

    def plain(self, row: int) -> None:
        """Write a clause that adaptive slopes prove.

        Args:
            row: Which is positive, among all rows of the file.
        """
        self._leaf(row, _ADAPTIVE)

    def tree(self, tree: SplitTree, table: LeafTable, first_row: int) -> None:
        """Write a clause that was split.

        Args:
            tree: Its domains.
            table: Of the leaves.
            first_row: Of the clause, among all rows of the file.
        """
        for domain in tree.preorder():
            if domain.tightened:
                self._kind.append(_TIGHTEN)
                self._tightened.append(
                    [
                        (self.values.place(node, index), side)
                        for node, index, side in domain.tightened
                    ]
                )
            if domain.cut is not None:
                node, index, point = domain.cut
                self._kind.append(_SPLIT)
                self._splits.append((self.values.place(node, index), point))
                continue
            number = table.place.get(id(domain.leaf))
            if number is None:
                self._leaf(_EMPTY, _ADAPTIVE)
                continue
            self._from(table, number, first_row)

    def common(
        self, tree: CommonTree, table: LeafTable, first_rows: Sequence[int], plain: Sequence[int]
    ) -> None:
        """Write the tree that all clauses share.

        Args:
            tree: What was kept of it; every domain is split, or all clauses are proved there.
            table: Of the leaves.
            first_rows: Of every clause, among all rows of the file.
            plain: Rows that adaptive slopes prove, one for each clause that has no leaf.
        """
        self._places = self.values.places(tree.values)
        waiting = [0]
        while waiting:
            number = waiting.pop()
            passed = tree.passed.get(number, [])
            if passed:
                self._kind.append(_TIGHTEN)
                bounds = [bound for part in passed for bound in part.bounds]
                self._tightened.append(
                    [(self.values.place(node, index), side) for node, index, side in bounds]
                )
                self._slopes += [part.slopes for part in passed]
            for row in plain if number == 0 else ():
                self._leaf(row, _ADAPTIVE, kind=_CLOSE)
            leaves, halves = tree.leaves.get(number, []), tree.halves.get(number, ())
            if not halves and any(np.isposinf(leaf.floor) for leaf in leaves):
                self._leaf(_EMPTY, _ADAPTIVE)
                continue
            for place, leaf in enumerate(leaves, start=1):
                last = place == len(leaves) and not halves
                kind = _LEAF if last else _CLOSE
                self._from(table, table.place[id(leaf)], first_rows[leaf.clause], kind)
            if halves:
                node, index, point = tree.cuts[number]
                self._kind.append(_SPLIT)
                self._splits.append((self.values.place(node, index), point))
                waiting += reversed(halves)

    def _from(self, table: LeafTable, number: int, first_row: int, kind: int = _LEAF) -> None:
        """Write a leaf that a table holds."""
        gamma = table.compact.gamma[number].cpu().numpy()
        used = np.flatnonzero(gamma)
        self._leaf(
            first_row + int(table.row[number]),
            int(table.compact.chosen[number]),
            (table.columns[used], gamma[used]),
            kind=kind,
        )

    def _leaf(
        self,
        row: int,
        alpha: int,
        gamma: tuple[NDArray[np.int64], NDArray[np.float32]] | None = None,
        kind: int = _LEAF,
    ) -> None:
        self._kind.append(kind)
        self._leaves.append((row, alpha))
        nothing = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        self._gamma.append(nothing if gamma is None else gamma)

    def done(self, groups: Sequence[BoundGroup], table: LeafTable | None) -> NeuronTree:
        """Return what was written.

        Args:
            groups: Better bounds that the trees stand on; slopes over the tree's values.
            table: Of all leaves; None where every clause was plain.
        """
        alpha = np.zeros((0, len(self.values)), dtype=np.uint8)
        if table is not None:
            narrow = table.compact.alpha
            alpha = np.zeros((len(narrow), len(self.values)), dtype=narrow.dtype)
            alpha[:, table.columns] = narrow
        alpha, common = self._with_slopes(alpha)
        rows, slopes = _columns(self._leaves, (np.int32, np.int32))
        split, point = _columns(self._splits, (np.int32, np.float64))
        flat = [pair for pairs in self._tightened for pair in pairs]
        value, side = _columns(flat, (np.int32, np.uint8))
        at = [np.zeros(0, dtype=np.int64), *(places for places, _ in self._gamma)]
        sizes = [np.zeros(0, dtype=np.float32), *(sizes for _, sizes in self._gamma)]
        names, index = self.values.layout(self.tensors)
        return NeuronTree(
            values=names,
            index=index,
            groups=tuple(groups),
            kind=np.array(self._kind, dtype=np.uint8),
            split_value=split,
            split_point=point,
            tighten_start=_starts([len(pairs) for pairs in self._tightened]),
            tighten_value=value,
            tighten_side=side,
            leaf_row=rows,
            leaf_alpha=slopes,
            alpha=alpha,
            gamma_start=_starts([len(places) for places, _ in self._gamma]),
            gamma_value=np.concatenate(at).astype(np.int32),
            gamma=np.concatenate(sizes).astype(np.float32),
            lines=table is not None and table.lines,
            common=common,
        )

    def _with_slopes(self, alpha: NDArray[Any]) -> tuple[NDArray[Any], Common | None]:
        """Return slopes of leaves with those of tightenings behind them, and which is whose."""
        if self._places is None:
            return alpha, None
        count = sum(len(part) for part in self._slopes)
        own = np.zeros((count, len(self.values)), dtype=alpha.dtype)
        first = 0
        for part in self._slopes:
            # 255ths are exact in both types that slopes may have
            whole = part.numpy().astype(alpha.dtype) * (np.iinfo(alpha.dtype).max // 255)
            own[first : first + len(part), self._places[: part.shape[1]]] = whole
            first += len(part)
        numbers = np.arange(len(alpha), len(alpha) + count, dtype=np.int32)
        return np.concatenate([alpha, own]), Common(numbers)


def _columns(
    pairs: Sequence[tuple[float, float]], types: tuple[type[np.number], type[np.number]]
) -> tuple[NDArray[np.number], NDArray[np.number]]:
    """Return pairs as two arrays."""
    first, second = zip(*pairs, strict=True) if pairs else ((), ())
    return np.array(first, dtype=types[0]), np.array(second, dtype=types[1])


def _starts(counts: Sequence[int]) -> NDArray[np.int64]:
    return np.cumsum([0, *counts], dtype=np.int64)
