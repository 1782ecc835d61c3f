"""The exact answer of one input: the sign by the portfolio, then the value by programs."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from models.network import Network
from solvers.bracket import Witness
from solvers.budget import Budget
from solvers.certification.per_item import MethodStatus
from solvers.certification.rungs import Rungs
from solvers.certification.work import Work
from solvers.errors import SolverFailedError
from solvers.exact import ExactMode, ExactOptions
from solvers.methods import Method
from solvers.portfolio import Ladder, Run, searches_of, settle
from solvers.portfolio.searches import solve_program

__all__ = ["ExactSearch"]

_LOG = logging.getLogger(__name__)

_DECISION_SHARE = 0.6
"""Of the time, for the sign where the value is wanted too: without the sign it is worth little."""


@dataclass(frozen=True)
class ExactSearch:
    """What searches the inputs of one data set.

    Attributes:
        attacked: The network in float32.
        network: In float64, affine operators folded.
        witness: Judges candidates.
        mode: Whether the sign is enough or the value is wanted.
        options: Of programs; keep one object, which holds the solvers.
    """

    attacked: Network
    network: Network
    witness: Witness
    mode: ExactMode
    options: ExactOptions

    def search(self, work: Work, rungs: Rungs, position: int, budget: Budget) -> None:
        """Decide the sign first, then spend what time is left on the value.

        Args:
            work: The input; takes over what is found.
            rungs: Of its batch, for the node bounds to start from.
            position: Of the input in the batch.
            budget: Of this input.
        """
        began = time.perf_counter()
        step = rungs.tightest()
        if step is None:
            work.ended(Method.EXACT, MethodStatus.MEMORY, "the bounds it builds on failed")
            return
        infinite = step.unbounded_reason(position)
        if infinite is not None:
            work.ended(Method.EXACT, MethodStatus.UNSUPPORTED, infinite)
            return
        bracket = work.bracket
        work.ended(Method.EXACT, MethodStatus.DONE, None)
        run = self._run(work, Ladder(step, tuple(w.bracket for w in rungs.works)), budget)
        try:
            if not bracket.decided:
                self._decide(work, run)
            if self.mode is ExactMode.OPTIMIZE and not budget.exhausted:
                # close the bracket of the value
                work.note_exact(solve_program(run, bracket, ExactMode.OPTIMIZE, budget))
        except SolverFailedError as error:
            # What a solver said contradicts what is known: believe neither.
            _LOG.exception("exact search of an input failed")
            work.ended(Method.EXACT, MethodStatus.FAILED, str(error))
        work.seconds[Method.EXACT.value] = time.perf_counter() - began
        work.lower[Method.EXACT.value] = bracket.lower
        work.exact = (bracket.lower, bracket.upper)

    def _decide(self, work: Work, run: Run) -> None:
        """Let the searches of the portfolio take turns on the sign."""
        settle(run, searches_of(run))
        if work.bracket.decided:
            return
        reason = run.budget.stop_reason or run.reason or "undecided"
        status = MethodStatus.DONE if reason not in _LIMITS else MethodStatus(reason)
        work.ended(Method.EXACT, status, reason)
        work.reason = reason

    def _run(self, work: Work, ladder: Ladder, budget: Budget) -> Run:
        """Return the state of the portfolio for one input that has been attacked and bounded."""
        share = _DECISION_SHARE if self.mode is ExactMode.OPTIMIZE else 1.0
        return Run(
            attacked=self.attacked,
            network=self.network,
            witness=self.witness,
            brackets=[work.bracket],
            budget=budget.share(share),
            exact=self.options,
            seed=self.options.seed,
            ladder=ladder,
            trace=work.trace,
        )


_LIMITS = frozenset({"timeout", "cancelled", "memory"})
