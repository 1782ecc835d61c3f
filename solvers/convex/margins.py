"""Margins bounded by linear programs: the triangle relaxation, with cuts or without.

The program of one region serves all its clauses; only the objective changes. What is returned is
proved by the multipliers, not by the solver: see `recheck`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.network import Network
from solvers.budget import Budget
from solvers.convex.pool import CutPool
from solvers.convex.program import Program, Solution
from solvers.convex.programs import SessionMaker, session_maker
from solvers.exact import EncodedNetwork, EncodingOptions, SolverName, encode_network
from solvers.problem import Case, Clause

if TYPE_CHECKING:
    from solvers.exact.context import Bounds

__all__ = ["CutOptions", "ProgramBounds", "ProgramOptions", "program_margins"]

FloatArray = NDArray[np.float64]

_LOG = logging.getLogger(__name__)

_MOST_LOSS = 1e-4
"""Difference, relative to 1 + its size, of a claimed optimum and what its multipliers prove."""


@dataclass(frozen=True)
class CutOptions:
    """How to cut.

    Attributes:
        rounds: Of separation per clause, at most.
        least_violation: Cuts violated by less than this share of 1 + the largest value of their
            neuron are left out.
        least_gain: A round that lifts the bound by less than this, relative to 1 + its size, is
            the last.
        oldest: Cuts whose multiplier was 0 in so many solves on end are removed.
        negligible: See `cuts.separate`: inputs with a smaller share of a neuron's range are left
            out of its cuts' support.
    """

    rounds: int = 12
    least_violation: float = 1e-4
    least_gain: float = 1e-4
    oldest: int = 3
    negligible: float = 1e-4


@dataclass(frozen=True)
class ProgramOptions:
    """How to bound margins by linear programs.

    Attributes:
        solver: Which; `auto` takes Gurobi where its licence is full, else HiGHS.
        encoding: How to encode; hinges have to be relaxed.
        cuts: How to cut, or None for the triangle relaxation alone.
        maker: Opens sessions in place of those of `solver`.
    """

    solver: SolverName = SolverName.AUTO
    encoding: EncodingOptions = field(default_factory=lambda: EncodingOptions(relaxed=True))
    cuts: CutOptions | None = None
    maker: SessionMaker | None = None


@dataclass(frozen=True, eq=False)
class ProgramBounds:
    """What the programs of one case proved.

    Attributes:
        clause_lower: Of every clause's margin, shape `(clauses,)`. A clause that what was known
            already put above another clause's final bound was not solved, as the margin is the
            least of all; it keeps what was known.
        solved: Clauses whose program was solved to the end.
        cuts: How many were added.
        trouble: What the solver did wrong, or None. The bounds hold all the same.
        stopped: `timeout` or `cancelled` where the budget ended the work, or None.
    """

    clause_lower: FloatArray
    solved: int = 0
    cuts: int = 0
    trouble: str | None = None
    stopped: str | None = None


def program_margins(
    network: Network,
    case: Case,
    bounds: Bounds,
    *,
    options: ProgramOptions,
    budget: Budget,
    clause_lower: FloatArray | None = None,
) -> ProgramBounds:
    """Bound every clause's margin from below by linear programming.

    Args:
        network: Parameters are read in float64. Of the ReLU family: dense, convolutional,
            residual, with MaxPool, Clip and leaky ReLUs.
        case: Region, of the network's input shape, and specification.
        bounds: Sound bounds of every node, float64 and finite, of the node's shape.
        options: Solver, encoding and cuts.
        budget: A deadline is kept within about a third of a second.
        clause_lower: What is already proved of each clause, shape `(clauses,)`.

    Raises:
        UnsupportedMethodError: An operator is not piecewise linear.
        ModelTooLargeError: The program would pass the limit on size.
        EncodingStoppedError: The budget ran out before there was a program.
        SolverFailedError: The solver broke down.
        SolverUnavailableError: The solver is missing.
        BoundsError: Bounds are missing, empty or not finite.

    Source: Ehlers 2017, Salman et al. 2019 for the triangle relaxation; Tjandraatmadja et al. 2020
    (OptC2V) for the cuts.
    """
    encoded = encode_network(network, case.region, bounds, options=options.encoding, budget=budget)
    known = np.full(len(case.specification.clauses), -np.inf)
    if clause_lower is not None:
        known = np.maximum(known, clause_lower)
    maker = options.maker or session_maker(options.solver)
    pool = None
    if options.cuts is not None:
        pool = CutPool.of(network, bounds, encoded, options.cuts)
    job = _Job(encoded, case.specification.clauses, maker, options.cuts, pool, budget)
    return job.run(known)


class _Job:
    """The programs of one case."""

    def __init__(
        self,
        encoded: EncodedNetwork,
        clauses: Sequence[Clause],
        maker: SessionMaker,
        cuts: CutOptions | None,
        pool: CutPool | None,
        budget: Budget,
    ) -> None:
        self._encoded, self._clauses, self._maker = encoded, clauses, maker
        self._cuts, self._pool, self._budget = cuts, pool, budget
        self._shared: Program | None = None
        self._trouble: str | None = None

    def run(self, known: FloatArray) -> ProgramBounds:
        """Solve for the weakest clauses first, and only for those that can set the margin."""
        lower, solved, least = known.copy(), 0, math.inf
        for position in np.argsort(known, kind="stable"):
            if known[position] >= least:
                break
            if self._budget.exhausted:
                break
            found, finished = self._bound(self._clauses[int(position)], least)
            lower[position] = max(lower[position], found)
            solved += finished
            if finished:
                least = min(least, lower[position])
        return ProgramBounds(
            lower,
            solved,
            0 if self._pool is None else self._pool.added,
            self._trouble,
            self._budget.stop_reason,
        )

    def _bound(self, clause: Clause, least: float) -> tuple[float, bool]:
        """Return a bound of one clause, and whether its program was solved to the end."""
        program, objective, offset = self._program(clause)
        solution = self._solve(program, objective, offset)
        best = solution.lower
        if self._pool is None or self._cuts is None:
            return best, solution.finished
        for _ in range(self._cuts.rounds):
            if not solution.finished or best >= least or self._budget.exhausted:
                break
            if not self._pool.cut(program, solution):
                break
            solution = self._solve(program, objective, offset)
            gain = solution.lower - best
            best = max(best, solution.lower)
            if gain < self._cuts.least_gain * (1.0 + abs(best)):
                break
        return best, solution.finished

    def _solve(self, program: Program, objective: FloatArray, offset: float) -> Solution:
        solution = program.minimum(objective, offset, self._budget)
        if self._pool is not None:
            self._pool.drop_idle(program, solution)
        trouble = _trouble(program, solution)
        if trouble is not None and not self._budget.exhausted:
            _LOG.warning("a linear program: %s", trouble)
            self._trouble = self._trouble or trouble
        return solution

    def _program(self, clause: Clause) -> tuple[Program, FloatArray, float]:
        """Return a program and the objective of a clause: one program for all of a single row."""
        rows = self._encoded.margins(clause)
        if rows.size == 1:
            if self._shared is None:
                self._shared = Program(self._encoded.model, self._maker)
            return self._shared, rows.matrix.toarray()[0], float(rows.offset[0])
        model = self._encoded.clause_model(clause)
        return Program(model, self._maker), model.objective, model.offset


def _trouble(program: Program, solution: Solution) -> str | None:
    """Say what is wrong with an answer that calls itself optimal, or is none."""
    if not solution.finished:
        return "the solver found no optimum"
    values = solution.answer.values
    if values.shape != program.model.objective.shape or not np.isfinite(values).all():
        return "the solver's point is not a point"
    claimed = float(program.model.objective @ values) + program.model.offset
    if claimed - solution.lower > _MOST_LOSS * (1.0 + abs(claimed)):
        return f"the solver claims {claimed:g}, its multipliers prove {solution.lower:g}"
    return None
