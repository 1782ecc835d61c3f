"""The search over boxes: cut, bound, try inputs, until nothing is open.

All cases of a problem share one pool. A box leaves it when every clause is proved to fail on it;
clauses that are proved are not bounded again. What is proved of a case is, for each clause, the
least bound over its boxes, those that left included, so that it holds at any moment.

Sources: Wang et al. 2018 (ReluVal, bisection of inputs); Xu et al. 2021, *Fast and Complete*,
section 3.3 (batched domains bounded by backward passes).
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import torch

from models.network import Network
from solvers.bracket import Bracket, Witness
from solvers.budget import Budget
from solvers.search.boxes.boxes import Boxes, bisected
from solvers.search.boxes.flat_engine import engine_for
from solvers.search.boxes.layout import Layout
from solvers.search.boxes.options import BoxSearchOptions
from solvers.search.boxes.pool import Pool
from solvers.search.boxes.probe import Probe
from solvers.search.boxes.strategy import Strategy
from solvers.search.contract import ProgressHook, SearchOutcome, SearchProgress, SearchStatus

__all__ = ["search_boxes"]

_FIRST_SECONDS = 2.0
"""What the first round may take, as far as is known before."""
_REPORT_SECONDS = 0.25
_DESCENT_SHARE = 0.15
"""Of the time, for attacks."""
_DESCENT_SECONDS = 1.0
"""The longest attack; it looks at the budget between its steps."""


def search_boxes(
    network: Network,
    brackets: Sequence[Bracket],
    witness: Witness,
    *,
    options: BoxSearchOptions,
    budget: Budget,
    progress: ProgressHook | None = None,
) -> SearchOutcome:
    """Decide cases by cutting their regions into boxes that bounds can decide.

    Args:
        network: In float64 on any device, affine parts folded.
        brackets: The cases of one problem; those that have a verdict are left alone. The search
            ends with the first counterexample. Their proved clauses are taken as they are.
        witness: Judges candidates.
        options: Batches, memory, a recorder of leaves.
        budget: Deadline and cancellation, heeded within about `options.round_seconds`.
        progress: Called a few times a second.
    """
    began = time.perf_counter()
    open_ = [place for place, bracket in enumerate(brackets) if not bracket.decided]
    if any(bracket.counterexample is not None for bracket in brackets) or not open_:
        return SearchOutcome(SearchStatus.DECIDED, 0, time.perf_counter() - began)
    if any(brackets[place].case.region.ball is not None for place in open_):
        return SearchOutcome(
            SearchStatus.UNSUPPORTED,
            0,
            time.perf_counter() - began,
            "a region is an L1 or L2 ball; boxes cover regions of the L∞ norm alone",
        )
    search = _Search(network, [brackets[place] for place in open_], witness, options)
    search.places = torch.tensor(open_)
    with torch.no_grad():
        return search.run(budget, progress, began)


class _Search:
    """The state of one search."""

    def __init__(
        self,
        network: Network,
        brackets: Sequence[Bracket],
        witness: Witness,
        options: BoxSearchOptions,
    ) -> None:
        self._brackets, self._options = brackets, options
        self._layout = Layout.of(network, [bracket.case for bracket in brackets])
        self._strategy = Strategy(engine_for(network, self._layout), self._layout.active.numel())
        self._probe = Probe(network, self._layout, brackets, witness)
        self._pool = Pool(options.memory_bytes)
        self._domains, self._stalled = 0, 0
        self._size = 16
        self._descending = 0.0
        self.places = torch.arange(len(brackets))
        present = self._layout.present
        # The least bounds of boxes that left the pool.
        self._floor = torch.full(present.shape, torch.inf, dtype=torch.float64).to(present.device)

    def run(self, budget: Budget, progress: ProgressHook | None, began: float) -> SearchOutcome:
        """Search to the end, or to that of the budget."""
        status, reported = self._first(budget), -math.inf
        while True:
            now = time.perf_counter()
            if status is not None or now - reported > _REPORT_SECONDS:
                self._prove()
                reported = now
                if progress is not None:
                    progress(self._progress(now - began))
                status = status or self._contradicted()
            if status is not None:
                break
            status = self._round(budget)
        reason = self._reason(status)
        return SearchOutcome(status, self._domains, time.perf_counter() - began, reason)

    def _first(self, budget: Budget) -> SearchStatus | None:
        """Bound the regions themselves."""
        layout = self._layout
        cases = torch.arange(layout.cases, device=layout.lower.device)
        lowers = torch.full_like(self._floor, torch.inf)
        for place, bracket in enumerate(self._brackets):
            known = torch.from_numpy(bracket.clause_lower)
            lowers[place, : len(known)] = known.to(lowers.device)
        roots = Boxes(
            layout.lower,
            layout.upper,
            cases,
            lowers,
            torch.full_like(lowers[:, 0], torch.inf),
            layout.upper - layout.lower,
            torch.zeros_like(cases),
            {},
        )
        began = time.perf_counter()
        for first in range(0, len(roots), self._options.most_boxes):
            part = roots[first : first + self._options.most_boxes]
            if budget.exhausted:
                self._pool.put(part)
            else:
                self._bound(part, budget)
        # Where a single box takes seconds, the first round must not take many.
        seconds = max(1e-6, (time.perf_counter() - began) / len(roots))
        self._size = max(1, min(self._size, int(_FIRST_SECONDS / seconds)))
        return self._status(budget)

    def _round(self, budget: Budget) -> SearchStatus | None:
        """Cut some boxes, and bound what they fall into."""
        began = time.perf_counter()
        boxes = self._cut(self._pool.take(self._size))
        if len(boxes):
            self._bound(boxes, budget)
        seconds = time.perf_counter() - began
        self._resize(len(boxes), seconds)
        if self._options.probe and self._descending < _DESCENT_SHARE * seconds:
            self._descend(budget)
        self._descending -= _DESCENT_SHARE * seconds
        return self._status(budget)

    def _cut(self, boxes: Boxes) -> Boxes:
        """Cut boxes, several times while there are few of them."""
        whole: list[Boxes] = []
        while True:
            halves, stuck = bisected(boxes)
            if bool(stuck.any()):
                whole.append(boxes[stuck])
            boxes = halves
            if not len(boxes) or 2 * len(boxes) > self._size:
                break
        for part in whole:
            self._stalled += len(part)
            self._leave(part)
        return boxes

    def _bound(self, boxes: Boxes, budget: Budget) -> None:
        """Bound boxes; keep those that are open."""
        self._domains += len(boxes)
        bounded = self._strategy.bound(boxes, budget)
        open_ = ~(bounded.boxes.worst > 0)
        proved = bounded.boxes[~open_]
        if len(proved):
            self._leave(proved)
            self._record(proved)
        if not bool(open_.any()):
            return
        rest = bounded[open_]
        self._pool.put(self._probe.look(rest) if self._options.probe else rest.boxes)

    def _leave(self, boxes: Boxes) -> None:
        """Note the bounds of boxes that are not looked at again."""
        index = boxes.case.unsqueeze(1).expand_as(boxes.clause_lower)
        self._floor = self._floor.scatter_reduce(0, index, boxes.clause_lower, "amin")

    def _record(self, boxes: Boxes) -> None:
        if self._options.recorder is None:
            return
        region = self._layout.region(boxes.case, boxes.lower, boxes.upper)
        self._options.recorder.leaves(
            self.places[boxes.case.cpu()].numpy(),
            region.lower.cpu().numpy(),
            region.upper.cpu().numpy(),
        )

    def _resize(self, count: int, seconds: float) -> None:
        """Choose the next batch so that it takes as long as a round may."""
        if not count:
            return
        fitting = int(count * self._options.round_seconds / max(seconds, 1e-6))
        self._size = max(1, min(fitting, 4 * self._size, self._options.most_boxes))

    def _descend(self, budget: Budget) -> None:
        began = time.perf_counter()
        with torch.enable_grad():
            self._probe.descend(budget.at_most(_DESCENT_SECONDS))
        self._descending += time.perf_counter() - began

    def _prove(self) -> None:
        """Hand what is proved to the brackets."""
        least = self._pool.least(self._floor).cpu().numpy()
        for place, bracket in enumerate(self._brackets):
            bracket.prove(least[place, : len(bracket.clause_lower)])

    def _status(self, budget: Budget) -> SearchStatus | None:
        if self._probe.falsified:
            return SearchStatus.DECIDED
        if not len(self._pool):
            return SearchStatus.STALLED if self._stalled else SearchStatus.DECIDED
        if budget.exhausted:
            cancelled = budget.stop_reason == "cancelled"
            return SearchStatus.CANCELLED if cancelled else SearchStatus.TIMEOUT
        return SearchStatus.MEMORY if self._pool.full else None

    def _contradicted(self) -> SearchStatus | None:
        wrong = any(bracket.contradiction is not None for bracket in self._brackets)
        return SearchStatus.STALLED if wrong else None

    def _reason(self, status: SearchStatus) -> str | None:
        said = next((b.contradiction for b in self._brackets if b.contradiction), None)
        if said is not None:
            return said
        if status is SearchStatus.STALLED:
            return f"{self._stalled} boxes are as small as float64 numbers allow, and undecided"
        if status is SearchStatus.MEMORY:
            return f"{len(self._pool)} boxes wait, as many as memory allows"
        return None

    def _progress(self, seconds: float) -> SearchProgress:
        return SearchProgress(
            min(bracket.lower for bracket in self._brackets),
            min(bracket.upper for bracket in self._brackets),
            self._domains,
            len(self._pool),
            seconds,
        )
