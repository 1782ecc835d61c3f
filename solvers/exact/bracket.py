"""What is known of the margin while a search runs, and the check that it is consistent.

Lower bounds per clause come from proofs; the upper bound from replayed inputs. A replayed input
below a proved bound means that solver and network disagree, and then nothing counts.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from models.errors import ShapeError
from solvers.errors import SolverFailedError
from solvers.exact.options import ExactMode

__all__ = ["Bracket"]

FloatArray = NDArray[np.float64]

_DISAGREEMENT = 1e-5
_FLOAT32_DISAGREEMENT = 1e-3
"""Relative to 1 + size. The second is for an incumbent that may have been run in float32."""


class Bracket:
    """Lower bound of each clause, and the best replayed input.

    Args:
        clauses: How many there are.
        clause_lower: What is already proved of each, shape `(clauses,)`; None for nothing.
        incumbent: The best margin known elsewhere.
        mode: What is wanted.
        gap: Absolute, and relative to the margin.
        partial: Whether bounds are about a part of the region only: then points elsewhere say
            nothing against them.

    Raises:
        ShapeError: `clause_lower` has another shape.
    """

    def __init__(
        self,
        clauses: int,
        clause_lower: FloatArray | None,
        incumbent: float,
        *,
        mode: ExactMode,
        gap: float,
        partial: bool = False,
    ) -> None:
        given = np.full(clauses, -math.inf) if clause_lower is None else clause_lower
        if given.shape != (clauses,):
            raise ShapeError(f"clause_lower has shape {given.shape} for {clauses} clauses")
        self.clause_lower: FloatArray = np.where(np.isnan(given), -math.inf, given)
        self.upper = math.inf
        self.candidate: FloatArray | None = None
        self._incumbent = math.inf if math.isnan(incumbent) else incumbent
        self._least = np.full(clauses, math.inf)
        self._mode = mode
        self._gap = gap
        self._partial = partial

    @property
    def lower(self) -> float:
        """Proved for all clauses; never above the replayed upper bound of the whole region."""
        least = float(self.clause_lower.min())
        return least if self._partial else min(least, self.upper)

    @property
    def known(self) -> float:
        """The best margin known, replayed here or elsewhere."""
        return min(self.upper, self._incumbent)

    def replayed(self, x: FloatArray, margins: FloatArray, *, inner: bool = True) -> None:
        """Take in an input that the network was run on.

        Args:
            x: The input.
            margins: Of each clause there.
            inner: Whether it is in the part that bounds are about.

        Raises:
            SolverFailedError: A clause's margin lies below what is proved of it.
        """
        if inner:
            self._least = np.minimum(self._least, margins)
        if margins.min() < self.upper:
            self.upper, self.candidate = float(margins.min()), x
        self._check()

    def prove(self, clause: int, lower: float) -> None:
        """Take in a lower bound of one clause.

        Raises:
            SolverFailedError: It is not a number, infinite, or above a replayed margin.
        """
        if math.isnan(lower) or lower == math.inf:
            raise SolverFailedError(f"a solver claims the bound {lower} for a finite margin")
        self.clause_lower[clause] = max(self.clause_lower[clause], lower)
        self._check()

    def close(self) -> None:
        """Take in that there is no input on the sides of the splits, which has been proved.

        Raises:
            SolverFailedError: One was replayed.
        """
        self.clause_lower[:] = math.inf
        self._check()

    def _check(self) -> None:
        finite = np.where(np.isfinite(self.clause_lower), self.clause_lower, 0.0)
        below = self._least < self.clause_lower - _DISAGREEMENT * (1.0 + np.abs(finite))
        if below.any():
            clause = int(np.flatnonzero(below)[0])
            raise SolverFailedError(
                f"clause {clause} is said to have a margin of at least "
                f"{self.clause_lower[clause]:.9g}, but an input in the region has "
                f"{self._least[clause]:.9g}: solver or bounds disagree with the network"
            )
        least = float(self.clause_lower.min())
        if self._partial:
            return
        if self._incumbent < least - _FLOAT32_DISAGREEMENT * (1.0 + abs(least)):
            raise SolverFailedError(
                f"the margin is said to be at least {least:.9g}, but an input with "
                f"{self._incumbent:.9g} is known: solver or bounds disagree with the network"
            )

    @property
    def decided(self) -> bool:
        """Whether the sign of the margin is known."""
        return self.lower > 0.0 or self.upper <= 0.0

    @property
    def settled(self) -> NDArray[np.bool_]:
        """Which clauses can change nothing any more, shape `(clauses,)`."""
        if self._mode is ExactMode.DECIDE:
            return np.asarray((self.clause_lower > 0.0) | (self.upper <= 0.0))
        return np.asarray(self.clause_lower >= self.goal)

    @property
    def goal(self) -> float:
        """The lower bound at which a clause needs no more work."""
        if self._mode is ExactMode.DECIDE:
            return 0.0
        if math.isinf(self.known):
            return self.known
        return self.known - self._gap * max(1.0, abs(self.known))
