"""When bounds inside domains are tightened where their clause can still hold, and of how many."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from solvers.budget import Budget
from solvers.search.crew import Monitor
from solvers.search.neurons.domains import Domains
from solvers.search.neurons.focusing import Focuser
from solvers.search.neurons.functions import Functions

__all__ = ["Sharpener"]

_CUTOFF = 1e-3
"""Of what is missing where a clause is first sharpened: margins up to that count as open."""
_TURN_SECONDS = 1.0
"""What tightening the domains of a round once may take."""
_FEWEST = 24
_WHOLE_SHARE = 0.3
"""Where a turn is enough for this share of a domain's values, it takes them all."""
_LEAST_SHARE = 0.1
"""Values of a domain that can be tightened in a turn; where it is fewer, nothing is."""


class Sharpener:
    """Tightens bounds of domains as long as that pays.

    Args:
        focuser: Does it.
        clauses: Of the case.
        values: That a domain has at most.
        monitor: Is left for that long.

    Attributes:
        ceiling: The most that floors of a clause's domains prove, shape `(clauses,)`.
    """

    def __init__(self, focuser: Focuser, clauses: int, values: int, monitor: Monitor) -> None:
        self._focuser, self._values = focuser, max(1.0, float(values))
        self._monitor = monitor
        self.ceiling = np.full(clauses, np.inf)
        self._passes, self._seconds, self._own = 0, 0.0, 0

    def timed(self, passes: int, seconds: float, *, own: bool = False) -> None:
        """Take in how long rows took to cross the network that many times in all."""
        if own or self._own == 0:
            self._passes, self._seconds = self._passes + passes, self._seconds + seconds

    @property
    def affordable(self) -> bool:
        """Whether tightening is quick enough to be of use."""
        return self._affordable >= max(_FEWEST, _LEAST_SHARE * self._values)

    @property
    def size(self) -> int:
        """How many domains such a round takes."""
        return max(1, int(self._affordable / self._values))

    @property
    def _affordable(self) -> float:
        """How many values can be tightened in a turn."""
        if self._passes == 0:
            return 0.0
        each = self._focuser.passes(1) * self._seconds / self._passes
        return _TURN_SECONDS / max(each, 1e-12)

    def sharpen(self, domains: Domains, functions: Functions, budget: Budget) -> Domains:
        """Tighten the bounds of domains; those found empty are proved up to the ceiling.

        Called inside the monitor.

        Args:
            domains: With finite floors.
            functions: Of every row of every domain.
            budget: When to stop.
        """
        clause = domains.clause.cpu().numpy()
        missing = np.full(len(self.ceiling), 0.0)
        np.maximum.at(missing, clause, domains.floor.abs().cpu().numpy())
        new = np.isinf(self.ceiling) & (np.bincount(clause, minlength=len(missing)) > 0)
        self.ceiling[new] = np.maximum(_CUTOFF * missing[new], np.finfo(np.float64).tiny)
        cutoff = torch.from_numpy(self.ceiling[clause]).to(domains.floor.device)
        most = self._focuser.values
        if self._affordable < _WHOLE_SHARE * self._values:
            most = max(1, int(self._affordable / len(domains)))
        with self._monitor.left():
            began = self._monitor.clock()
            found, values = self._focuser.focus(domains, functions, cutoff, budget, most)
            seconds = self._monitor.clock() - began
        if self._own == 0:
            self._passes, self._seconds = 0, 0.0  # climbs of few rows say little of many
        self._own += values
        self._values = max(1.0, values / len(domains))
        self.timed(self._focuser.passes(values), seconds, own=True)
        return found

    def capped(self, floor: Tensor, clause: Tensor) -> Tensor:
        """Return floors, shape `(domains,)`, of which no more is left than is proved."""
        return torch.minimum(floor, torch.from_numpy(self.ceiling).to(floor.device)[clause])
