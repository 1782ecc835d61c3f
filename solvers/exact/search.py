"""The exact worst-case margin: one mixed-integer linear program per clause.

What runs when, on which program; `findings` holds what comes of it and what of that is believed.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from models.network import Network
from solvers.balls import Norm
from solvers.budget import Budget
from solvers.errors import UnsupportedMethodError
from solvers.exact.bracket import Bracket
from solvers.exact.choose import SolverName
from solvers.exact.context import Bounds, clipped
from solvers.exact.encode import EncodedNetwork, EncodingStoppedError, encode_network
from solvers.exact.findings import Findings, ProgressHook
from solvers.exact.focus import Focus, focus_rounds
from solvers.exact.model import MilpModel, ModelTooLargeError
from solvers.exact.options import (
    BoundTightening,
    ExactHints,
    ExactMode,
    ExactOptions,
    ExactResult,
    ExactStatus,
)
from solvers.exact.replay import Replay
from solvers.exact.seam import MilpOutcome, MilpSolver, Monitor, SolveRequest
from solvers.exact.strengthening import Strengthening
from solvers.exact.tighten import tighten_bounds
from solvers.problem import Case

__all__ = ["exact_margin"]

FloatArray = NDArray[np.float64]

_LOG = logging.getLogger(__name__)
_ATTEMPTS = 2
_RESERVE_SECONDS = 0.2
_FIRST_SECONDS = 0.3


def exact_margin(
    network: Network,
    case: Case,
    bounds: Bounds,
    *,
    options: ExactOptions,
    budget: Budget,
    progress: ProgressHook | None = None,
    clause_lower: FloatArray | None = None,
    incumbent: float = math.inf,
    hints: ExactHints | None = None,
) -> ExactResult:
    """Bracket the worst-case margin over a region or a part of it, or decide its sign.

    Args:
        network: Parameters are read in float64.
        case: Region, of the network's input shape, and specification.
        bounds: By node name, sound lower and upper bounds of the node's shape, float64, for the
            input of every nonlinear node.
        options: What is wanted, and how.
        budget: A deadline is kept within about a third of a second.
        progress: Told now and then where the search stands.
        clause_lower: What is already proved of each clause, shape `(clauses,)`.
        incumbent: The best margin of an input known elsewhere. It only cuts work short: the upper
            bound returned counts what was replayed here.
        hints: A point to start from, and activation splits that cut a part out of the region.

    Returns:
        A bracket with its status; limits of time, size and operators are statuses, not errors.

    Raises:
        SolverFailedError: Solver and network disagree, or the solver gave no usable answer.
        SolverUnavailableError: The solver asked for is missing or not licensed for this size.
        ShapeError: Shapes do not fit.
        BoundsError: Bounds are missing, empty or not finite.

    Source: Tjeng et al. 2019, verification by mixed-integer programming.
    """
    case.require_fit(network.input_shape, network.output_size)
    known = ExactHints() if hints is None else hints
    bracket = Bracket(
        len(case.specification.clauses),
        clause_lower,
        incumbent,
        mode=options.mode,
        gap=options.tolerances.gap,
        partial=bool(known.splits),
    )
    inside = clipped(bounds, known.splits)
    if inside is None:
        bracket.close()
        lower = bracket.clause_lower
        return ExactResult(math.inf, math.inf, None, ExactStatus.EMPTY, clause_lower=lower)
    ball = case.region.ball
    found = Findings(
        bracket,
        Replay(network, case, inside, known.splits),
        options,
        budget,
        partial=bool(known.splits),
        ball=ball is not None and ball.norm is Norm.TWO,
        progress=progress,
    )
    found.take(case.region.center)
    if known.point is not None:
        found.take(known.point.astype(np.float64))
    try:
        _Search(network, case, inside, options, budget, found, known).run()
    except ModelTooLargeError as error:
        return found.result(ExactStatus.TOO_LARGE, str(error))
    except EncodingStoppedError as error:
        return found.result(found.stopped, str(error))
    except UnsupportedMethodError as error:
        return found.result(ExactStatus.UNSUPPORTED, str(error))
    return found.conclusion()


@dataclass(eq=False)
class _Search:
    """What one call runs when: its arguments first, then what was tried."""

    network: Network
    case: Case
    bounds: Bounds
    options: ExactOptions
    budget: Budget
    found: Findings
    hints: ExactHints
    attempts: dict[int, int] = field(default_factory=dict, init=False)
    spent: dict[int, float] = field(default_factory=dict, init=False)
    focused: dict[int, Bounds] = field(default_factory=dict, init=False)
    strengthen: Strengthening | None = field(default=None, init=False)

    def run(self) -> None:
        """Encode, tighten if asked to, and solve clause after clause while that can help."""
        if not self._open_clauses() or self.budget.exhausted:
            return
        name = self.options.solver
        if name is SolverName.AUTO and self.hints.splits:
            name = SolverName.TREE  # only what proves that a part is empty is of use there
        signs = self.options.mode is ExactMode.DECIDE
        solver = self.options.suite.choose(name, signs=signs)
        self._tighten()
        if self.options.root_cuts is not None:
            self.strengthen = self.options.root_cuts(self.network)
        encoded = self._encode(self.bounds, self.budget, solver)
        if not self.hints.splits:  # boxes alone do not know of the splits' rows
            for clause, rows in enumerate(self.case.specification.clauses):
                self.found.bracket.prove(clause, encoded.clause_model(rows).minimum_over_boxes())
        if self._focuses(solver):
            self._try_all(encoded, solver)
        while (left := self._open_clauses()) and not self.budget.exhausted and not self.found.empty:
            first_pass = left[0] not in self.attempts
            # at first a fair share and as much again: hard clauses need more, but not everything
            fraction = 2.0 / (len(left) + 1) if first_pass else 1.0 / len(left)
            share = _with_reserve(self.budget.share(min(1.0, fraction)))
            resumed = left[0] in self.focused
            if not resumed and share.remaining_seconds <= self.spent.get(left[0], 0.0):
                self.attempts[left[0]] = _ATTEMPTS  # a shorter attempt than the last is no use
                continue
            began = time.monotonic()
            with suppress(EncodingStoppedError):  # of this clause's time; others may have some left
                self._solve(left[0], encoded, solver, share)
            self.spent[left[0]] = time.monotonic() - began

    def _try_all(self, encoded: EncodedNetwork, solver: MilpSolver) -> None:
        """Search every open clause for a moment: what is nearly decided needs no tightening."""
        for clause in self._open_clauses():
            model = encoded.clause_model(self.case.specification.clauses[clause])
            if self.found.is_done(clause) or not model.row_count:
                continue
            share = self.budget.at_most(min(_FIRST_SECONDS, 0.03 * self.budget.remaining_seconds))
            self._search(clause, encoded, solver, share, ceiling=math.inf)

    def _tighten(self) -> None:
        """Tighten bounds once for all clauses, where that was asked for."""
        options = self.options
        if options.tightening is BoundTightening.LP:
            share = self.budget.share(options.tightening_share)
            region = self.case.region
            self.bounds = tighten_bounds(
                self.network, region, self.bounds, options=options, budget=share
            )

    def _encode(self, bounds: Bounds, budget: Budget, solver: MilpSolver) -> EncodedNetwork:
        options = self.options.encoding
        if solver.takes_pairs:
            options = replace(options, relaxed=True)
        return encode_network(
            self.network,
            self.case.region,
            bounds,
            options=options,
            budget=budget,
            splits=self.hints.splits,
        )

    def _open_clauses(self) -> list[int]:
        """Return clauses worth solving: untried ones first, then by their bound, least first."""
        lower = self.found.bracket.clause_lower
        open_ = [k for k in self.found.unfinished if self.attempts.get(k, 0) < _ATTEMPTS]
        return sorted(open_, key=lambda k: (self.attempts.get(k, 0), lower[k]))

    def _solve(
        self, clause: int, encoded: EncodedNetwork, solver: MilpSolver, budget: Budget
    ) -> None:
        model = encoded.clause_model(self.case.specification.clauses[clause])
        if not model.row_count:
            # affine over the region: the least corner is the answer, and its bound the boxes' own
            self.found.bracket.prove(clause, model.minimum_over_boxes())
            self.found.take(encoded.input_of(model.best_corner()[encoded.columns]))
            self.found.solved.add(clause)
            return
        self.attempts[clause] = self.attempts.get(clause, 0) + 1
        if not self._focuses(solver):
            self._search(clause, encoded, solver, budget, ceiling=math.inf, known=self.bounds)
            return
        for focus in self._focus(clause, model, budget):
            if focus.empty:
                self.found.bracket.prove(clause, focus.cutoff)
                return
            self.focused[clause] = focus.bounds
            # until tightening is done, the search gets as long as that took: much may be decided
            share = budget if focus.last else budget.at_most(focus.seconds)
            closer = self._encode(focus.bounds, budget, solver)
            known = focus.bounds if focus.last else None
            self._search(clause, closer, solver, share, ceiling=focus.cutoff, known=known)
            if self.found.is_done(clause) or budget.exhausted:
                return

    def _search(
        self,
        clause: int,
        encoded: EncodedNetwork,
        solver: MilpSolver,
        budget: Budget,
        *,
        ceiling: float,
        known: Bounds | None = None,
    ) -> None:
        """Let a solver search; what is above the ceiling is not in the program.

        The program is cut first if the bounds it was encoded with are given.
        """
        model = encoded.clause_model(self.case.specification.clauses[clause])
        if self.strengthen is not None and known is not None:
            model = self.strengthen(model, encoded, known, budget)
        safety = 0.0 if solver.takes_pairs else self.options.tolerances.safety(model)
        found = self.found
        monitor = Monitor(
            budget,
            on_incumbent=lambda values, _: found.take(encoded.input_of(values)),
            on_bound=lambda bound, nodes: found.tell(clause, min(bound - safety, ceiling), nodes),
            stop_bound=lambda: self._stop_bound(safety),
        )
        outcome = solver.solve(model, self._request(encoded, safety), budget, monitor)
        _log_solve(clause, outcome, model)
        found.digest(clause, outcome, encoded, safety=safety, ceiling=ceiling)

    def _stop_bound(self, safety: float) -> float:
        """Return the objective bound at which a clause needs no more work."""
        return self.found.bracket.goal + safety * (1.0 + 1e-6) + 1e-12

    def _focuses(self, solver: MilpSolver) -> bool:
        tightening = self.options.tightening
        if tightening is BoundTightening.AUTO:
            return solver.takes_pairs
        return tightening is BoundTightening.FOCUS

    def _cutoff(self, model: MilpModel) -> float:
        """Return the margin above which inputs do not matter: what suffices is below it."""
        if self.options.mode is ExactMode.DECIDE:
            return 2.0 * self._stop_bound(self.options.tolerances.safety(model))
        return self.found.bracket.known

    def _focus(self, clause: int, model: MilpModel, budget: Budget) -> Iterator[Focus]:
        return focus_rounds(
            self.network,
            self.case,
            # of an attempt before; cutoffs only fall, so that they hold below this one too
            self.focused.get(clause, self.bounds),
            clause=self.case.specification.clauses[clause],
            cutoff=lambda: self._cutoff(model),
            options=self.options,
            budget=budget,
            splits=self.hints.splits,
        )

    def _request(self, encoded: EncodedNetwork, safety: float) -> SolveRequest:
        tolerances = self.options.tolerances
        if self.options.mode is ExactMode.DECIDE:
            # the sign may only show when the gap is all but closed
            tolerances = replace(tolerances, gap=0.0)
        start = self.found.bracket.candidate
        return SolveRequest(
            tolerances,
            encoded.columns,
            stop_bound=self._stop_bound(safety),
            threads=self.options.threads,
            seed=self.options.seed,
            pairs=encoded.pairs,
            start=None if start is None else start.ravel()[encoded.free],
        )


def _with_reserve(budget: Budget) -> Budget:
    """Return the budget less a moment, because solvers notice their limit a little late."""
    remaining = budget.remaining_seconds
    return budget.at_most(remaining - min(_RESERVE_SECONDS, 0.1 * remaining))


def _log_solve(clause: int, outcome: MilpOutcome, model: MilpModel) -> None:
    _LOG.info(
        "clause %d: %s says %s, bound %g, %d nodes; %d columns, %d rows, %d binaries",
        clause,
        outcome.report.solver,
        outcome.report.status,
        outcome.objective_bound,
        outcome.nodes,
        model.column_count,
        model.row_count,
        model.integers,
    )
