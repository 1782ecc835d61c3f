"""The tree before all others: few early neurons are split, for all clauses at once.

In deep networks of ReLUs, what keeps margins far below zero are bounds inside the network, and
these belong to no clause. So a domain of this tree is shared by all that are open in it. Every
value it leaves undecided is bounded again, and the neuron is split whose triangle costs the margins
most, also by way of the bounds behind it. That takes as long as hundreds of domains of the other
trees; where it pays, it closes the region with tens of them.

Sources: Bunel et al. 2020 and Wang et al. 2021 (branch and bound); Henriksen and Lomuscio 2021
(indirect effects of splits).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from models.operators import Relu
from solvers.bounds import boxes_to_interval, regions_to_balls
from solvers.bounds.ibp import nonlinear_nodes
from solvers.bracket import Bracket, Witness
from solvers.budget import Budget
from solvers.errors import StoppedError
from solvers.search.contract import ProgressHook, SearchProgress, SearchStatus
from solvers.search.neurons.bounding import Bounder, Climb
from solvers.search.neurons.clauses import ClauseRows
from solvers.search.neurons.crossing import Terms
from solvers.search.neurons.falsifying import Falsifier
from solvers.search.neurons.influence import Sensitivity, influences
from solvers.search.neurons.layout import Layout, layout_of
from solvers.search.neurons.leaves import LeafSolver
from solvers.search.neurons.options import NeuronSearchOptions
from solvers.search.neurons.pace import Effort
from solvers.search.neurons.prospect import Prospect
from solvers.search.neurons.rebounding import Passes, Rebounder
from solvers.search.neurons.recording import CommonTree, Leaf, SplitLog
from solvers.search.neurons.shrinking import Shrunk
from solvers.search.neurons.stems import Stems, Waiting

__all__ = ["Trunk"]

_TRIED = 4
"""Splits of a domain that are looked at before one is made."""
_MOST = 8
"""Domains split at once."""
_BEHIND = 0.5
"""Of what the best split of the region gains: the tree goes on where more is gained behind it."""
_COPY_BYTES = 1 << 22
"""What one of about twenty tensors of a climb may take."""
_SENSED_BYTES = 1 << 26
"""What sensitivities of the domains of a round may take."""
_DOMAIN_SHARE = 0.02
"""Of the time left that a domain may take; where it is more, the tree is not begun."""
_DOMAIN_SECONDS = 1.0


@dataclass
class _Held:
    """Keeps leaves until their clause is proved."""

    leaves: list[Leaf] = field(default_factory=list)

    def record(self, leaf: Leaf) -> None:
        """Take a leaf."""
        self.leaves.append(leaf)


class Trunk:
    """A tree over the region of a bracket whose domains all clauses share.

    Args:
        shrunk: Network and bounds.
        bracket: Whatever is proved or found is in it at once.
        witness: Judges counterexamples.
        options: How to work.
        budget: When to stop.

        common: Keeps the tree for a proof, or None. What it keeps, others can follow: bounds
            inside the network are those of passes without multipliers, each of which it is told.

    Attributes:
        bounded: Domains bounded so far.
    """

    def __init__(
        self,
        shrunk: Shrunk,
        bracket: Bracket,
        witness: Witness,
        *,
        options: NeuronSearchOptions,
        budget: Budget,
        common: CommonTree | None = None,
    ) -> None:
        self._bracket, self._options, self._budget = bracket, options, budget
        case, network = bracket.case, shrunk.network
        self._device = network.device
        region = boxes_to_interval([case.region], network.dtype, network.device)
        balls = regions_to_balls([case.region], network.dtype, network.device)
        dtype = torch.float32 if options.single_precision else network.dtype
        self._layout: Layout = layout_of(network, shrunk.bounds, shrunk.wanted)
        self._bounder = Bounder(self._layout, region, balls, dtype=dtype, watch=budget, moves=False)
        self._clauses = ClauseRows(network, case.specification)
        size = max(1, self._layout.size)
        limit = max(2, _COPY_BYTES // (4 * size))
        self._rebounder = Rebounder(self._layout, self._bounder, row_limit=limit)
        self._effort = Effort(options.iterations)
        box = (case.region.lower.ravel(), case.region.upper.ravel())
        self._leaf_solver = LeafSolver(self._layout, self._bounder, box)
        self._falsifier = (
            Falsifier(self._layout.in_dtype(dtype), region, bracket, witness)
            if options.falsify
            else None
        )
        self._held = _Held()
        self._log = None
        self._common = common
        if options.recorder is not None or common is not None:
            self._log = SplitLog(
                self._layout, shrunk.kept, self._held, sharp=True, common=common or CommonTree()
            )
        rows = 2 * self._rebounder.values + self._clauses.clauses * self._clauses.rows
        self._size = min(_MOST, max(1, _SENSED_BYTES // (2 * rows * size * 12)))
        # The least bound of every clause's domains that need no more, or cannot get more, work.
        self._settled_floor = np.full(self._clauses.clauses, np.inf)
        self._waiting, self._stuck, self._indirect = Waiting(), False, False
        self._numbered, self.bounded = 0, 0

    def run(self, progress: ProgressHook | None = None) -> SearchStatus | None:
        """Grow the tree until there is a verdict or a limit is reached.

        Returns:
            None where it does not pay; what it proved by then is in the bracket.
        """
        if not self._suits():
            return None
        began = time.perf_counter()
        try:
            ended = self._grow(began, progress)
        except StoppedError:
            cancelled = self._budget.stop_reason == "cancelled"
            ended = SearchStatus.CANCELLED if cancelled else SearchStatus.TIMEOUT
        if self._options.recorder is not None:
            for leaf in self._held.leaves:
                if self._bracket.clause_lower[leaf.clause] > 0:
                    self._options.recorder.record(leaf)
        return ended

    def _suits(self) -> bool:
        """Return whether all that can be split are ReLUs, and domains are quickly bounded."""
        layout, graph = self._layout, self._layout.network.graph
        known = bool(np.isfinite(self._bracket.clause_lower).all())
        relus = all(
            isinstance(node.operator, Relu)
            for node in nonlinear_nodes(graph)
            if any(name in layout.by_node for name in node.inputs)
        )
        if not relus or not known or self._rebounder.values == 0:
            return False
        if self._common is not None:
            return True  # it paid before
        try:
            seconds = self._rebounder.seconds(self._steps)
        except StoppedError:
            return False
        share = _DOMAIN_SHARE * self._budget.remaining_seconds
        return seconds <= min(share, _DOMAIN_SECONDS)

    @property
    def _steps(self) -> int:
        """Most gradient steps for bounds inside the network."""
        return max(1, self._effort.steps // 2)

    def _grow(self, began: float, progress: ProgressHook | None) -> SearchStatus | None:
        prospect = Prospect(self._budget.remaining_seconds)
        self._settle(self._bounded(self._root(), self._steps))
        root = max(-self._bracket.lower, np.finfo(np.float64).tiny)
        if not self._bracket.decided and not self._indirect and self._common is None:
            return None
        while not self._bracket.decided:
            stop, spent = self._budget.stop_reason, time.perf_counter() - began
            if stop is not None:
                return SearchStatus(stop)
            if self._stuck or len(self._waiting) == 0 or self._full:
                return None
            if progress is not None:
                known = (self._bracket.lower, self._bracket.upper)
                progress(SearchProgress(*known, self.bounded, len(self._waiting), spent))
            missing, depth = self._waiting.missing()
            if self._common is None and not prospect.good(
                missing,
                depth,
                root=root,
                spent=spent,
                bounded=self.bounded,
                remaining=self._budget.remaining_seconds,
            ):
                return None
            self._settle(self._split(self._waiting.take(self._size)))
            self._effort.note(self._bracket.lower)
        return SearchStatus.DECIDED

    @property
    def _full(self) -> bool:
        """Whether open domains fill the memory allowed for them."""
        return self._waiting.bytes > self._options.memory_bytes

    def _root(self) -> Stems:
        layout, clauses, rows = self._layout, self._clauses.clauses, self._clauses.rows
        zero = torch.zeros(1, dtype=torch.long, device=self._device)
        alpha = self._bounder.start.repeat(1, clauses, rows, 1)
        self._numbered = 1
        return Stems(
            torch.from_numpy(self._bracket.clause_lower.copy()).to(self._device).unsqueeze(0),
            zero,
            zero,
            layout.lower.unsqueeze(0),
            layout.upper.unsqueeze(0),
            alpha,
            torch.zeros_like(alpha),
            torch.full((1, min(_TRIED, layout.size)), -1, device=self._device),
        )

    def _split(self, taken: Stems) -> Stems:
        """Return the halves of domains, bounded."""
        values = self._chosen(taken)
        halves = taken.halves(values, self._numbered)
        self._numbered += len(halves)
        if self._log is not None:
            places = torch.arange(len(halves), device=self._device)
            any_clause, points = torch.zeros_like(places), torch.zeros_like(values).float()
            self._log.note(halves.pairs(places, any_clause), taken.number, values, points)
        return self._bounded(halves, self._steps)

    def _bounded(self, stems: Stems, steps: int) -> Stems:
        """Bound values and margins of domains, and find what to split next."""
        before = stems.floor
        lower, upper, inner = self._rebounder.tighten(
            stems.lower, stems.upper, steps=steps, budget=self._budget, seen=self._seen(stems)
        )
        empty = (lower > upper).any(1, keepdim=True)
        stems = replace(
            stems,
            floor=stems.floor.masked_fill(empty, torch.inf),
            lower=torch.where(empty, stems.lower, lower),
            upper=torch.where(empty, stems.upper, upper),
        )
        self.bounded += len(stems)
        domain, clause = (stems.floor <= 0).nonzero(as_tuple=True)
        if len(domain) > 0:
            stems = self._margins(stems, domain, clause, inner)
        new = ((before <= 0) & (stems.floor > 0)).nonzero(as_tuple=True)
        self._close(stems, *new)
        return stems

    def _seen(self, stems: Stems) -> Passes | None:
        """Return what keeps passes of domains for a proof, if one is wanted."""
        log = self._log
        if self._common is None or log is None:
            return None
        return lambda part, alpha: log.passed(stems.number, part, alpha)

    def _margins(
        self,
        stems: Stems,
        domain: Tensor,
        clause: Tensor,
        inner: list[tuple[Tensor, Sensitivity]],
    ) -> Stems:
        """Bound the margins of open clauses."""
        functions, rows = self._clauses.functions(clause), self._clauses.rows
        climb = self._bounder.climb(
            functions,
            stems.pairs(domain, clause).terms,
            steps=max(self._effort.steps, self._options.root_iterations if not inner else 0),
            budget=self._budget,
            patience=self._effort.patience,
        )
        proved = self._bounder.lower(functions, climb.terms).reshape(-1, rows).to(torch.float64)
        value, best = proved.max(1)
        at = (domain, clause)
        shape = (len(domain), rows, self._layout.size)
        index = torch.arange(len(domain), device=self._device) * rows + best
        floor = torch.fmax(stems.floor[at], value)
        stems = replace(
            stems,
            floor=stems.floor.index_put(at, floor),
            alpha=stems.alpha.index_put(at, climb.terms.alpha.to(torch.float32).reshape(shape)),
            gamma=stems.gamma.index_put(at, climb.terms.gamma.to(torch.float32).reshape(shape)),
        )
        open_ = floor <= 0
        self._falsify(climb, index[open_], clause[open_])
        sensed = self._sensed(climb, index[open_])
        return self._with_candidates(stems, (domain[open_], sensed), inner)

    def _sensed(self, climb: Climb, index: Tensor) -> Sensitivity:
        size = self._layout.size
        return Sensitivity.of(
            self._layout, climb.terms[index], climb.traces.rows(index), before=size
        )

    def _with_candidates(
        self,
        stems: Stems,
        margins: tuple[Tensor, Sensitivity],
        inner: list[tuple[Tensor, Sensitivity]],
    ) -> Stems:
        cost, own = influences(self._layout.size, margins, inner, len(stems))
        if self.bounded == 1:
            first = cost[0].argmax()
            self._indirect = bool(own[0, first] < (1 - _BEHIND) * cost[0, first])
        undecided = self._layout.undecided(stems.lower, stems.upper)
        # What costs nothing to first order can still be split.
        cost = cost + torch.finfo(cost.dtype).tiny * (stems.upper - stems.lower)
        cost = torch.where(undecided, cost, -torch.ones_like(cost))
        best = cost.topk(stems.candidates.shape[1], dim=1)
        found = torch.where(best.values >= 0, best.indices, torch.full_like(best.indices, -1))
        return replace(stems, candidates=found)

    def _falsify(self, climb: Climb, index: Tensor, clause: Tensor) -> None:
        if self._falsifier is not None and len(index) > 0:
            self._falsifier.try_corners(climb.minimiser[index], clause, self._budget)

    def _chosen(self, taken: Stems) -> Tensor:
        """Return the value at which each domain is split, shape `(domains,)`."""
        count, width = taken.candidates.shape
        values = taken.candidates.clamp(min=0)
        if width == 1:
            return values[:, 0]
        repeated = torch.arange(count, device=self._device).repeat_interleave(width)
        halves = taken[repeated].halves(values.flatten(), 0)
        lower, upper = self._rebounder.guessed(halves.lower, halves.upper)
        empty = (lower > upper).any(1, keepdim=True)
        at = ((halves.floor <= 0) & ~empty).nonzero(as_tuple=True)
        one = halves.pairs(*at)
        terms = replace(one, lower=lower[at[0]], upper=upper[at[0]]).terms
        found = self._estimated(at[1], terms)
        missing = found.new_zeros(len(halves)).index_add_(0, at[0], found)
        base = taken.floor.clamp(max=0).sum(1).to(found.dtype).clamp(max=-1e-9).unsqueeze(1)
        gains = ((missing.reshape(2, count, width) - base) / -base).clamp(min=0).sum(0)
        gains = gains.masked_fill(taken.candidates < 0, -torch.inf)
        return values.gather(1, gains.argmax(1, keepdim=True)).squeeze(1)

    def _estimated(self, clause: Tensor, terms: Terms) -> Tensor:
        """Return about what margins would be, at most zero; they prove nothing."""
        rows = self._clauses.rows
        value = self._bounder.estimate(self._clauses.functions(clause), terms)
        value = value.reshape(-1, rows).amax(1).clamp(max=0)
        return value.nan_to_num(nan=-1e30, neginf=-1e30)

    def _settle(self, stems: Stems) -> None:
        """Keep what is open, and tell the bracket."""
        open_ = (stems.floor <= 0).any(1)
        splittable = (stems.candidates >= 0).any(1)
        stuck = open_ & ~splittable
        if bool(stuck.any()):
            self._solve(stems[stuck])
        self._waiting.add(stems[open_ & splittable])
        lower = np.minimum(self._waiting.least(self._clauses.clauses), self._settled_floor)
        self._bracket.prove(np.where(np.isinf(lower), -np.inf, lower))

    def _solve(self, stems: Stems) -> None:
        """Decide domains with nothing left to split by linear programs, or give up."""
        domain, clause = (stems.floor <= 0).nonzero(as_tuple=True)
        functions = self._clauses.functions(clause)
        solved, _ = self._leaf_solver.solve(stems.pairs(domain, clause), functions, self._budget)
        closed = solved.floor > 0
        if self._log is not None:
            self._log.leaves(solved[closed])
        self._stuck = self._stuck or not bool(closed.all())
        self._take_down(clause, solved.floor)

    def _close(self, stems: Stems, domain: Tensor, clause: Tensor) -> None:
        """Take leave of clauses that are proved in a domain."""
        if self._log is not None:
            self._log.leaves(stems.pairs(domain, clause))
        self._take_down(clause, stems.floor[domain, clause])

    def _take_down(self, clause: Tensor, floor: Tensor) -> None:
        np.minimum.at(self._settled_floor, clause.cpu().numpy(), floor.cpu().numpy())
