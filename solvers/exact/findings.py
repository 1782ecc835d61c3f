"""What a search for the exact margin has found, and what it believes of what solvers say.

What is believed: objective bounds, less a safety for tolerances, once they agree with every
replayed point; and margins of points that the network itself was run on. Incumbents, statuses and
claims of infeasibility are only ever held against these.

Infeasible programs. Without splits and without focus the input's centre is feasible, so a claim
that nothing is contradicts it. With them it can be true, and is believed only from a solver that
re-computes it from multipliers (Farkas' lemma); another solver's claim proves nothing. With focus
it says that the clause's margin is above the cutoff; without, that the splits leave no input.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from solvers.budget import Budget
from solvers.errors import SolverFailedError
from solvers.exact.bracket import Bracket
from solvers.exact.encode import EncodedNetwork
from solvers.exact.options import (
    ExactMode,
    ExactOptions,
    ExactProgress,
    ExactResult,
    ExactStatus,
)
from solvers.exact.replay import Replay
from solvers.exact.seam import MilpOutcome, SolveStatus
from solvers.results import SolverReport

__all__ = ["Findings", "ProgressHook"]

FloatArray = NDArray[np.float64]
ProgressHook = Callable[[ExactProgress], None]

_LOG = logging.getLogger(__name__)
_PROGRESS_SECONDS = 0.2
_DISAGREEMENT = 1e-5


@dataclass(eq=False)
class Findings:
    """The state of one search: what it is held against first, then what has been found.

    Attributes:
        bracket: Of the margin, and what is proved of each clause.
        replay: Runs the network on inputs that solvers propose.
        options, budget: Of the search.
        partial: Whether splits cut a part out of the region.
        ball: Whether the region is an L2 ball, which programs only enclose.
        progress: Told now and then where the search stands.
        reports: Of every solver that ran.
        nodes: Of all searches so far.
        solved: Clauses whose program is solved to optimality.
        empty: Whether the splits leave no input; proved.
    """

    bracket: Bracket
    replay: Replay
    options: ExactOptions
    budget: Budget
    partial: bool = field(kw_only=True)
    ball: bool = field(kw_only=True)
    progress: ProgressHook | None = field(kw_only=True)
    reports: list[SolverReport] = field(default_factory=list, init=False)
    nodes: int = field(default=0, init=False)
    solved: set[int] = field(default_factory=set, init=False)
    empty: bool = field(default=False, init=False)
    _started: float = field(default_factory=time.monotonic, init=False)
    _next_progress: float = field(default=0.0, init=False)

    def take(self, x: FloatArray) -> bool:
        """Replay an input; return whether that decides the search."""
        inside, margins, inner = self.replay.margins(x)
        self.bracket.replayed(inside, margins, inner=inner)
        return self.options.mode is ExactMode.DECIDE and self.bracket.upper <= 0.0

    def is_done(self, clause: int) -> bool:
        """Return whether a clause needs no more work."""
        return bool(self.bracket.settled[clause]) or clause in self.solved or self.empty

    @property
    def unfinished(self) -> list[int]:
        """Clauses neither settled nor solved."""
        settled = self.bracket.settled
        return [k for k in range(settled.size) if not settled[k] and k not in self.solved]

    def digest(
        self,
        clause: int,
        outcome: MilpOutcome,
        encoded: EncodedNetwork,
        *,
        safety: float,
        ceiling: float,
    ) -> None:
        """Hold what the solver says against the network, then take it in."""
        tolerances = {**outcome.report.tolerances, "safety": safety}
        self.reports.append(replace(outcome.report, tolerances=tolerances))
        self.nodes += outcome.nodes
        name, bound = outcome.report.solver, outcome.objective_bound
        if outcome.status is SolveStatus.INFEASIBLE:
            self._believe_infeasible(clause, outcome, ceiling)
            return
        allowance = safety + self.options.tolerances.gap * (1.0 + abs(outcome.incumbent))
        if outcome.incumbent < bound - max(allowance, _DISAGREEMENT):
            raise SolverFailedError(
                f"{name} reports an incumbent of {outcome.incumbent:.9g} below its own objective "
                f"bound {bound:.9g}"
            )
        if outcome.values is not None:
            self.take(encoded.input_of(outcome.values))
        self.bracket.prove(clause, min(bound - safety, ceiling))
        if outcome.status is SolveStatus.OPTIMAL:
            self.solved.add(clause)

    def _believe_infeasible(self, clause: int, outcome: MilpOutcome, ceiling: float) -> None:
        """Take in that a program has no point, where that is possible and proved."""
        name, focused = outcome.report.solver, math.isfinite(ceiling)
        if not focused and not self.partial:
            raise SolverFailedError(
                f"{name} calls the program infeasible, but every input in the region is a feasible "
                "point: bounds or solver are wrong"
            )
        if not outcome.proved:
            _LOG.warning("%s calls a program infeasible; without a proof it is left open", name)
        elif focused:
            self.bracket.prove(clause, ceiling)
        else:
            self.bracket.close()
            self.empty = True

    def tell(self, clause: int, lower: float, nodes: int) -> None:
        """Tell where the search stands, unless that was told a moment ago."""
        now = time.monotonic()
        if self.progress is None or now < self._next_progress:
            return
        self._next_progress = now + _PROGRESS_SECONDS
        bracket = self.bracket
        clause_lower = bracket.clause_lower.copy()
        clause_lower[clause] = max(clause_lower[clause], lower)
        self.progress(
            ExactProgress(
                clause=clause,
                clauses_done=int(bracket.settled.sum()),
                clauses=clause_lower.size,
                lower=min(float(clause_lower.min()), bracket.upper),
                upper=bracket.upper,
                nodes=self.nodes + nodes,
                seconds=now - self._started,
            )
        )

    @property
    def stopped(self) -> ExactStatus:
        """Why the budget ended."""
        cancelled = self.budget.stop_reason == "cancelled"
        return ExactStatus.CANCELLED if cancelled else ExactStatus.TIMEOUT

    def conclusion(self) -> ExactResult:
        """Return the result that the bracket amounts to."""
        bracket = self.bracket
        if self.empty:
            return self.result(ExactStatus.EMPTY, None)
        if self.options.mode is ExactMode.DECIDE and bracket.decided:
            return self.result(ExactStatus.DECIDED, None)
        settled = bracket.settled
        if open_ := self.unfinished:
            words = "was cancelled" if self.stopped is ExactStatus.CANCELLED else "ran out of time"
            return self.result(
                self.stopped, f"the search {words} with {len(open_)} of {settled.size} clauses open"
            )
        if self.ball and not settled.all():
            return self.result(
                ExactStatus.RELAXED,
                "the program encloses the L2 ball by linear constraints, so that its minimum may "
                "lie below the margin; the bracket stands as it is",
            )
        if self.options.mode is ExactMode.DECIDE:
            return self.result(
                ExactStatus.WITHIN_TOLERANCE,
                "the margin is too close to 0 for the solver's tolerances to tell its sign",
            )
        return self.result(ExactStatus.OPTIMAL, None)

    def result(self, status: ExactStatus, reason: str | None) -> ExactResult:
        """Return the bracket with a status."""
        bracket = self.bracket
        return ExactResult(
            lower=bracket.lower,
            upper=bracket.upper,
            candidate=bracket.candidate,
            status=status,
            reports=tuple(self.reports),
            nodes=self.nodes,
            seconds=time.monotonic() - self._started,
            reason=reason,
            clause_lower=bracket.clause_lower.copy(),
        )
