"""Members that attack and bound: each spends its time on the open cases and notes what it did."""

from __future__ import annotations

import math
import time

from models.operators import Relu
from solvers.attack import AttackOptions, attack
from solvers.bounds import BoundOptions
from solvers.budget import Budget
from solvers.errors import MemoryLimitError, StoppedError
from solvers.ladder import CaseBatch
from solvers.methods import Method
from solvers.portfolio.run import Ladder, Run

__all__ = [
    "alpha_crown",
    "alpha_margins",
    "attack_briefly",
    "attack_harder",
    "crown",
    "have_windows",
    "planes_inside",
    "windows",
]

_ATTACKS = 4
_SETTLED = 0.95
"""Slopes are optimised again where planes leave fewer undecided values than this share."""
_ATTACK_GAIN = 0.05
"""An attack that came no closer to a counterexample than by this share is the last one."""


def attack_briefly(run: Run, budget: Budget) -> None:
    """Look for a counterexample for a short while.

    One round finds nearly all that attacks can find. Where passes are costly, more of them wait
    for bounds, which decide most of what has no counterexample sooner than that.
    """
    began, rounds = time.perf_counter(), 2 if run.few_inputs else 1
    _attack(run, budget, AttackOptions(rounds=rounds, stop_at_first=True, seed=run.seed))
    run.note("attack", began)


def attack_harder(run: Run, budget: Budget) -> None:
    """Look again where bounds left cases open, with more and more starts while that gains."""
    began, plain = time.perf_counter(), AttackOptions()
    for number in range(1, 1 + _ATTACKS):
        before = run.upper
        _attack(
            run,
            budget,
            AttackOptions(
                restarts=plain.restarts * plain.growth**number,
                samples=plain.samples * plain.growth**number,
                stop_at_first=True,
                seed=run.seed + number,
            ),
        )
        if run.finished or budget.exhausted or run.upper > (1.0 - _ATTACK_GAIN) * before:
            break
    run.note("attack-again", began)


def _attack(run: Run, budget: Budget, options: AttackOptions) -> None:
    tried = run.open
    results = attack(run.attacked, [b.case for b in tried], options, budget=budget)
    for bracket, result in zip(tried, results, strict=True):
        bracket.offer(run.witness, result.candidate)


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


def have_windows(run: Run) -> bool:
    """Return whether first layers can be bounded window by window, and are bounded at all."""
    return run.ladder is not None and CaseBatch(run.network, [run.open[0].case]).has_windows


def windows(run: Run, budget: Budget) -> None:
    """Bound open rows with the neurons of each window of the first layer taken together."""
    began, tried, before = time.perf_counter(), run.open, run.open_places
    assert run.ladder is not None  # noqa: S101  asked before
    for position, bracket in enumerate(tried):
        batch = CaseBatch(run.network, [bracket.case], watch=run.budget)
        share = budget.share(1.0 / (len(tried) - position))
        try:
            lowers = batch.by_windows(run.ladder.known([bracket]), bracket.clause_lower, share)
        except StoppedError:
            break
        bracket.prove(lowers)
    if run.trace is not None:
        run.trace.by_windows |= before - run.open_places
    run.note("windows", began)


def planes_inside(run: Run, budget: Budget) -> None:
    """Tighten bounds inside the network by planes above ReLUs, which splitting then begins with.

    Where that gained something, slopes of every layer are optimised once more. Not where a proof is
    wanted: leaves that rest on such bounds could not be followed from the splits.
    """
    relus = any(isinstance(node.operator, Relu) for node in run.network.graph.nodes)
    if run.trace is not None or run.ladder is None or not relus:
        return
    before = run.undecided()
    options = BoundOptions(optimise_intermediate=False, cuts_inside=True, iterations=10)
    _bound(run, budget, Method.ALPHA_FASTC2V, options)
    if not run.finished and run.undecided() < _SETTLED * before:
        _bound(run, budget, Method.ALPHA_CROWN, BoundOptions(stop_when_positive=True))


def _bound(run: Run, budget: Budget, method: Method, options: BoundOptions) -> None:
    began = time.perf_counter()
    tried = run.open
    batch = CaseBatch(run.network, [bracket.case for bracket in tried], watch=run.budget)
    known = None if run.ladder is None else run.ladder.known(tried)
    try:
        step = batch.bound(method, options=options, known=known, budget=budget)
    except (MemoryLimitError, StoppedError) as error:
        if isinstance(error, MemoryLimitError):
            run.reason = "memory"
        run.note(method.value, began, str(error))
        return
    for position, (bracket, lowers) in enumerate(zip(tried, step.clause_lower, strict=True)):
        bracket.prove(lowers)
        if not math.isfinite(bracket.lower):
            run.unbounded = run.unbounded or step.unbounded_reason(position)
    run.ladder = Ladder(step, tuple(tried))
    run.note(method.value, began)
