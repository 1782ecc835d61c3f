"""What a semidefinite bound is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from models.errors import InvalidInputError
from solvers.convex.sdp.clarabel_adapter import solve_with_clarabel
from solvers.convex.sdp.cone import ConeSolver
from solvers.convex.sdp.program import Program
from solvers.convex.sdp.safe import Multipliers
from solvers.convex.sdp.scs_adapter import solve_with_scs

__all__ = [
    "SdpDual",
    "SdpOptions",
    "SdpProgress",
    "SdpResult",
    "SdpSolver",
    "SdpStatus",
    "SolverOutcome",
]


class SdpSolver(StrEnum):
    """Who looks for multipliers; what they prove is computed in the same way for all.

    `auto`: the interior-point method where its matrices fit and the time will do, else the
    first-order method, which begins with CROWN's bound and is worth more the shorter the time.
    `interior`: a primal-dual method of this package. `scs`, `clarabel`: general cone solvers,
    whose result the interior-point method goes on from. `first-order`: ascent along eigenvectors,
    for networks whose matrices no other can hold.
    """

    AUTO = "auto"
    INTERIOR = "interior"
    SCS = "scs"
    CLARABEL = "clarabel"
    FIRST_ORDER = "first-order"


class SdpStatus(StrEnum):
    """How it ended; the bounds found so far stand in every case.

    `optimal`: to the tolerance. `positive`: every clause is proved, and no more was asked for.
    `stopped`: a limit of steps. The others say what kept it from going on.
    """

    OPTIMAL = "optimal"
    POSITIVE = "positive"
    STOPPED = "stopped"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    TOO_LARGE = "too large"


def _installed_solvers() -> Mapping[SdpSolver, ConeSolver]:
    return MappingProxyType(
        {SdpSolver.SCS: solve_with_scs, SdpSolver.CLARABEL: solve_with_clarabel}
    )


@dataclass(frozen=True)
class SdpOptions:
    """How to bound.

    Attributes:
        solver: Who looks for multipliers.
        rounds: How often products that a solution breaks are added; 0 for none (no RLT).
        max_products: Constraints of one program at most.
        tolerance: Relative distance to the optimum at which to stop.
        iterations: Steps of a solver at most; None for its own limit.
        polish: Whether to go on from a cone solver's result.
        decompose: Whether cone solvers are given one cone per pair of neighbouring layers.
        stop_when_positive: Whether a clause is left as soon as it is proved.
        memory_bytes: What matrices may take.
        device: Of the first-order method: `cpu`, `cuda`.
        seed: Of its start vectors.
        cone_solvers: Adapters of `scs` and `clarabel`.

    Raises:
        InvalidInputError: A number is out of its range.
    """

    solver: SdpSolver = SdpSolver.AUTO
    rounds: int = 4
    max_products: int = 4000
    tolerance: float = 1e-4
    iterations: int | None = None
    polish: bool = True
    decompose: bool = True
    stop_when_positive: bool = False
    memory_bytes: int = 2 << 30
    device: str = "cpu"
    seed: int = 0
    cone_solvers: Mapping[SdpSolver, ConeSolver] = field(
        default_factory=_installed_solvers, compare=False, repr=False
    )

    def __post_init__(self) -> None:
        if self.rounds < 0 or self.max_products < 0:
            raise InvalidInputError("rounds and max_products must be 0 or more")
        if not 0.0 < self.tolerance < 1.0:
            raise InvalidInputError(f"tolerance is {self.tolerance}; give a number in (0, 1)")
        if self.iterations is not None and self.iterations < 1:
            raise InvalidInputError(f"iterations is {self.iterations}; give 1 or more")
        if self.memory_bytes < 1:
            raise InvalidInputError("memory_bytes must be 1 or more")


@dataclass(frozen=True)
class SdpProgress:
    """Where the bounds stand.

    Attributes:
        clause, clauses: The clause at hand, counted from 0, of how many.
        lower: What is known of it so far, rounding not yet counted.
        steps: Of the solver, on this clause.
        seconds: Since the start.
    """

    clause: int
    clauses: int
    lower: float
    steps: int
    seconds: float


@dataclass(frozen=True, eq=False)
class SdpDual:
    """What one row of a clause was proved with.

    Attributes:
        clause, row: Which row, counted in its clause.
        bound: Proved of it, in the units of the specification.
        program: With its objective.
        multipliers: Of the program's products and columns.
    """

    clause: int
    row: int
    bound: float
    program: Program
    multipliers: Multipliers


@dataclass(frozen=True, eq=False)
class SdpResult:
    """Proved lower bounds.

    Attributes:
        clause_lower: Of every clause, shape `(clauses,)`; never below what was given.
        status: How it ended.
        seconds: Wall time.
        size: Rows of the matrix variable: inputs that vary and unstable neurons, and one more.
        solver: Who looked for multipliers; None if nobody had to.
        steps: Of the solver, over all clauses.
        reason: Why it stopped early, in words.
        duals: What rows were proved with, the best of each clause that was worked on.
    """

    clause_lower: NDArray[np.float64]
    status: SdpStatus
    seconds: float
    size: int = 0
    solver: SdpSolver | None = None
    steps: int = 0
    reason: str | None = None
    duals: tuple[SdpDual, ...] = ()

    @property
    def lower(self) -> float:
        """The bound of the weakest clause."""
        return float(self.clause_lower.min())


@dataclass(frozen=True, eq=False)
class SolverOutcome:
    """What one solver made of one program.

    Attributes:
        bound: Proved, in the units of the specification; −∞ for nothing.
        finished: Whether it stopped of its own accord.
        steps: How many it took.
        multipliers: That prove the bound.
    """

    bound: float
    finished: bool
    steps: int
    multipliers: Multipliers
