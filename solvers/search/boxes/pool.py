"""Boxes that wait, in slots of growing arrays."""

from __future__ import annotations

import torch
from torch import Tensor

from solvers.bounds import Interval
from solvers.search.boxes.boxes import Boxes

__all__ = ["Pool"]

_DEPTH_FIRST_SHARE = 0.5
"""Of the memory limit, from which on the deepest boxes come first."""


class Pool:
    """Boxes that wait.

    Args:
        limit_bytes: What they may take. Above half of it, boxes come back deepest first, which
            keeps their number down; above all of it they lose the bounds of nodes they carry.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._stored: Boxes | None = None
        self._used = torch.zeros(0, dtype=torch.bool)
        self._count = 0
        self._carries = True

    def __len__(self) -> int:
        """Return how many boxes wait."""
        return self._count

    @property
    def bytes_used(self) -> int:
        """What the waiting boxes take."""
        return 0 if self._stored is None else self._count * self._stored.row_bytes

    @property
    def full(self) -> bool:
        """Whether the limit is reached though nothing is left that could be dropped."""
        return not self._carries and self.bytes_used > self._limit

    def put(self, boxes: Boxes) -> None:
        """Add boxes."""
        if not len(boxes):
            return
        added = (self._count + len(boxes)) * boxes.row_bytes
        if self._carries and added > self._limit:
            self._carries = False
            if self._stored is not None:
                self._stored = self._stored.without_bounds()
        if not self._carries:
            boxes = boxes.without_bounds()
        if self._stored is None:
            self._stored = boxes[:0]
            self._used = self._used.to(boxes.case.device)
        if len(self._used) - self._count < len(boxes):
            self._grow(len(boxes))
        slots = (~self._used).nonzero().squeeze(1)[: len(boxes)]
        _write(self._stored, slots, boxes)
        self._used[slots] = True
        self._count += len(boxes)

    def _grow(self, least: int) -> None:
        assert self._stored is not None  # noqa: S101  put made it
        extra = max(least, len(self._used) // 2, 256)
        blank = {name: _blank(value, extra) for name, value in _columns(self._stored).items()}
        bounds = {
            name: Interval(_blank(each.lower, extra), _blank(each.upper, extra))
            for name, each in self._stored.bounds.items()
        }
        self._stored = Boxes.joined([self._stored, Boxes(**blank, bounds=bounds)])
        self._used = torch.cat([self._used, self._used.new_zeros(extra)])

    def take(self, count: int) -> Boxes:
        """Remove and return boxes: those of least bound, and those with the least margin reached.

        Args:
            count: How many, or all that there are.
        """
        assert self._stored is not None  # noqa: S101  nobody takes from an empty pool
        slots = self._used.nonzero().squeeze(1)
        if len(slots) > count:
            slots = slots[self._order(slots, count)]
        taken = self._stored[slots]
        self._used[slots] = False
        self._count -= len(slots)
        return taken

    def _order(self, slots: Tensor, count: int) -> Tensor:
        stored = self._stored
        assert stored is not None  # noqa: S101  see take
        if self.bytes_used > _DEPTH_FIRST_SHARE * self._limit:
            return stored.depth[slots].topk(count).indices
        half = count // 2
        likely = stored.reached[slots].topk(half, largest=False).indices
        worst = stored.worst[slots]
        worst[likely] = torch.inf
        loosest = worst.topk(count - half, largest=False).indices
        return torch.cat([likely, loosest])

    def least(self, floor: Tensor) -> Tensor:
        """Return the least lower bounds of every case's clauses.

        Args:
            floor: Of boxes that are not here, shape `(cases, clauses)`.
        """
        if self._stored is None:
            return floor
        case = self._stored.case[self._used]
        values = self._stored.clause_lower[self._used]
        index = case.unsqueeze(1).expand_as(values)
        return floor.scatter_reduce(0, index, values, "amin")


def _columns(boxes: Boxes) -> dict[str, Tensor]:
    return {name: value for name, value in vars(boxes).items() if isinstance(value, Tensor)}


def _blank(like: Tensor, count: int) -> Tensor:
    return like.new_zeros(count, *like.shape[1:])


def _write(stored: Boxes, slots: Tensor, boxes: Boxes) -> None:
    """Copy boxes into slots; a box without bounds of a node is given infinite ones."""
    for name, column in _columns(stored).items():
        column[slots] = getattr(boxes, name)
    for name, interval in stored.bounds.items():
        there = boxes.bounds.get(name)
        interval.lower[slots] = -torch.inf if there is None else there.lower
        interval.upper[slots] = torch.inf if there is None else there.upper
