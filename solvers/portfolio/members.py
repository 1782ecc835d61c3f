"""The members of the portfolio: each spends its time on the open cases and notes what it did."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import replace

from solvers.attack import AttackOptions, attack
from solvers.bounds import BoundOptions
from solvers.bracket import Bracket
from solvers.budget import Budget
from solvers.errors import MemoryLimitError, SolverFailedError
from solvers.exact import ExactMode, exact_margin
from solvers.ladder import CaseBatch
from solvers.methods import Method
from solvers.portfolio.run import Ladder, Run

__all__ = ["alpha_crown", "alpha_margins", "attack_briefly", "attack_harder", "crown", "milp"]

_LOG = logging.getLogger(__name__)


def attack_briefly(run: Run, budget: Budget) -> None:
    """Look for a counterexample for a short while."""
    _attack(run, budget, "attack", AttackOptions(rounds=2, stop_at_first=True, seed=run.seed))


def attack_harder(run: Run, budget: Budget) -> None:
    """Look again, with other starts and more of them, where bounds left cases open."""
    options = AttackOptions(rounds=5, stop_at_first=True, seed=run.seed + 1)
    _attack(run, budget, "attack-again", options)


def _attack(run: Run, budget: Budget, name: str, options: AttackOptions) -> None:
    began = time.perf_counter()
    tried = run.open
    results = attack(run.attacked, [b.case for b in tried], options, budget=budget)
    for bracket, result in zip(tried, results, strict=True):
        bracket.offer(run.witness, result.candidate)
    run.note(name, began)


def crown(run: Run, budget: Budget) -> None:
    """Bound every open case by CROWN."""
    _bound(run, budget, Method.CROWN, BoundOptions())


def alpha_margins(run: Run, budget: Budget) -> None:
    """Optimise the slopes of the margins alone, on the node bounds there are."""
    options = BoundOptions(stop_when_positive=True, optimise_intermediate=False)
    _bound(run, budget, Method.ALPHA_CROWN, options)


def alpha_crown(run: Run, budget: Budget) -> None:
    """Optimise the slopes of every layer."""
    options = BoundOptions(stop_when_positive=True, iterations=30)
    _bound(run, budget, Method.ALPHA_CROWN, options)


def _bound(run: Run, budget: Budget, method: Method, options: BoundOptions) -> None:
    began = time.perf_counter()
    tried = run.open
    batch = CaseBatch(run.network, [bracket.case for bracket in tried])
    known = None if run.ladder is None else run.ladder.known(tried)
    try:
        step = batch.bound(method, options=options, known=known, budget=budget)
    except MemoryLimitError as error:
        run.reason = "memory"
        run.note(method.value, began, str(error))
        return
    for position, (bracket, lowers) in enumerate(zip(tried, step.clause_lower, strict=True)):
        bracket.prove(lowers)
        if not math.isfinite(bracket.lower):
            run.unbounded = run.unbounded or step.unbounded_reason(position)
    run.ladder = Ladder(step, tuple(tried))
    run.note(method.value, began)


def milp(run: Run, budget: Budget) -> None:
    """Solve the open cases exactly, the least certain first, each with an equal share of time."""
    waiting = sorted(run.open, key=lambda bracket: bracket.lower)
    for position, bracket in enumerate(waiting):
        if run.falsified or budget.exhausted:
            break
        _solve(run, bracket, budget.share(1.0 / (len(waiting) - position)))


def _solve(run: Run, bracket: Bracket, budget: Budget) -> None:
    if run.ladder is None:
        return
    began = time.perf_counter()
    place, step = run.ladder.place(bracket), run.ladder.step
    infinite = step.unbounded_reason(place)
    if infinite is not None:
        run.reason = infinite
        run.note("milp", began, f"skipped: {infinite}")
        return
    try:
        result = exact_margin(
            run.network,
            bracket.case,
            step.node_bounds(place),
            options=replace(run.exact, mode=ExactMode.DECIDE),
            budget=budget,
            clause_lower=bracket.clause_lower,
            incumbent=bracket.upper,
        )
    except SolverFailedError as error:
        # What a solver said contradicts what is known: believe neither, decide nothing.
        _LOG.exception("the mixed-integer program failed")
        run.reason = str(error)
        run.note("milp", began, str(error))
        return
    bracket.prove(result.clause_lower)
    bracket.offer(run.witness, result.candidate)
    run.reason = result.why_unknown or run.reason
    detail = f"{result.status}, {result.nodes} nodes"
    run.note("milp", began, detail, result.reports[-1] if result.reports else None)
