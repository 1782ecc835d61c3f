"""Semidefinite lower bounds of the worst-case margin of one case."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from models.errors import ShapeError
from models.network import Network
from solvers.budget import Budget
from solvers.convex.sdp.hinges import lift_network
from solvers.convex.sdp.lift import LiftingStoppedError
from solvers.convex.sdp.options import (
    SdpDual,
    SdpOptions,
    SdpProgress,
    SdpResult,
    SdpSolver,
    SdpStatus,
)
from solvers.convex.sdp.program import Program, Scalable, build_program
from solvers.convex.sdp.solve import ascend, interior_bytes, interior_seconds, needed_bytes
from solvers.exact.context import Bounds
from solvers.exact.model import ModelTooLargeError
from solvers.problem import Case

__all__ = ["sdp_margin"]

FloatArray = NDArray[np.float64]
ProgressHook = Callable[[SdpProgress], None]

_LOG = logging.getLogger(__name__)
_MAX_NONZEROS = 20_000_000
_PATIENCE = 1.0
"""Below this many seconds in total the interior-point method is worth starting in any case."""


def sdp_margin(
    network: Network,
    case: Case,
    bounds: Bounds,
    *,
    options: SdpOptions,
    budget: Budget,
    clause_lower: FloatArray | None = None,
    progress: ProgressHook | None = None,
) -> SdpResult:
    """Bound the margin of every clause from below by a semidefinite relaxation.

    Whatever a solver answers, only what its multipliers prove is returned: see `safe_bound`. Every
    clause gets a fair share of the time that is left.

    Args:
        network: Of the ReLU family; parameters are read in float64.
        case: Region, of the network's input shape, and specification. Of an L1 or L2 ball the box
            around it is used, which encloses it.
        bounds: By node name, sound lower and upper bounds of the node's shape, float64, for the
            input of every kinked node.
        options: How to bound.
        budget: A deadline is kept to within about one step of the solver.
        clause_lower: What is already proved of each clause, shape `(clauses,)`.
        progress: Told after each step.

    Returns:
        Bounds with a status; limits of time and memory are statuses, not errors.

    Raises:
        UnsupportedMethodError: The network has an operator outside the ReLU family.
        ShapeError: Shapes do not fit.
        BoundsError: Bounds are missing, empty or not finite.

    Source: Raghunathan et al. 2018, *Semidefinite relaxations for certifying robustness to
    adversarial examples*; Batten et al. 2021 for the decomposition; Dathathri et al. 2020,
    *Enabling certification of verification-agnostic networks*, for the first-order method.
    """
    specification = case.specification
    if specification.outputs != network.output_size:
        raise ShapeError(
            f"the specification speaks of {specification.outputs} outputs, "
            f"the network has {network.output_size}"
        )
    count = len(specification.clauses)
    known = np.full(count, -np.inf) if clause_lower is None else clause_lower.astype(np.float64)
    if known.shape != (count,):
        raise ShapeError(f"{known.shape} bounds of clauses were given, there are {count} clauses")
    search = _Search(case, options, budget, known.copy(), progress)
    try:
        lifted = lift_network(
            network, case.region, bounds, max_nonzeros=_MAX_NONZEROS, budget=budget
        )
    except LiftingStoppedError as error:
        return search.result(search.interrupted, str(error))
    except ModelTooLargeError as error:
        return search.result(SdpStatus.TOO_LARGE, str(error))
    program, outputs = build_program(lifted)
    return search.run(program, outputs)


@dataclass(eq=False)
class _Search:
    """The state of one call."""

    case: Case
    options: SdpOptions
    budget: Budget
    lower: FloatArray
    progress: ProgressHook | None
    started: float = field(default_factory=time.monotonic, kw_only=True)
    size: int = field(default=0, kw_only=True)
    steps: int = field(default=0, kw_only=True)
    solver: SdpSolver | None = field(default=None, kw_only=True)
    duals: dict[int, SdpDual] = field(default_factory=dict, kw_only=True)

    @property
    def interrupted(self) -> SdpStatus:
        """Why the budget ended."""
        cancelled = self.budget.stop_reason == "cancelled"
        return SdpStatus.CANCELLED if cancelled else SdpStatus.TIMEOUT

    def run(self, program: Program, outputs: Scalable) -> SdpResult:
        """Bound clause after clause, the weakest first."""
        self.size = program.size
        self.solver = self._chosen(program)
        needed = needed_bytes(program, self.solver, self.options)
        if needed > self.options.memory_bytes:
            return self.result(
                SdpStatus.TOO_LARGE,
                f"a matrix of {program.size} rows needs about {needed >> 20} MB, more than the "
                f"{self.options.memory_bytes >> 20} MB allowed; raise memory_bytes or use crown",
            )
        order = list(np.argsort(self.lower, kind="stable"))
        if self.options.stop_when_positive:
            order = [clause for clause in order if not self.lower[clause] > 0.0]
        finished = True
        for position, clause in enumerate(order):
            if self.budget.exhausted:
                words = "was cancelled" if self.interrupted is SdpStatus.CANCELLED else "ended"
                left = len(order) - position
                return self.result(
                    self.interrupted, f"the time {words} with {left} of {len(order)} clauses open"
                )
            share = self.budget.share(1.0 / (len(order) - position))
            finished &= self._clause(int(clause), program, outputs, share)
        if self.options.stop_when_positive and (self.lower > 0.0).all():
            return self.result(SdpStatus.POSITIVE, None)
        if not finished and self.budget.exhausted:
            return self.result(self.interrupted, "the time ended before the optimum was reached")
        if not finished:
            return self.result(
                SdpStatus.STOPPED,
                "steps, or a share of the time, ended before the optimum",
            )
        return self.result(SdpStatus.OPTIMAL, None)

    def _chosen(self, program: Program) -> SdpSolver:
        if self.options.solver is not SdpSolver.AUTO:
            return self.options.solver
        if interior_bytes(program, self.options) > self.options.memory_bytes:
            return SdpSolver.FIRST_ORDER
        rows = sum(len(clause.offset) for clause in self.case.specification.clauses)
        patience = max(self.budget.remaining_seconds, _PATIENCE)
        for rounds in range(self.options.rounds, -1, -1):
            # Fewer rounds of products rather than none of the optimum.
            fewer = replace(self.options, rounds=rounds)
            if rows * interior_seconds(program, fewer) <= patience:
                self.options = fewer
                return SdpSolver.INTERIOR
        return SdpSolver.FIRST_ORDER

    def _clause(self, clause: int, program: Program, outputs: Scalable, budget: Budget) -> bool:
        """Bound one clause by its rows: it fails everywhere as soon as one of them does."""
        rows = self.case.specification.clauses[clause]
        finished = True
        for number, (row, offset) in enumerate(zip(rows.matrix, rows.offset, strict=True)):
            share = budget.share(1.0 / (len(rows.offset) - number))
            wanted = program.with_objective(outputs.objective(row, float(offset)))
            assert self.solver is not None  # noqa: S101  chosen before
            outcome = ascend(
                wanted,
                self.solver,
                self.options,
                budget=share,
                on_step=lambda bound, steps: self._tell(clause, bound, steps),
            )
            self.steps += outcome.steps
            self.lower[clause] = max(self.lower[clause], outcome.bound)
            known = self.duals.get(clause)
            if known is None or outcome.bound > known.bound:
                found = SdpDual(clause, number, outcome.bound, wanted, outcome.multipliers)
                self.duals[clause] = found
            finished &= outcome.finished
            _LOG.info("clause %d: %s proves %g", clause, self.solver, outcome.bound)
            if self.options.stop_when_positive and self.lower[clause] > 0.0:
                return True
        return finished

    def _tell(self, clause: int, bound: float, steps: int) -> None:
        if self.progress is not None:
            lower = max(bound, float(self.lower[clause]))
            seconds = time.monotonic() - self.started
            self.progress(SdpProgress(clause, self.lower.size, lower, steps, seconds))

    def result(self, status: SdpStatus, reason: str | None) -> SdpResult:
        """Return the bounds with a status."""
        return SdpResult(
            self.lower,
            status,
            time.monotonic() - self.started,
            self.size,
            self.solver,
            self.steps,
            reason,
            tuple(self.duals.values()),
        )
