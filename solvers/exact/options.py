"""What the exact method is asked, and what it answers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from models.errors import InvalidInputError
from solvers.exact.choose import SolverName, SolverSuite
from solvers.exact.context import EncodingOptions, Splits
from solvers.exact.seam import Tolerances
from solvers.exact.strengthening import Strengthener
from solvers.results import SolverReport

__all__ = [
    "BoundTightening",
    "ExactHints",
    "ExactMode",
    "ExactOptions",
    "ExactProgress",
    "ExactResult",
    "ExactStatus",
]


class ExactMode(StrEnum):
    """`decide`: the sign of the margin is enough. `optimize`: its value is wanted."""

    DECIDE = "decide"
    OPTIMIZE = "optimize"


class BoundTightening(StrEnum):
    """How to tighten unstable neurons before the search.

    `lp`: by linear programs, layer after layer, over the whole region. `focus`: by linear programs
    over the part of the region where the margin can lie below what is wanted of it, for each clause
    anew; see `focus_rounds`. `auto`: `focus` for the tree, which is at its best with it, else none.
    """

    AUTO = "auto"
    NONE = "none"
    LP = "lp"
    FOCUS = "focus"


class ExactStatus(StrEnum):
    """How an exact search ended.

    `decided`: the sign is known. `optimal`: the value is known to the gap. `within tolerance`: the
    margin is too close to 0 for the solver's tolerances. `relaxed`: all was solved, but over a set
    that encloses an L2 ball, so that the ends of the bracket need not meet. `empty`: no input of
    the region is on the sides that its splits hold it to. The others say what kept it from an
    answer; the bracket found so far stands.
    """

    DECIDED = "decided"
    OPTIMAL = "optimal"
    WITHIN_TOLERANCE = "within tolerance"
    RELAXED = "relaxed"
    EMPTY = "empty"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    UNSUPPORTED = "unsupported"
    TOO_LARGE = "too large"


@dataclass(frozen=True)
class ExactOptions:
    """How to search. Keep one object for many calls: it holds the solvers and their licences.

    Attributes:
        mode: What is wanted.
        solver: Which solver; `auto` takes the best that licences allow.
        tolerances: What the solver may be off by, and the gap.
        threads: For solvers that have threads.
        seed: For solvers that have one.
        tightening: Of unstable neurons before the search.
        tightening_share: Of the time, for tightening; between 0 and 1. Where it is by clause, of
            the time that the clause gets.
        encoding: How to encode, with the limit on size.
        root_cuts: What adds cuts to a clause's program before its search, such as
            `solvers.convex.root.RootCuts`; None for no cuts.
        suite: Where solvers come from.

    Raises:
        InvalidInputError: A number is out of its range.
    """

    mode: ExactMode = ExactMode.DECIDE
    solver: SolverName = SolverName.AUTO
    tolerances: Tolerances = field(default_factory=Tolerances)
    threads: int = 1
    seed: int = 0
    tightening: BoundTightening = BoundTightening.AUTO
    tightening_share: float = 0.25
    encoding: EncodingOptions = field(default_factory=EncodingOptions)
    root_cuts: Strengthener | None = None
    suite: SolverSuite = field(default_factory=SolverSuite, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise InvalidInputError(f"threads is {self.threads}; give 1 or more")
        if not 0.0 <= self.tightening_share <= 1.0:
            raise InvalidInputError(
                f"tightening_share is {self.tightening_share}; give a share from 0 to 1"
            )
        if self.encoding.max_nonzeros < 1:
            raise InvalidInputError("max_nonzeros must be 1 or more")


@dataclass(frozen=True, eq=False)
class ExactHints:
    """What a search that hands over to the exact method knows, beside bounds.

    Attributes:
        point: The input of least margin known, of any shape with as many values as one input. It
            is replayed first, and solvers that can start from it.
        splits: By node name, 1 where the node's value is at least 0, −1 where it is at most 0 and
            0 where it is free: a leaf of a tree over activations. Bounds and clause bounds given
            need to hold in that part of the region only, and the answer is about that part,
            except that the candidate may be any input of the region.
    """

    point: NDArray[np.floating] | None = None
    splits: Splits | None = None


@dataclass(frozen=True)
class ExactProgress:
    """Where a search stands.

    Attributes:
        clause: Position of the clause being solved, in the specification.
        clauses_done, clauses: How many are settled, of how many.
        lower, upper: Bracket of the margin so far.
        nodes: Of all search trees so far.
        seconds: Since the search began.
    """

    clause: int
    clauses_done: int
    clauses: int
    lower: float
    upper: float
    nodes: int
    seconds: float


@dataclass(frozen=True, eq=False)
class ExactResult:
    """A bracket of the worst-case margin.

    Attributes:
        lower: Proved by objective bounds (and the clause bounds given), less a safety for the
            solver's tolerances; −∞ if nothing is proved, ∞ if there is no input.
        upper: The least margin of an input that was run through the network in float64.
        candidate: That input, float64, shape `input_shape`; to be confirmed in the float32 that
            is deployed.
        status: How it ended.
        reports: One per solve, in order.
        nodes: Of all search trees.
        seconds: Wall time.
        reason: Why there is no full answer, in words.
        clause_lower: What is proved of each clause, shape `(clauses,)`.
    """

    lower: float
    upper: float
    candidate: NDArray[np.float64] | None
    status: ExactStatus
    reports: tuple[SolverReport, ...] = ()
    nodes: int = 0
    seconds: float = 0.0
    reason: str | None = None
    clause_lower: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    @property
    def why_unknown(self) -> str | None:
        """The reason of an `unknown`: `timeout` or `cancelled` in one word, else in words."""
        if self.status in {ExactStatus.TIMEOUT, ExactStatus.CANCELLED}:
            return self.status.value
        return self.reason

    @property
    def proved(self) -> bool:
        """Whether no counterexample exists, on a floating-point solver's word."""
        return self.lower > 0.0

    @property
    def refuted(self) -> bool:
        """Whether the candidate is a counterexample in float64."""
        return self.upper <= 0.0 and not math.isinf(self.upper)
