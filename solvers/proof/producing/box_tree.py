"""Binary trees of boxes, rebuilt from the boxes that a search proved.

A search cuts boxes in the middle and tells of those that it proved, not of the cuts. Among all
leaves inside a box, some cut through its middle parts none of them: that of the search does, and
any other such cut serves as well, since what lies on either side is again a set of halved boxes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["BoxLeaves", "BoxTree"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_LEAF = -1


@dataclass
class BoxLeaves:
    """Keeps the boxes that a search over boxes proved, case by case; a recorder."""

    _parts: dict[int, list[tuple[FloatArray, FloatArray]]] = field(default_factory=dict)

    def leaves(self, cases: IntArray, lower: FloatArray, upper: FloatArray) -> None:
        """Take over leaves."""
        flat = lower.reshape(len(lower), -1), upper.reshape(len(upper), -1)
        for case in np.unique(cases):
            mine = cases == case
            self._parts.setdefault(int(case), []).append((flat[0][mine], flat[1][mine]))

    def of(self, case: int) -> tuple[FloatArray, FloatArray] | None:
        """Return the corners of a case's leaves, shape `(leaves, inputs)` each; None without any.

        Args:
            case: Position in what the search was given.
        """
        parts = self._parts.get(case)
        if not parts:
            return None
        return np.concatenate([low for low, _ in parts]), np.concatenate([up for _, up in parts])


@dataclass
class BoxTree:
    """Boxes that fall into halves, in flat arrays that grow.

    Attributes:
        lower, upper: Corners, shape `(nodes, inputs)`; node 0 is the region.
        dim: Input that is cut; −1 for a leaf. Shape `(nodes,)`, as all below.
        point: Where; not a number for a leaf.
        child: Number of the lower half, whose successor is the upper half; −1 for a leaf.
    """

    lower: FloatArray
    upper: FloatArray
    dim: IntArray
    point: FloatArray
    child: IntArray

    @classmethod
    def whole(cls, lower: FloatArray, upper: FloatArray) -> BoxTree:
        """Return a region as one leaf, given its corners of shape `(inputs,)`."""
        none = np.full(1, _LEAF, dtype=np.int64)
        return cls(lower[np.newaxis], upper[np.newaxis], none, np.full(1, np.nan), none.copy())

    @classmethod
    def rebuilt(
        cls, region: tuple[FloatArray, FloatArray], leaves: tuple[FloatArray, FloatArray]
    ) -> BoxTree:
        """Return the tree of cuts that the leaves of a search came from.

        Where leaves do not cover a box, or no middle parts them, the tree ends in a leaf of its
        own, of which nothing is proved.

        Args:
            region: Corners, shape `(inputs,)` each.
            leaves: Corners, shape `(leaves, inputs)` each, from repeated halving of the region.
        """
        tree = cls.whole(*region)
        low, high = leaves
        owner = np.zeros(len(low), dtype=np.int64)
        while len(owner):
            # A box that is one leaf is done.
            same = (low == tree.lower[owner]).all(1) & (high == tree.upper[owner]).all(1)
            low, high, owner = low[~same], high[~same], owner[~same]
            nodes, place = np.unique(owner, return_inverse=True)
            dims = _parting(tree, nodes, place, low, high)
            tree.split(nodes[dims >= 0], dims[dims >= 0])
            kept = dims[place] >= 0
            low, high, owner = low[kept], high[kept], owner[kept]
            along = tree.dim[owner][:, np.newaxis]
            above = np.take_along_axis(low, along, 1)[:, 0] >= tree.point[owner]
            owner = tree.child[owner] + above
        return tree

    def __len__(self) -> int:
        """Return the number of nodes."""
        return len(self.dim)

    @property
    def leaves(self) -> IntArray:
        """Numbers of the leaves."""
        return np.flatnonzero(self.dim == _LEAF)

    def copy(self) -> BoxTree:
        """Return a tree that grows on its own."""
        numbers = self.dim.copy(), self.point.copy(), self.child.copy()
        return BoxTree(self.lower.copy(), self.upper.copy(), *numbers)

    def middles(self, nodes: IntArray) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Return the middles of boxes, and along which inputs these lie strictly inside."""
        middle = self.lower[nodes] / 2 + self.upper[nodes] / 2
        return middle, (middle > self.lower[nodes]) & (middle < self.upper[nodes])

    def split(self, nodes: IntArray, dims: IntArray) -> IntArray:
        """Cut leaves through the middle; return the halves, the two of a leaf side by side.

        Args:
            nodes: Numbers of leaves, each once.
            dims: Along which input each is cut; its middle must lie strictly inside.
        """
        count = len(nodes)
        child = len(self) + 2 * np.arange(count)
        point = self.middles(nodes)[0][np.arange(count), dims]
        lower = self.lower[nodes].repeat(2, axis=0)
        upper = self.upper[nodes].repeat(2, axis=0)
        upper[2 * np.arange(count), dims] = point
        lower[2 * np.arange(count) + 1, dims] = point
        self.dim[nodes], self.point[nodes], self.child[nodes] = dims, point, child
        self.lower = np.concatenate([self.lower, lower])
        self.upper = np.concatenate([self.upper, upper])
        self.dim = np.concatenate([self.dim, np.full(2 * count, _LEAF)])
        self.point = np.concatenate([self.point, np.full(2 * count, np.nan)])
        self.child = np.concatenate([self.child, np.full(2 * count, _LEAF)])
        return np.arange(len(self) - 2 * count, len(self))

    def preorder(self) -> IntArray:
        """Return all nodes, each before its halves, the lower half first."""
        order, waiting = [], [0]
        child = self.child.tolist()
        while waiting:
            node = waiting.pop()
            order.append(node)
            if child[node] != _LEAF:
                waiting += [child[node] + 1, child[node]]
        return np.array(order, dtype=np.int64)

    def points(self, nodes: IntArray) -> FloatArray:
        """Return the points of inner nodes; not a number where it is l + (u − l) / 2."""
        along = self.dim[nodes][:, np.newaxis]
        low = np.take_along_axis(self.lower[nodes], along, 1)[:, 0]
        high = np.take_along_axis(self.upper[nodes], along, 1)[:, 0]
        return np.where(self.point[nodes] == low + (high - low) / 2, np.nan, self.point[nodes])


def _parting(
    tree: BoxTree, nodes: IntArray, place: IntArray, low: FloatArray, high: FloatArray
) -> IntArray:
    """Return for every node an input whose middle parts none of its leaves; −1 where none does.

    Args:
        tree: That the nodes belong to.
        nodes: Shape `(nodes,)`.
        place: Position in `nodes` of every leaf's box, shape `(leaves,)`.
        low: Corners of the leaves, shape `(leaves, inputs)`.
        high: The same.
    """
    middle, usable = tree.middles(nodes)
    # Counted, not or-ed: `add.at` is slow, and one product with a sorted order does as well.
    order = np.argsort(place, kind="stable")
    parted = (low[order] < middle[place[order]]) & (high[order] > middle[place[order]])
    starts = np.searchsorted(place[order], np.arange(len(nodes)))
    if len(nodes):
        usable &= ~np.logical_or.reduceat(parted, starts, axis=0)
    return np.where(usable.any(1), usable.argmax(1), -1) if len(nodes) else nodes
