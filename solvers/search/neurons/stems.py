"""Domains that all clauses share, and those of them that wait."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from solvers.search.neurons.domains import Domains
from solvers.search.neurons.rows import DomainRows

__all__ = ["Stems", "Waiting"]


@dataclass(frozen=True, eq=False)
class Stems(DomainRows):
    """Parts of the region, each with what is known of every clause there.

    Attributes:
        floor: Proved lower bounds of margins, float64, shape `(domains, clauses)`.
        depth: Number of splits, shape `(domains,)`.
        number: That the search gave it, the same shape.
        lower, upper: Bounds of the values that can be split, shape `(domains, size)`.
        alpha, gamma: Slopes and multipliers, shape `(domains, clauses, rows_of_a_clause, size)`.
        candidates: Values that may be split next, best first, shape `(domains, count)`; −1 for
            none.
    """

    floor: Tensor
    depth: Tensor
    number: Tensor
    lower: Tensor
    upper: Tensor
    alpha: Tensor
    gamma: Tensor
    candidates: Tensor

    def halves(self, values: Tensor, number: int) -> Stems:
        """Return both halves of every domain, first all lower ones, then all upper ones.

        Args:
            values: That each is split at, at zero, shape `(domains,)`.
            number: Of the first half.
        """
        count = len(self)
        index = torch.arange(count, device=values.device)
        both = self[torch.cat([index, index])]
        lower, upper = both.lower.clone(), both.upper.clone()
        upper[index, values] = upper[index, values].clamp(max=0)
        lower[index + count, values] = lower[index + count, values].clamp(min=0)
        numbers = torch.arange(number, number + 2 * count, device=values.device)
        return replace(both, depth=both.depth + 1, number=numbers, lower=lower, upper=upper)

    def pairs(self, domain: Tensor, clause: Tensor) -> Domains:
        """Return domains of single clauses.

        Args:
            domain: Positions, shape `(pairs,)`.
            clause: The same shape.
        """
        return Domains(
            clause,
            self.floor[domain, clause],
            self.depth[domain],
            self.number[domain],
            self.lower[domain],
            self.upper[domain],
            self.alpha[domain, clause],
            self.gamma[domain, clause],
            self.candidates[domain],
        )


class Waiting:
    """Domains that wait, the least bound first."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Stems]] = []
        self.bytes = 0

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._heap)

    def add(self, stems: Stems) -> None:
        """Take domains in."""
        for place, least in enumerate(stems.floor.amin(1).tolist()):
            one = stems[place : place + 1]
            heapq.heappush(self._heap, (least, int(one.number), one))
        self.bytes += len(stems) * stems.bytes_each

    def take(self, count: int) -> Stems:
        """Remove the domains of the least bounds; at least one must wait."""
        number = min(count, len(self._heap))
        taken = Stems.joined([heapq.heappop(self._heap)[2] for _ in range(number)])
        self.bytes -= number * taken.bytes_each
        return taken

    def least(self, clauses: int) -> NDArray[np.float64]:
        """Return the least bound of every clause, infinite where none is open."""
        floors = [stem.floor.cpu().numpy() for _, _, stem in self._heap]
        open_ = [np.where(floor > 0, np.inf, floor) for floor in floors]
        found: NDArray[np.float64] = np.concatenate([*open_, np.full((1, clauses), np.inf)]).min(0)
        return found

    def missing(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return what domains miss to zero, and their depths, shape `(domains,)` each."""
        missing = [max(-least, np.finfo(np.float64).tiny) for least, _, _ in self._heap]
        depth = [int(stem.depth) for _, _, stem in self._heap]
        return np.array(missing), np.array(depth, dtype=np.int64)
