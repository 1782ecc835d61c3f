"""Domains to begin with where an earlier search has been: its leaves, with their multipliers.

Bounds of the region may differ from those that the leaves were proved on. So nothing is taken over
but splits, slopes and multipliers, and the tree is gone through from the region down: a cut that
the bounds have settled by now is left out, and what no leaf covers becomes a domain too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from solvers.search.neurons.crossing import first_slopes
from solvers.search.neurons.domains import Domains
from solvers.search.neurons.layout import Layout
from solvers.search.neurons.recording import Leaf, Split
from solvers.search.neurons.split_tree import SplitTree

__all__ = ["Starts"]


@dataclass(frozen=True, eq=False)
class _End:
    """A domain to begin with: its cuts, its bounds, and the leaf that was proved there, if any."""

    splits: tuple[Split, ...]
    lower: Tensor
    upper: Tensor
    leaf: Leaf | None


class Starts:
    """Domains that cover the region once for every clause.

    Args:
        layout: Numbers the values of this search.
        kept: Which values of a node the layout's network has, by name; all where it is missing.
        rows: Of a clause.
        width: How many candidates a domain holds.
        moves: Whether lines of nodes other than ReLUs are moved.
    """

    def __init__(
        self, layout: Layout, kept: Mapping[str, Tensor], *, rows: int, width: int, moves: bool
    ) -> None:
        self._moves = moves
        self._layout, self._kept, self._rows, self._width = layout, kept, rows, width
        self._known: tuple[object, tuple[Tensor, Tensor]] | None = None
        self._places = {
            (slot.node.name, index): slot.part.start + place
            for slot in layout.slots
            for place, index in enumerate(_whole(kept, slot.node.name, slot.indices).tolist())
        }

    def parts(
        self, clause: int, floor: float, leaves: Sequence[Leaf], size: int
    ) -> Iterator[tuple[Domains, list[tuple[Split, ...]]]]:
        """Yield domains, at most so many at once, and the splits of each.

        Args:
            clause: Of the leaves.
            floor: Proved lower bound of its margin over the region.
            leaves: Of an earlier search.
            size: Most domains of a part.
        """
        ends = []
        for end in self._ends(SplitTree.grown(leaves)):
            ends.append(end)
            if len(ends) == size:
                yield self._domains(clause, floor, ends), [end.splits for end in ends]
                ends = []
        if ends:
            yield self._domains(clause, floor, ends), [end.splits for end in ends]

    def _ends(self, tree: SplitTree) -> Iterator[_End]:
        layout = self._layout
        waiting: list[tuple[SplitTree | None, _End]] = [
            (tree, _End((), layout.lower, layout.upper, None))
        ]
        while waiting:
            part, at = waiting.pop()
            if part is None or part.cut is None:
                yield replace(at, leaf=None if part is None else part.leaf)
                continue
            side, place = self._side(part.cut, at), self._places.get(part.cut[:2])
            if side is not None:
                waiting.append((part.halves[side], at))
            elif place is None:
                yield at
            else:
                waiting += [(part.halves[u], _half(at, part.cut, place, u)) for u in (1, 0)]

    def _side(self, cut: tuple[str, int, float], at: _End) -> int | None:
        """Return the only half of a domain that has anything in it; None if both may."""
        name, index, point = cut
        place = self._places.get((name, index))
        if place is not None:
            low, high = float(at.lower[place]), float(at.upper[place])
        else:
            kept, node = self._kept.get(name), self._layout.root[name]
            if kept is not None:
                found = int(torch.searchsorted(kept, index))
                if found == len(kept) or int(kept[found]) != index:
                    return 0 if point >= 0 else None  # left out, because it is never positive
                index = found
            low, high = (float(end.flatten()[index]) for end in (node.lower, node.upper))
        if high <= point:
            return 0
        return 1 if low >= point else None

    def _domains(self, clause: int, floor: float, ends: Sequence[_End]) -> Domains:
        lower, upper = (torch.stack([getattr(end, side) for end in ends]) for side in _SIDES)
        count, device = len(ends), lower.device
        alpha = first_slopes(lower, upper)
        if self._moves:
            alpha = torch.cat([alpha, self._layout.line_start.expand(count, -1)], dim=1)
        begun = Domains.begun(
            torch.full((count,), clause, device=device),
            torch.full((count,), floor, dtype=torch.float64, device=device),
            lower,
            upper,
            alpha=alpha.unsqueeze(1).repeat(1, self._rows, 1),
            width=self._width,
        )
        for position, end in enumerate(ends):
            if end.leaf is not None and len(end.leaf.alpha) == self._rows:
                to, source = self._columns(end.leaf)
                begun.gamma[position][:, to] = end.leaf.gamma[:, source].to(begun.gamma)
                begun.alpha[position][:, to] = end.leaf.alpha[:, source].to(begun.alpha)
                for here, there in self._lines(end.leaf):
                    begun.alpha[position][:, here] = end.leaf.alpha[:, there].to(begun.alpha)
        return replace(begun, depth=torch.tensor([len(end.splits) for end in ends], device=device))

    def _lines(self, leaf: Leaf) -> Iterator[tuple[slice, slice]]:
        """Yield where moved lines stand here, and where in the leaf, as far as both know."""
        first = leaf.gamma.shape[1]
        for name, count in leaf.lines if self._moves else ():
            here = self._layout.moved.get(name)
            if here is not None and here.part.stop - here.part.start == count:
                yield here.part, slice(first, first + count)
            first += count

    def _columns(self, leaf: Leaf) -> tuple[Tensor, Tensor]:
        """Return where a leaf's values stand here, and where in the leaf, as far as both know."""
        if self._known is None or self._known[0] is not leaf.values:
            found = [
                (self._places[name, index], position)
                for position, (name, index) in enumerate(
                    (name, index) for name, part in leaf.values for index in part.tolist()
                )
                if (name, index) in self._places
            ]
            pairs = torch.tensor(found, dtype=torch.long).reshape(-1, 2)
            self._known = leaf.values, (pairs[:, 0], pairs[:, 1])
        return self._known[1]


_SIDES = ("lower", "upper")


def _half(at: _End, cut: tuple[str, int, float], place: int, upper: int) -> _End:
    low, high = at.lower, at.upper
    if upper:
        low = low.clone()
        low[place] = cut[2]
    else:
        high = high.clone()
        high[place] = cut[2]
    return _End((*at.splits, Split(*cut, bool(upper))), low, high, None)


def _whole(kept: Mapping[str, Tensor], name: str, indices: Tensor) -> Tensor:
    """Return flat indices into the whole node."""
    return kept[name][indices] if name in kept else indices
