"""Members that attack and bound: each spends its time on the open cases and notes what it did."""

from __future__ import annotations

import math
import time

from solvers.attack import AttackOptions, attack
from solvers.bounds import BoundOptions
from solvers.budget import Budget
from solvers.errors import MemoryLimitError, StoppedError
from solvers.ladder import CaseBatch
from solvers.methods import Method
from solvers.portfolio.run import Ladder, Run

__all__ = ["alpha_crown", "alpha_margins", "attack_briefly", "attack_harder", "crown"]


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
    if run.trace is not None:
        run.trace.hard |= run.open_places
    options = BoundOptions(stop_when_positive=True, iterations=30)
    _bound(run, budget, Method.ALPHA_CROWN, options)


def _bound(run: Run, budget: Budget, method: Method, options: BoundOptions) -> None:
    began = time.perf_counter()
    tried = run.open
    batch = CaseBatch(run.network, [bracket.case for bracket in tried], watch=run.budget)
    known = None if run.ladder is None else run.ladder.known(tried)
    try:
        step = batch.bound(method, options=options, known=known, budget=budget)
    except MemoryLimitError as error:
        run.reason = "memory"
        run.note(method.value, began, str(error))
        return
    except StoppedError as error:
        run.note(method.value, began, str(error))
        return
    for position, (bracket, lowers) in enumerate(zip(tried, step.clause_lower, strict=True)):
        bracket.prove(lowers)
        if not math.isfinite(bracket.lower):
            run.unbounded = run.unbounded or step.unbounded_reason(position)
    run.ladder = Ladder(step, tuple(tried))
    run.note(method.value, began)
