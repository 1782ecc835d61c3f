"""Members that search to the end: over boxes, over neurons, by mixed-integer programs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from solvers.bracket import Bracket
from solvers.budget import Budget
from solvers.errors import MemoryLimitError, SolverFailedError
from solvers.exact import ExactMode, ExactResult, exact_margin
from solvers.portfolio.run import Run
from solvers.proof.producing.trace import RecordedLeaves
from solvers.search.boxes import BoxSearchOptions, search_boxes
from solvers.search.contract import SearchOutcome, SearchProgress, SearchStatus
from solvers.search.neurons import NeuronSearchOptions, search_neurons

__all__ = ["milp", "solve_program", "split_inputs", "split_neurons"]

_LOG = logging.getLogger(__name__)


def split_inputs(run: Run, budget: Budget) -> None:
    """Cut the regions of all open cases into boxes."""
    began, trace, before = time.perf_counter(), run.trace, run.open_places
    outcome = search_boxes(
        run.network,
        run.brackets,
        run.witness,
        options=BoxSearchOptions(recorder=None if trace is None else trace.boxes),
        budget=budget,
        progress=_teller(run, "input-splitting", began),
    )
    if trace is not None:
        trace.by_boxes |= before - run.open_places
    _conclude(run, "input-splitting", began, outcome)


def split_neurons(run: Run, budget: Budget) -> None:
    """Split neurons of the open cases, the most certain first, each with a share of the time."""
    waiting = sorted(run.open, key=lambda bracket: -bracket.lower)
    for bracket, share in _in_turn(run, waiting, budget):
        _split_neurons(run, bracket, share)


def _split_neurons(run: Run, bracket: Bracket, budget: Budget) -> None:
    began = time.perf_counter()
    try:
        outcome = search_neurons(
            run.network,
            bracket,
            run.witness,
            options=NeuronSearchOptions(recorder=_recorder(run, bracket)),
            budget=budget,
            known=None if run.ladder is None else run.ladder.known([bracket]),
            progress=_teller(run, "neuron-splitting", began),
        )
    except MemoryLimitError as error:
        outcome = SearchOutcome(SearchStatus.MEMORY, 0, time.perf_counter() - began, str(error))
    _conclude(run, "neuron-splitting", began, outcome)


def _recorder(run: Run, bracket: Bracket) -> RecordedLeaves | None:
    """Return what keeps leaves for a proof, if one is wanted."""
    if run.trace is None:
        return None
    place = next(place for place, other in enumerate(run.brackets) if other is bracket)
    run.trace.neurons[place] = leaves = RecordedLeaves()
    return leaves


def _teller(run: Run, name: str, began: float) -> Callable[[SearchProgress], None]:
    """Return what tells of a search while it runs."""

    def tell(at: SearchProgress) -> None:
        run.tell(name, began, f"{at.domains} domains, {at.open_domains} open")

    return tell


def _conclude(run: Run, name: str, began: float, outcome: SearchOutcome) -> None:
    if outcome.status not in {SearchStatus.DECIDED, SearchStatus.TIMEOUT, SearchStatus.CANCELLED}:
        memory = outcome.status is SearchStatus.MEMORY
        run.reason = "memory" if memory else outcome.reason or outcome.status.value
    run.note(name, began, f"{outcome.status.value}, {outcome.domains} domains")


def milp(run: Run, budget: Budget) -> None:
    """Solve the open cases exactly, the least certain first, each with an equal share of time."""
    waiting = sorted(run.open, key=lambda bracket: bracket.lower)
    for bracket, share in _in_turn(run, waiting, budget):
        _solve(run, bracket, share)


def _in_turn(
    run: Run, waiting: Sequence[Bracket], budget: Budget
) -> Iterator[tuple[Bracket, Budget]]:
    """Yield cases with an equal share of the time left, until one is falsified or time is up."""
    for position, bracket in enumerate(waiting):
        if run.falsified or budget.exhausted:
            return
        yield bracket, budget.share(1.0 / (len(waiting) - position))


def _solve(run: Run, bracket: Bracket, budget: Budget) -> None:
    if run.ladder is None:
        return
    began = time.perf_counter()
    infinite = run.ladder.step.unbounded_reason(run.ladder.place(bracket))
    if infinite is not None:
        run.reason = infinite
        run.note("milp", began, f"skipped: {infinite}")
        return
    try:
        result = solve_program(run, bracket, ExactMode.DECIDE, budget)
    except SolverFailedError as error:
        # What a solver said contradicts what is known: believe neither, decide nothing.
        _LOG.exception("the mixed-integer program failed")
        run.reason = str(error)
        run.note("milp", began, str(error))
        return
    run.reason = result.why_unknown or run.reason
    detail = f"{result.status}, {result.nodes} nodes"
    run.note("milp", began, detail, result.reports[-1] if result.reports else None)


def solve_program(run: Run, bracket: Bracket, mode: ExactMode, budget: Budget) -> ExactResult:
    """Solve one case by a mixed-integer program; what it proves and finds is in the bracket.

    Args:
        run: With a ladder that the case is part of.
        bracket: The case.
        mode: Whether the sign is enough or the value is wanted.
        budget: Of this case.

    Raises:
        SolverFailedError: Solver and network disagree.
    """
    assert run.ladder is not None  # noqa: S101  programs are built on bounds
    result = exact_margin(
        run.network,
        bracket.case,
        run.ladder.step.node_bounds(run.ladder.place(bracket)),
        options=replace(run.exact, mode=mode),
        budget=budget,
        clause_lower=bracket.clause_lower,
        incumbent=bracket.upper,
    )
    bracket.prove(result.clause_lower)
    bracket.offer(run.witness, result.candidate)
    return result
