"""The seam between exact search and solvers: one abstract class, plain data on both sides."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from models.errors import InvalidInputError
from solvers.budget import Budget
from solvers.exact.model import MilpModel
from solvers.results import SolverReport

__all__ = [
    "Licence",
    "MilpOutcome",
    "MilpSolver",
    "Monitor",
    "SolveRequest",
    "SolveStatus",
    "Tolerances",
]

FloatArray = NDArray[np.float64]

_POLL_SECONDS = 0.05


class Licence(StrEnum):
    """State of a solver's licence; `restricted` limits the size and forbids production use."""

    OPEN = "open"
    FULL = "full"
    RESTRICTED = "restricted"
    UNAVAILABLE = "unavailable"


class SolveStatus(StrEnum):
    """How a solve ended. `stopped`: on request of the monitor, the deadline included."""

    OPTIMAL = "optimal"
    INFEASIBLE = "infeasible"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Tolerances:
    """What a solver may be off by.

    Attributes:
        feasibility: Of rows, boxes and integrality, absolute.
        dual: Of reduced costs, absolute.
        gap: Difference of incumbent and objective bound at which a value counts as found:
            absolute, and relative to the incumbent.

    Raises:
        InvalidInputError: A number is out of the range that every solver takes.
    """

    feasibility: float = 1e-6
    dual: float = 1e-9
    gap: float = 1e-4

    def __post_init__(self) -> None:
        limits = {"feasibility": self.feasibility, "dual": self.dual}
        for name, value in limits.items():
            if not 1e-9 <= value <= 1e-3:
                raise InvalidInputError(f"{name} is {value}; give a tolerance from 1e-9 to 1e-3")
        if not 0.0 <= self.gap < math.inf:
            raise InvalidInputError(f"gap is {self.gap}; give a finite number that is 0 or more")

    def safety(self, model: MilpModel) -> float:
        """Return what has to be taken off an objective bound before it counts as proved.

        A tree search prunes nodes that improve on the incumbent by less than the feasibility
        tolerance, and a linear program counts as solved when every reduced cost is right up to the
        dual tolerance, which costs at most that times the width of each column's box.
        """
        return self.feasibility + self.dual * model.total_width

    def to_dict(self) -> dict[str, float]:
        """Return the fields by name."""
        return {"feasibility": self.feasibility, "dual": self.dual, "gap": self.gap}


@dataclass(frozen=True, eq=False)
class SolveRequest:
    """What to solve for.

    Attributes:
        tolerances: For the solver's parameters.
        watched: Columns whose values are wanted of each incumbent.
        stop_bound: An objective bound of at least this ends the solve.
        threads: For solvers that have threads.
        seed: For solvers that have one.
        pairs: Columns of which one in each pair has to be 0, shape `(pairs, 2)`; only for solvers
            that take them.
        start: Values of the watched columns of a good point, which determine the others, for
            solvers that can begin with a part of a point; None if none is known.
    """

    tolerances: Tolerances
    watched: NDArray[np.int64]
    stop_bound: float = math.inf
    threads: int = 1
    seed: int = 0
    pairs: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2), dtype=np.int64))
    start: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class MilpOutcome:
    """What a solver says. None of it is believed before it is checked.

    Attributes:
        status: How the solve ended.
        objective_bound: No feasible point is better than this; −∞ if nothing is proved.
        incumbent: Objective of the best point found; ∞ if there is none.
        values: That point's watched columns, or None.
        nodes: Of the search tree.
        report: Which solver, under what terms, in its own words.
        proved: Whether the bound, and that there is no feasible point, were recomputed from
            multipliers instead of taken from a solver.
    """

    status: SolveStatus
    objective_bound: float
    incumbent: float
    values: FloatArray | None
    nodes: int
    report: SolverReport
    proved: bool = False


class Monitor:
    """What an adapter tells while it solves, and where it asks whether to go on.

    Nothing here raises into a solver's callback: an error is kept, stops the solve, and comes out
    of `raise_pending` afterwards.

    Args:
        budget: Deadline and cancellation.
        on_incumbent: Takes watched values and the solver's objective; True means stop.
        on_bound: Takes objective bound and nodes.
        stop_bound: An objective bound of at least this ends the solve; a function where it moves
            with the points that are found.
    """

    def __init__(
        self,
        budget: Budget,
        on_incumbent: Callable[[FloatArray, float], bool],
        on_bound: Callable[[float, int], None],
        *,
        stop_bound: float | Callable[[], float] = math.inf,
    ) -> None:
        self._budget = budget
        self._on_incumbent = on_incumbent
        self._on_bound = on_bound
        self._stop_bound = stop_bound
        self._next_poll = 0.0
        self._error: Exception | None = None
        self.stop_reason: str | None = None

    def saw_incumbent(self, values: FloatArray, objective: float) -> None:
        """Report an improved incumbent, or any other point worth trying on the network."""
        try:
            if self._on_incumbent(values, objective):
                self.stop("incumbent")
        except Exception as error:  # re-raised by raise_pending
            self._fail(error)

    def saw_bound(self, bound: float, nodes: int) -> None:
        """Report the objective bound so far."""
        try:
            self._on_bound(bound, nodes)
            if bound >= self.stop_bound:
                self.stop("bound")
        except Exception as error:  # re-raised by raise_pending
            self._fail(error)

    @property
    def stop_bound(self) -> float:
        """An objective bound of at least this is all that is wanted."""
        return self._stop_bound() if callable(self._stop_bound) else self._stop_bound

    @property
    def should_stop(self) -> bool:
        """Whether the solver has to end; asks the budget at most every 50 ms."""
        now = time.monotonic()
        if self.stop_reason is None and now >= self._next_poll:
            self._next_poll = now + _POLL_SECONDS
            try:
                self.stop(self._budget.stop_reason)
            except Exception as error:  # re-raised by raise_pending
                self._fail(error)
        return self.stop_reason is not None

    def stop(self, reason: str | None) -> None:
        """Stop for a reason; the first one stays."""
        self.stop_reason = self.stop_reason or reason

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error
        self.stop("error")

    def raise_pending(self) -> None:
        """Raise the error that a hook raised, if one did."""
        if self._error is not None:
            raise self._error


class MilpSolver(ABC):
    """One solver behind the seam."""

    @property
    @abstractmethod
    def name(self) -> str:
        """`highs`, `scip` or `gurobi`."""

    @property
    @abstractmethod
    def licence(self) -> Licence:
        """State of the licence."""

    @property
    def licence_note(self) -> str:
        """Why the licence is not full, in words; empty where there is nothing to say."""
        return ""

    @property
    def takes_pairs(self) -> bool:
        """Whether requests may have exclusive pairs."""
        return False

    @abstractmethod
    def solve(
        self, model: MilpModel, request: SolveRequest, budget: Budget, monitor: Monitor
    ) -> MilpOutcome:
        """Minimise a program.

        Returns within about a third of a second after the deadline, and within a second after
        cancellation.

        Raises:
            SolverUnavailableError: The licence does not allow this size.
            SolverFailedError: The solver stopped without a usable answer.
        """
