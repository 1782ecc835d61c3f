"""Where rows come from that make relaxations of an exact program tighter, and keep its answer.

The separator of cuts builds on this package, so that the search is handed one instead of
importing it: see `solvers.convex.root`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from models.network import Network
from solvers.budget import Budget
from solvers.exact.context import Bounds
from solvers.exact.encode import EncodedNetwork
from solvers.exact.model import MilpModel

__all__ = ["Strengthener", "Strengthening"]


class Strengthening(Protocol):
    """Adds rows to programs of one network."""

    def __call__(
        self, model: MilpModel, encoded: EncodedNetwork, bounds: Bounds, budget: Budget
    ) -> MilpModel:
        """Return a program with the same columns, objective and integrality, and further rows.

        Whatever input of the region lies within the bounds must satisfy the rows, with the values
        that the network takes there.

        Args:
            model: Of one clause, relaxed or not.
            encoded: The columns that its first ones are.
            bounds: That it was encoded with.
            budget: Of the clause; a small part of it may be spent.
        """


Strengthener = Callable[[Network], Strengthening]
