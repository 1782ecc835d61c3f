"""A tree of domains: rounds of splitting and bounding until nothing is open."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from models.network import Network
from solvers.bounds import boxes_to_interval, regions_to_balls
from solvers.bracket import Bracket, Witness
from solvers.search.contract import SearchStatus
from solvers.search.crew import Crew
from solvers.search.neurons.bounding import Bounder, Climb
from solvers.search.neurons.branching import Brancher, children_of
from solvers.search.neurons.clauses import ClauseRows
from solvers.search.neurons.domains import Domains, Pool
from solvers.search.neurons.falsifying import Falsifier
from solvers.search.neurons.focusing import Focuser
from solvers.search.neurons.layout import Layout, layout_of
from solvers.search.neurons.leaves import LeafSolver
from solvers.search.neurons.options import NeuronSearchOptions
from solvers.search.neurons.pace import Effort, Pace
from solvers.search.neurons.recording import Leaf, SplitLog
from solvers.search.neurons.refining import Refiner
from solvers.search.neurons.sharpening import Sharpener
from solvers.search.neurons.shrinking import Shrunk
from solvers.search.neurons.starting import Starts

__all__ = ["Tree"]

_ROW_BYTES = 1 << 26
"""What the coefficients of one pass may take; more leaves the processor's caches."""
_COPIES = 6
_DEEP_FILL = 0.5
"""From this share of the memory on, the newest domains come first, which keeps the pool small."""
_BURST = 8
"""Every so many rounds the newest domains come first, on the way to a counterexample."""
_SHARPENINGS = 3
"""Most times that a round tightens the bounds of a domain."""
_GAINED = 0.75
"""It does so again where no more than this share of what was missing is left."""
_ROOT_SHARPENINGS = 8
_ROOT_GAINED = 0.97
_FEWEST = 8
"""Half as many domains as this take as long: nobody leaves others to another thread."""


class Tree:
    """One tree over the region of a bracket: domains that wait, and what is settled.

    Args:
        shrunk: Network and bounds.
        bracket: Whatever is proved or found is in it at once.
        witness: Judges counterexamples.
        options: How to work.
        crew: Whose threads make steps, and its budget.
        sharp: Whether bounds are tightened before domains are split.

    Attributes:
        closed: The sum of 2⁻ᵈ over proved domains of depth d.
        bounded: Domains bounded so far.
    """

    def __init__(
        self,
        shrunk: Shrunk,
        bracket: Bracket,
        witness: Witness,
        *,
        options: NeuronSearchOptions,
        crew: Crew,
        sharp: bool,
    ) -> None:
        self._bracket, self._options, self._budget = bracket, options, crew.budget
        self._workers, self._monitor = crew.size, crew.monitor
        self._sharp = sharp
        case, network = bracket.case, shrunk.network
        self._device = network.device
        region = boxes_to_interval([case.region], network.dtype, network.device)
        balls = regions_to_balls([case.region], network.dtype, network.device)
        dtype = torch.float32 if options.single_precision else network.dtype
        self._layout: Layout = layout_of(network, shrunk.bounds, shrunk.wanted)
        self._bounder = Bounder(
            self._layout,
            region,
            balls,
            dtype=dtype,
            watch=crew.budget,
            moves=options.recorder is None or self._layout.told,
        )
        self._clauses = ClauseRows(network, case.specification)
        limit = _row_limit(network)
        self._brancher = Brancher(
            self._layout, self._bounder, candidates=options.candidates, row_limit=limit
        )
        self._refiner = Refiner(self._layout, self._bounder, row_limit=limit)
        focuser = Focuser(self._layout, self._bounder, row_limit=limit)
        self._sharpener = Sharpener(focuser, self._clauses.clauses, self._layout.size, crew.monitor)
        self._effort = Effort(options.iterations)
        self._pace = Pace(options.batch, max(1, limit // (2 * self._clauses.rows)))
        box = (case.region.lower.ravel(), case.region.upper.ravel())
        self._leaf_solver = LeafSolver(self._layout, self._bounder, box)
        self._falsifier = (
            Falsifier(self._layout.in_dtype(dtype), region, bracket, witness)
            if options.falsify
            else None
        )
        self._log = None
        if options.recorder is not None:
            self._log = SplitLog(self._layout, shrunk.kept, options.recorder, sharp=sharp)
        self._starts = Starts(
            self._layout,
            shrunk.kept,
            rows=self._clauses.rows,
            width=self._brancher.width,
            moves=self._bounder.moves,
        )
        # The least bound of every clause's domains that need no more, or cannot get more, work.
        self._settled_floor = np.full(self._clauses.clauses, math.inf)
        self._numbered, self._rounds = 0, 0
        self._pool: Pool | None = None
        self._beginning = False
        self.closed, self.bounded = 0.0, 0

    @property
    def started(self) -> bool:
        """Whether rounds have begun."""
        return self._rounds > 0

    @property
    def waiting(self) -> int:
        """Domains that wait."""
        return 0 if self._pool is None else len(self._pool)

    @property
    def ready(self) -> bool:
        """Whether a step can be made now: there may be nothing but what others work on."""
        if self._pool is None:
            return not self._beginning
        return len(self._pool) > 0 and self._pool.fits(min(self._size, len(self._pool)))

    @property
    def affordable(self) -> bool:
        """Whether bounds inside domains can be tightened in useful time."""
        return self._sharpener.affordable

    def step(self) -> tuple[SearchStatus, str | None] | None:
        """Make a round; return why the search has ended, or None while it goes on.

        Called inside the crew's monitor, which is left for all that takes long, while `ready`.
        """
        if self._pool is None:
            refused = self._begin()
            if refused is not None:
                return refused
        else:
            self._round(self._pool)
        if self._bracket.decided:
            return SearchStatus.DECIDED, None
        stop = self._budget.stop_reason
        return self._exhausted() if stop is None else (SearchStatus(stop), None)

    def _exhausted(self) -> tuple[SearchStatus, str | None] | None:
        """Return why there is no other round, or None."""
        pool = self._pool
        if pool is None or pool.lent:
            return None  # nobody knows what comes back
        if len(pool) == 0:
            return SearchStatus.STALLED, self._why_stalled()
        if not pool.fits(min(self._size, len(pool))):
            return SearchStatus.MEMORY, "open domains fill the memory allowed for them"
        return None

    def _begin(self) -> tuple[SearchStatus, str | None] | None:
        """Bound the region, or the domains to begin with; return why that cannot be done."""
        self._beginning = True
        root, leaves = self._root(), self._options.start
        pool = Pool(root, self._options.memory_bytes)
        if not pool.fits(len(root)):
            return SearchStatus.MEMORY, "not even the region itself fits into the memory allowed"
        if leaves is None or self._sharp:
            self._settle(self._bound(root, self._options.root_iterations), pool)
            self._pool = pool  # from here on it is everybody's
            return None
        if self._resume(root, leaves, pool):
            self._pool = pool
            return None
        status = SearchStatus(self._budget.stop_reason or SearchStatus.MEMORY)
        return status, "the domains to begin with were not all bounded"

    @property
    def _size(self) -> int:
        """How many domains a round takes."""
        return min(self._pace.size, self._sharpener.size) if self._sharp else self._pace.size

    def _round(self, pool: Pool) -> None:
        """Split domains and bound their children, after tightening their bounds where asked."""
        began = time.perf_counter()
        self._drop_proved(pool)
        newest = pool.fill > _DEEP_FILL or self._rounds % _BURST == _BURST - 1
        taken = pool.take(self._share(pool), newest=newest)
        count, ticket = len(taken), pool.lend(taken)
        if self._sharp:
            taken = self._sharpened(taken)
        children = taken if len(taken) == 0 else self._split(taken)
        self._settle(children, pool, ticket)
        self._effort.note(self._bracket.lower)
        self._rounds += 1
        if not self._sharp:
            self._pace.note(count, time.perf_counter() - began)

    def _share(self, pool: Pool) -> int:
        """Return how many domains to take: where there are few, others get some as well."""
        fair = -(-(len(pool) + pool.lent) // self._workers)
        return min(self._size, max(fair, 1 if self._sharp else _FEWEST))

    def _resume(self, root: Domains, leaves: Sequence[Leaf], pool: Pool) -> bool:
        """Begin in the domains of an earlier search; return whether all of them were bounded."""
        size = max(1, self._brancher.row_limit // self._clauses.rows)
        for clause, floor in zip(root.clause.tolist(), root.floor.tolist(), strict=True):
            own = [leaf for leaf in leaves if leaf.clause == clause]
            for part, splits in self._starts.parts(clause, floor, own, size):
                if self._budget.exhausted or not pool.fits(len(part)):
                    return False
                domains = self._numbers(part)
                if self._log is not None:
                    self._log.begin(domains, splits)
                domains = self._refined(domains)
                if len(domains) > 0:
                    self._sort(self._solved(self._bound(domains, self._effort.steps)), pool)
        self._tell(pool)
        return True

    def _drop_proved(self, pool: Pool) -> None:
        """Drop the domains of clauses that another search over the bracket has proved."""
        proved = self._bracket.clause_lower > 0
        pool.drop_clauses(proved)
        # Of what is dropped, no more is known here than that.
        known = np.where(proved, self._bracket.clause_lower, np.inf)
        self._settled_floor = np.minimum(self._settled_floor, known)

    def _split(self, taken: Domains) -> Domains:
        """Return the children of domains, bounded, less those that were closed."""
        functions = self._clauses.functions(taken.clause)
        with self._monitor.left():
            values, points = self._brancher.choose(taken, functions)
        children = self._numbers(children_of(taken, values, points))
        if self._log is not None:
            self._log.note(children, taken.number, values, points)
        children = self._refined(children)
        return self._bound(children, self._effort.steps) if len(children) > 0 else children

    def _sharpened(self, taken: Domains) -> Domains:
        """Tighten bounds where clauses can still hold, again where that gained much.

        Returns:
            The domains that are still open; the others are closed.
        """
        rest = []
        # What is gained over the whole region, all domains inherit.
        root = bool((taken.depth == 0).all())
        times, worth = (_ROOT_SHARPENINGS, _ROOT_GAINED) if root else (_SHARPENINGS, _GAINED)
        for _ in range(times):
            functions, before = self._clauses.functions(taken.clause), taken.floor
            taken = self._sharpener.sharpen(taken, functions, self._budget)
            open_ = (taken.floor <= 0).nonzero().squeeze(1)
            if len(open_) > 0:
                taken = taken.replaced(open_, self._bound(taken[open_], self._effort.steps))
            closed, gained = taken.floor > 0, taken.floor > worth * before
            self._close(taken[closed])
            rest.append(taken[~closed & ~gained])
            taken = taken[~closed & gained]
            if len(taken) == 0 or self._budget.exhausted:
                break
        return Domains.joined([*rest, taken])

    def _refined(self, children: Domains) -> Domains:
        """Tighten bounds where few values are left; close what turns out empty."""
        cheap = self._refiner.cheap(children)
        if not bool(cheap.any()):
            return children
        place = cheap.nonzero().squeeze(1)
        seen = None if self._log is None else self._seen
        with self._monitor.left():
            refined = self._refiner.refine(children[place], self._budget, seen)
        children = children.replaced(place, refined)
        empty = children.floor > 0
        self._close(children[empty])
        return children[~empty]

    def _seen(self, domains: Domains, lower: Tensor, upper: Tensor) -> None:
        assert self._log is not None  # noqa: S101  asked before
        with self._monitor:
            self._log.refined(domains, lower, upper)

    def _root(self) -> Domains:
        """Return the region, once per clause that is open."""
        layout, lower = self._layout, self._bracket.clause_lower
        clause = torch.from_numpy(np.flatnonzero(lower <= 0)).to(self._device)
        count = len(clause)
        return self._numbers(
            Domains.begun(
                clause,
                torch.from_numpy(lower[lower <= 0]).to(self._device),
                layout.lower.repeat(count, 1),
                layout.upper.repeat(count, 1),
                alpha=self._bounder.start.repeat(count, self._clauses.rows, 1),
                width=self._brancher.width,
            )
        )

    def _numbers(self, domains: Domains) -> Domains:
        """Give domains numbers of their own."""
        first, self._numbered = self._numbered, self._numbered + len(domains)
        return domains.numbered(torch.arange(first, self._numbered, device=self._device))

    def _bound(self, domains: Domains, steps: int) -> Domains:
        """Improve slopes, multipliers and floors of domains, and find what to split next."""
        patience = self._effort.patience
        functions, rows = self._clauses.functions(domains.clause), self._clauses.rows
        with self._monitor.left():
            began = self._monitor.clock()
            climb = self._bounder.climb(
                functions, domains.terms, steps=steps, budget=self._budget, patience=patience
            )
            seconds = self._monitor.clock() - began
            proved = self._bounder.lower(functions, climb.terms).reshape(-1, rows)
            floor, best = proved.to(torch.float64).max(1)
            index = torch.arange(len(domains), device=self._device) * rows + best
            terms = climb.terms.to(torch.float32)
            candidates = self._brancher.candidates(terms[index], climb.traces.rows(index))
            bounded = domains.bounded(torch.fmax(domains.floor, floor), terms, candidates)
        self._sharpener.timed(functions.count * climb.steps, seconds)
        self.bounded += len(domains)
        self._falsify(bounded, climb, index)
        return bounded

    def _falsify(self, domains: Domains, climb: Climb, index: Tensor) -> None:
        open_ = domains.floor <= 0
        if self._falsifier is not None and bool(open_.any()):
            corners = climb.minimiser[index[open_]]
            self._falsifier.try_corners(corners, domains.clause[open_], self._budget)

    def _settle(self, domains: Domains, pool: Pool, ticket: int | None = None) -> None:
        """Sort what became of domains, and tell the bracket."""
        domains = self._solved(domains)
        if ticket is not None:
            pool.returned(ticket)
        self._sort(domains, pool)
        self._tell(pool)

    def _sort(self, domains: Domains, pool: Pool) -> None:
        """Sort domains into proved, open and exhausted ones."""
        closed = domains.floor > 0
        stuck = (domains.floor <= 0) & ~self._splittable(domains)
        self._close(domains[closed | stuck])
        pool.add(domains[~closed & ~stuck])

    def _tell(self, pool: Pool) -> None:
        lower = np.minimum(pool.least(self._clauses.clauses), self._settled_floor)
        self._bracket.prove(np.where(np.isinf(lower), -np.inf, lower))

    def _close(self, domains: Domains) -> None:
        """Take leave of domains, proved or not."""
        if self._log is not None:
            self._log.leaves(domains[domains.floor > 0])
        closed = domains.depth[domains.floor > 0]
        self.closed += float(torch.pow(0.5, closed.to(torch.float64)).sum())
        floor = self._sharpener.capped(domains.floor, domains.clause).cpu().numpy()
        np.minimum.at(self._settled_floor, domains.clause.cpu().numpy(), floor)

    def _splittable(self, domains: Domains) -> Tensor:
        """Return which domains have a value left to split, shape `(domains,)`."""
        return (domains.candidates >= 0).any(1)

    def _solved(self, domains: Domains) -> Domains:
        """Try the linear programs of open domains that cannot be split."""
        stuck = (domains.floor <= 0) & ~self._splittable(domains)
        place = stuck.nonzero().squeeze(1)
        if len(place) == 0:
            return domains
        part = domains[place]
        functions = self._clauses.functions(part.clause)
        with self._monitor.left():
            solved, points = self._leaf_solver.solve(part, functions, self._budget)
        usable = points.isfinite().all(1)
        if self._falsifier is not None and bool(usable.any()):
            shape = (-1, *self._layout.network.input_shape)
            corners = points[usable].reshape(shape).to(self._device)
            self._falsifier.try_corners(corners, part.clause[usable], self._budget)
        return domains.replaced(place, solved)

    def _why_stalled(self) -> str:
        if self._layout.size == 0 or not np.isfinite(self._bracket.lower):
            return "bounds inside the network are infinite or leave nothing to split"
        return "no value is left that could be split"


def _row_limit(network: Network) -> int:
    """Return how many rows one pass may have."""
    widest = max(node.size for node in network.graph.nodes)
    return max(2, _ROW_BYTES // (widest * 4 * _COPIES))
