"""Domains that wait, in memory that is laid out once and bounded."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from solvers.search.neurons.crossing import Terms
from solvers.search.neurons.rows import DomainRows

__all__ = ["Domains", "Pool"]


@dataclass(frozen=True, eq=False)
class Domains(DomainRows):
    """Parts of the region, each with one clause that is open there.

    Attributes:
        clause: Which clause, shape `(domains,)`.
        floor: Proved lower bound of its margin, float64, the same shape.
        depth: Number of splits, the same shape.
        number: That the search gave it, in order, the same shape.
        lower, upper: Bounds of the values that can be split, shape `(domains, size)`.
        alpha, gamma: Slopes and multipliers of every row of the clause, shape
            `(domains, rows, size)`; once bounded, slopes may have more behind (see `Terms`).
        candidates: Values that may be split next, best first, shape `(domains, count)`; −1 for
            none.
    """

    clause: Tensor
    floor: Tensor
    depth: Tensor
    number: Tensor
    lower: Tensor
    upper: Tensor
    alpha: Tensor
    gamma: Tensor
    candidates: Tensor

    @classmethod
    def begun(
        cls,
        clause: Tensor,
        floor: Tensor,
        lower: Tensor,
        upper: Tensor,
        *,
        alpha: Tensor,
        width: int,
    ) -> Domains:
        """Return domains of no depth, without multipliers; each will hold `width` candidates."""
        zeros = torch.zeros_like(clause)
        gamma = torch.zeros((*alpha.shape[:2], lower.shape[1]), device=lower.device)
        candidates = torch.full((len(clause), width), -1, device=lower.device)
        return cls(clause, floor, zeros, zeros, lower, upper, alpha, gamma, candidates)

    def numbered(self, number: Tensor) -> Domains:
        """Return the domains under other numbers."""
        return replace(self, number=number)

    def bounded(self, floor: Tensor, terms: Terms, candidates: Tensor) -> Domains:
        """Return the domains with what bounding them found.

        Args:
            floor: Shape `(domains,)`.
            terms: Of every row, shape `(domains · rows, size)` each.
            candidates: Shape `(domains, count)`.
        """
        rows = self.alpha.shape[:2]
        return replace(
            self,
            floor=floor,
            alpha=terms.alpha.reshape(*rows, terms.alpha.shape[1]),
            gamma=terms.gamma.reshape(*rows, terms.gamma.shape[1]),
            candidates=candidates,
        )

    def replaced(self, index: Tensor, other: Domains) -> Domains:
        """Return the domains with those at some places replaced."""
        return Domains(
            *(
                getattr(self, f.name).index_copy(0, index, getattr(other, f.name))
                for f in fields(self)
            )
        )

    @property
    def terms(self) -> Terms:
        """What the rows are bounded with, shape `(domains · rows, size)` each."""
        rows = self.alpha.shape[1]
        return Terms(
            self.lower.repeat_interleave(rows, 0),
            self.upper.repeat_interleave(rows, 0),
            self.alpha.flatten(0, 1),
            self.gamma.flatten(0, 1),
        )


class Pool:
    """Domains that wait, in places that are used again, and bounds of those that are worked on.

    Args:
        like: Domains of the shapes and on the device that the pool will hold; none is taken.
        limit_bytes: What all places may take.

    Attributes:
        capacity: How many domains there is room for.
        lent: How many are worked on; each may come back as two.
    """

    def __init__(self, like: Domains, limit_bytes: int) -> None:
        self.capacity = max(1, limit_bytes // max(1, like.bytes_each))
        self._store = like[:0]
        self._free: list[int] = []
        self._used = np.zeros(0, dtype=np.bool_)
        self._floor = np.zeros(0)
        self._clause = np.zeros(0, dtype=np.int64)
        self._number = np.zeros(0, dtype=np.int64)
        self._out: dict[int, tuple[NDArray[np.int64], NDArray[np.float64]]] = {}
        self._tickets, self.lent = 0, 0

    def __len__(self) -> int:
        """Return how many domains wait."""
        return len(self._used) - len(self._free)

    @property
    def fill(self) -> float:
        """The share of the memory that is taken."""
        return len(self) / self.capacity

    def fits(self, more: int) -> bool:
        """Return whether there is room for `more` domains, and for what comes back."""
        return len(self) + 2 * self.lent + more <= self.capacity

    def add(self, domains: Domains) -> None:
        """Take domains in; there must be room."""
        count = len(domains)
        if count == 0:
            return
        assert self.fits(count)  # noqa: S101  the search asks before
        if count > len(self._free):
            self._grow(count - len(self._free))
        places = np.array(self._free[len(self._free) - count :], dtype=np.int64)
        del self._free[len(self._free) - count :]
        index = torch.from_numpy(places).to(domains.clause.device)
        for f in fields(domains):
            getattr(self._store, f.name).index_copy_(0, index, getattr(domains, f.name))
        self._used[places] = True
        self._floor[places] = domains.floor.cpu().numpy()
        self._clause[places] = domains.clause.cpu().numpy()
        self._number[places] = domains.number.cpu().numpy()

    def take(self, count: int, *, newest: bool = False) -> Domains:
        """Remove the domains of the least bounds, or the newest ones, at most `count`."""
        places = np.flatnonzero(self._used)
        key = -self._number[places] if newest else self._floor[places]
        if count < len(places):
            places = places[np.argpartition(key, count - 1)[:count]]
            key = -self._number[places] if newest else self._floor[places]
        places = places[np.argsort(key, kind="stable")]
        self._used[places] = False
        self._free.extend(places.tolist())
        return self._store[torch.from_numpy(places).to(self._store.clause.device)]

    def lend(self, domains: Domains) -> int:
        """Keep the bounds of domains that were taken, until they are back; return a ticket.

        What is known of a region is the least bound of all its parts, wherever these are.
        """
        self._tickets += 1
        clause, floor = domains.clause.cpu().numpy(), domains.floor.cpu().numpy()
        self._out[self._tickets] = clause, floor
        self.lent += len(floor)
        return self._tickets

    def returned(self, ticket: int) -> None:
        """Forget domains that were lent; what became of them is added, or closed, right after."""
        self.lent -= len(self._out.pop(ticket)[1])

    def drop_clauses(self, proved: NDArray[np.bool_]) -> None:
        """Remove the domains of some clauses.

        Args:
            proved: Shape `(clauses,)`.
        """
        places = np.flatnonzero(self._used & proved[self._clause])
        self._used[places] = False
        self._free.extend(places.tolist())

    def least(self, clauses: int) -> NDArray[np.float64]:
        """Return the least bound of every clause's domains, infinite where it has none."""
        least = np.full(clauses, np.inf)
        np.minimum.at(least, self._clause[self._used], self._floor[self._used])
        for clause, floor in self._out.values():
            np.minimum.at(least, clause, floor)
        return least

    def _grow(self, more: int) -> None:
        """Add places, at least as many as there are, up to the capacity."""
        present = len(self._used)
        total = min(self.capacity, max(2 * present, present + more, 64))
        self._store = Domains(
            *(
                torch.cat([part, part.new_empty(total - present, *part.shape[1:])])
                for part in (getattr(self._store, f.name) for f in fields(self._store))
            )
        )
        self._used = np.concatenate([self._used, np.zeros(total - present, dtype=np.bool_)])
        self._floor = np.concatenate([self._floor, np.zeros(total - present)])
        zeros = np.zeros(total - present, dtype=np.int64)
        self._clause = np.concatenate([self._clause, zeros])
        self._number = np.concatenate([self._number, zeros])
        self._free.extend(range(present, total))
