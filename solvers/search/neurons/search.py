"""The search over neurons: a tree that all clauses share, then one or two trees of each."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from models.network import Network
from solvers.bounds import BoundOptions, Interval
from solvers.bracket import Bracket, Witness
from solvers.budget import Budget
from solvers.errors import StoppedError
from solvers.ladder import CaseBatch
from solvers.methods import Method
from solvers.search.contract import ProgressHook, SearchOutcome, SearchProgress, SearchStatus
from solvers.search.crew import Crew, Turn, crew_size
from solvers.search.neurons.layout import confined
from solvers.search.neurons.options import NeuronSearchOptions
from solvers.search.neurons.pace import Choice
from solvers.search.neurons.shrinking import Shrunk, shrink
from solvers.search.neurons.tree import Tree
from solvers.search.neurons.trunk import Trunk

__all__ = ["search_neurons"]


def search_neurons(
    network: Network,
    bracket: Bracket,
    witness: Witness,
    *,
    options: NeuronSearchOptions,
    budget: Budget,
    known: Mapping[str, Interval] | None = None,
    progress: ProgressHook | None = None,
) -> SearchOutcome:
    """Decide a case by splitting values inside its network.

    Args:
        network: Folded; in float64 if what is found is to be proved.
        bracket: Of the case; whatever is proved or found is in it at once.
        witness: Judges counterexamples.
        options: How to work.
        budget: When to stop.
        known: Sound bounds of nodes over the case's region, batch 1, from an earlier method; None
            to begin with CROWN's.
        progress: Called after every round.

    Source: Bunel et al. 2020 (branch and bound); Wang et al. 2021 (β-CROWN); Shi et al. 2024
    (general nonlinearities).
    """
    began = time.perf_counter()
    if bracket.decided:
        return SearchOutcome(SearchStatus.DECIDED, 0, 0.0)
    if known is None:
        known = _crown(network, bracket, budget)
        if bracket.decided:
            return SearchOutcome(SearchStatus.DECIDED, 0, time.perf_counter() - began)
    shrunk, bounded = shrink(network, known, _open_rows(network, bracket)), 0
    if options.splits is not None:
        wanted = confined(shrunk.network, shrunk.wanted, options.splits)
        shrunk = replace(shrunk, wanted=wanted)
    if options.sharpen and options.start is None:
        trunk = Trunk(shrunk, bracket, witness, options=options, budget=budget)
        ended, bounded = trunk.run(progress), trunk.bounded
        if ended is not None:
            return SearchOutcome(ended, bounded, time.perf_counter() - began)
    crew = Crew(crew_size(network.device, options.workers), budget)
    race = _Race(shrunk, bracket, witness, options=options, crew=crew)
    status, reason = race.run(progress)
    return SearchOutcome(status, bounded + race.bounded, time.perf_counter() - began, reason)


def _open_rows(network: Network, bracket: Bracket) -> Tensor:
    """Return the rows of clauses that are not proved, shape `(rows, outputs)`."""
    clauses = zip(bracket.case.specification.clauses, bracket.clause_lower, strict=True)
    none = np.zeros((0, network.output_size))
    rows = np.concatenate([none, *(clause.matrix for clause, lower in clauses if lower <= 0)])
    return torch.from_numpy(rows).to(network.device)


def _crown(network: Network, bracket: Bracket, budget: Budget) -> Mapping[str, Interval]:
    batch = CaseBatch(network, [bracket.case])
    step = batch.bound(Method.CROWN, options=BoundOptions(), budget=budget)
    bracket.prove(step.clause_lower[0])
    return step.intermediate


class _Race:
    """Two trees over the same region: one that splits alone, one that tightens bounds first.

    The second begins where the first has not ended soon. Whichever is closed decides.
    """

    def __init__(
        self,
        shrunk: Shrunk,
        bracket: Bracket,
        witness: Witness,
        *,
        options: NeuronSearchOptions,
        crew: Crew,
    ) -> None:
        self._bracket, self._crew = bracket, crew

        def tree(sharp: bool, options: NeuronSearchOptions) -> Tree:
            return Tree(shrunk, bracket, witness, options=options, crew=crew, sharp=sharp)

        if options.sharpen:
            # each may fill its half
            options = replace(options, memory_bytes=max(1, options.memory_bytes // 2))
        self._trees = [tree(False, options)]
        self._second = (lambda: tree(True, options)) if options.sharpen else None
        roots = int((bracket.clause_lower <= 0).sum())
        self._choice = Choice(crew.budget.remaining_seconds, roots)
        self._noted = [0.0, 0.0]
        self._ended: dict[int, tuple[SearchStatus, str | None]] = {}
        self._outcome: tuple[SearchStatus, str | None] | None = None

    @property
    def bounded(self) -> int:
        """Domains bounded so far."""
        return sum(tree.bounded for tree in self._trees)

    def run(self, progress: ProgressHook | None) -> tuple[SearchStatus, str | None]:
        """Search until there is a verdict or a limit is reached."""
        began = time.perf_counter()

        def tell() -> None:
            if progress is not None and any(tree.started for tree in self._trees):
                seconds = time.perf_counter() - began
                waiting = sum(one.waiting for one in self._trees)
                known = (self._bracket.lower, self._bracket.upper)
                at = SearchProgress(*known, self.bounded, waiting, seconds)
                with self._crew.monitor.left():
                    progress(at)

        self._crew.run(self._turn, tell)
        assert self._outcome is not None  # noqa: S101  the last turn said why it was
        return self._outcome

    def _turn(self) -> Turn:
        """Grow a tree by a round."""
        at = self._next()
        if at is None:
            stop = self._crew.budget.stop_reason
            return Turn.IDLE if stop is None else self._end(SearchStatus(stop))
        tree, started = self._trees[at], time.perf_counter()
        try:
            ended = tree.step()
        except StoppedError:
            # What the round took from its tree is lost; what is proved stands in the bracket.
            cancelled = self._crew.budget.stop_reason == "cancelled"
            return self._end(SearchStatus.CANCELLED if cancelled else SearchStatus.TIMEOUT)
        seconds, closed = time.perf_counter() - started, tree.closed - self._noted[at]
        self._noted[at] = tree.closed
        self._choice.note(second=at == 1, closed=closed, seconds=seconds)
        if ended is None:
            return Turn.MADE
        self._ended[at] = ended
        last = len(self._ended) == len(self._trees)
        if last or ended[0] not in {SearchStatus.STALLED, SearchStatus.MEMORY}:
            return self._end(*ended)
        return Turn.MADE

    def _end(self, status: SearchStatus, reason: str | None = None) -> Turn:
        """Say why the search ends; of several threads, the first one's word counts."""
        self._outcome = self._outcome or (status, reason)
        return Turn.LAST

    def _next(self) -> int | None:
        """Return which tree to grow; None where others are at work on all that is open."""
        if self._second is not None and self._choice.second and self._trees[0].affordable:
            self._trees.append(self._second())
            self._second = None
        first = int(self._choice.second)
        order = [at for at in (first, 1 - first) if at < len(self._trees) and at not in self._ended]
        return next((at for at in order if self._trees[at].ready), None)
