"""Trees of splits inside a network, rebuilt from the leaves that a search proved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from solvers.search.neurons.recording import Leaf, Split

__all__ = ["SplitTree"]

Tightening = tuple[tuple[str, int, bool], ...]


@dataclass(eq=False)
class SplitTree:
    """A domain: a leaf, or split in two.

    Attributes:
        tightened: Bounds that passes improved where the domain begins, one after the other.
        cut: Value and point of the split, or None for a leaf.
        halves: The half with values up to the point, and the other; None where nothing is known.
        leaf: What was proved of a leaf.
    """

    tightened: Tightening = ()
    cut: tuple[str, int, float] | None = None
    halves: list[SplitTree | None] = field(default_factory=lambda: [None, None])
    leaf: Leaf | None = None

    @classmethod
    def of(cls, leaves: Sequence[Leaf]) -> SplitTree | None:
        """Return the tree that leaves of one clause stand in; None where they do not cover it.

        Args:
            leaves: In any order; those of one search never contradict each other.
        """
        root = cls.grown(leaves)
        return root if root._complete() else None

    @classmethod
    def grown(cls, leaves: Iterable[Leaf]) -> SplitTree:
        """Return the same whether leaves cover it or not: where none is, halves are missing."""
        root = cls()
        for leaf in leaves:
            place = root
            for split in leaf.splits:
                place = place._half(split)
            place.leaf = leaf
        return root

    def _half(self, split: Split) -> SplitTree:
        """Return the half that a split leads to, made where it is new."""
        cut = (split.node, split.index, split.point)
        assert self.cut in (None, cut)  # noqa: S101  a domain is split once
        self.cut = cut
        half = self.halves[split.upper]
        if half is None:
            half = self.halves[split.upper] = SplitTree(split.tightened)
        return half

    def _complete(self) -> bool:
        """Return whether every path ends in a leaf."""
        waiting: list[SplitTree | None] = [self]
        while waiting:
            tree = waiting.pop()
            if tree is None or (tree.cut is None and tree.leaf is None):
                return False
            if tree.cut is not None:
                waiting += tree.halves
        return True

    def preorder(self) -> Iterator[SplitTree]:
        """Yield every domain before its halves, the lower half first."""
        waiting = [self]
        while waiting:
            tree = waiting.pop()
            yield tree
            if tree.cut is not None:
                waiting += [half for half in reversed(tree.halves) if half is not None]
