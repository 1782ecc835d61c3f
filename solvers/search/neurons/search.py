"""The search: rounds of splitting and bounding until nothing is open."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from models.network import Network
from solvers.bounds import (
    BoundOptions,
    Interval,
    boxes_to_interval,
    regions_to_balls,
)
from solvers.bracket import Bracket, Witness
from solvers.budget import Budget
from solvers.ladder import CaseBatch
from solvers.methods import Method
from solvers.search.contract import ProgressHook, SearchOutcome, SearchProgress, SearchStatus
from solvers.search.neurons.bounding import Bounder, Functions
from solvers.search.neurons.branching import Brancher, children_of
from solvers.search.neurons.domains import Domains, Pool
from solvers.search.neurons.layout import Layout, layout_of
from solvers.search.neurons.options import NeuronSearchOptions

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
    """Decide a case by splitting the values inside its network.

    Args:
        network: Folded; in float64 if what is found is to be proved.
        bracket: Of the case; whatever is proved or found is in it at once.
        witness: Judges counterexamples.
        options: How to work.
        budget: When to stop.
        known: Sound bounds of nodes over the case's region, batch 1, from an earlier method.
        progress: Called after every round.

    Source: Bunel et al. 2020 (branch and bound); Wang et al. 2021 (β-CROWN); Shi et al. 2024
    (general nonlinearities).
    """
    began = time.perf_counter()
    if known is None:
        known = _crown(network, bracket, budget)
    search = _Search(network, bracket, witness, options, budget, known)
    status, reason = search.run(progress, began)
    return SearchOutcome(status, search.bounded, time.perf_counter() - began, reason)


def _crown(network: Network, bracket: Bracket, budget: Budget) -> Mapping[str, Interval]:
    step = CaseBatch(network, [bracket.case]).bound(
        Method.CROWN, options=BoundOptions(), budget=budget
    )
    bracket.prove(step.clause_lower[0])
    return step.intermediate


class _Clauses:
    """The clauses' rows, padded to the same number by repeating the first."""

    def __init__(self, network: Network, bracket: Bracket) -> None:
        clauses = bracket.case.specification.clauses
        self.rows = max(len(clause.offset) for clause in clauses)
        index = [
            np.r_[np.arange(len(c.offset)), np.zeros(self.rows - len(c.offset), dtype=int)]
            for c in clauses
        ]
        matrix = np.stack([c.matrix[i] for c, i in zip(clauses, index, strict=True)])
        offset = np.stack([c.offset[i] for c, i in zip(clauses, index, strict=True)])
        self._matrix = (
            torch.from_numpy(matrix)
            .to(network.device, network.dtype)
            .reshape(len(clauses), self.rows, *network.output_shape)
        )
        self._offset = torch.from_numpy(offset).to(network.device, network.dtype)

    def functions(self, clause: Tensor) -> Functions:
        """Return the rows of clauses, one after the other."""
        return Functions(self._matrix[clause].flatten(0, 1), self._offset[clause].flatten(0, 1))


class _Search:
    def __init__(
        self,
        network: Network,
        bracket: Bracket,
        witness: Witness,
        options: NeuronSearchOptions,
        budget: Budget,
        known: Mapping[str, Interval],
    ) -> None:
        self._network, self._bracket, self._witness = network, bracket, witness
        self._options, self._budget = options, budget
        self._layout: Layout = layout_of(network, known)
        region = [bracket.case.region]
        dtype = torch.float32 if options.single_precision else network.dtype
        self._bounder = Bounder(
            self._layout,
            boxes_to_interval(region, network.dtype, network.device),
            regions_to_balls(region, network.dtype, network.device),
            dtype=dtype,
        )
        self._clauses = _Clauses(network, bracket)
        self._brancher = Brancher(
            self._layout, self._bounder, candidates=options.candidates, row_limit=512
        )
        count = len(bracket.case.specification.clauses)
        self._closed_floor = np.full(count, math.inf)
        self._stuck_floor = np.full(count, math.inf)
        self.bounded = 0
        self._batch = options.batch or 64
        self.log: list[tuple[float, ...]] = []

    def run(self, progress: ProgressHook | None, began: float) -> tuple[SearchStatus, str | None]:
        """Search until there is a verdict or a limit is reached."""
        if self._bracket.decided:
            return SearchStatus.DECIDED, None
        root = self._root()
        root = self._bound(root, self._options.root_iterations)
        pool = Pool(root, self._options.memory_bytes)
        self._settle(root, pool)
        while True:
            if self._bracket.decided:
                return SearchStatus.DECIDED, None
            stop = self._budget.stop_reason
            if stop is not None:
                return SearchStatus(stop), None
            if len(pool) == 0:
                return SearchStatus.STALLED, "no value is left that could be split"
            taken = pool.take(self._batch)
            t0 = time.perf_counter()
            functions = self._clauses.functions(taken.clause)
            values, points = self._brancher.choose(taken, functions)
            children = children_of(taken, values, points)
            t1 = time.perf_counter()
            children = self._bound(children, self._options.iterations)
            t2 = time.perf_counter()
            self._settle(children, pool)
            self.log.append(
                (len(taken), t1 - t0, t2 - t1, self.steps, len(pool), self._bracket.lower)
            )
            if progress is not None:
                progress(
                    SearchProgress(
                        self._bracket.lower,
                        self._bracket.upper,
                        self.bounded,
                        len(pool),
                        time.perf_counter() - began,
                    )
                )

    def _root(self) -> Domains:
        layout, bracket = self._layout, self._bracket
        clause = torch.from_numpy(np.flatnonzero(bracket.clause_lower <= 0))
        count, rows = len(clause), self._clauses.rows
        shape = (count, rows, layout.size)
        start = (layout.upper > -layout.lower).to(torch.float32)
        return Domains(
            clause,
            torch.from_numpy(bracket.clause_lower[clause.numpy()]),
            torch.zeros(count, dtype=torch.long),
            torch.arange(count),
            layout.lower.repeat(count, 1),
            layout.upper.repeat(count, 1),
            start.expand(shape).clone(),
            torch.zeros(shape),
            torch.full((count, self._brancher.width), -1),
        )

    def _bound(self, domains: Domains, steps: int) -> Domains:
        functions = self._clauses.functions(domains.clause)
        rows = self._clauses.rows
        climb = self._bounder.climb(functions, domains.terms, steps=steps, budget=self._budget)
        self.steps = climb.steps
        proved = self._bounder.lower(functions, climb.terms).reshape(-1, rows)
        self.bounded += len(domains)
        best = proved.argmax(1)
        index = torch.arange(len(domains)) * rows + best
        candidates = self._brancher.candidates(climb.terms[index], climb.traces.rows(index))
        shape = (len(domains), rows, -1)
        return Domains(
            domains.clause,
            torch.fmax(domains.floor, proved.amax(1).to(torch.float64)),
            domains.depth,
            torch.arange(self.bounded - len(domains), self.bounded),
            domains.lower,
            domains.upper,
            climb.terms.alpha.reshape(shape),
            climb.terms.gamma.reshape(shape),
            candidates,
        )

    def _settle(self, domains: Domains, pool: Pool) -> None:
        closed = domains.floor > 0
        # What cannot be split any more keeps its clause open for good.
        stuck = ~closed & (domains.candidates < 0).all(1)
        for kind, floor in ((closed, self._closed_floor), (stuck, self._stuck_floor)):
            np.minimum.at(
                floor, domains.clause[kind].cpu().numpy(), domains.floor[kind].cpu().numpy()
            )
        pool.add(domains[~closed & ~stuck])
        lower = np.minimum(pool.least(len(self._closed_floor)), self._closed_floor)
        lower = np.minimum(lower, self._stuck_floor)
        self._bracket.prove(np.where(np.isinf(lower), -np.inf, lower))
