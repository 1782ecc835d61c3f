"""Branch and bound of our own, on linear relaxations that HiGHS keeps warm.

Programs of networks have dense rows and few decisions. General solvers spend most of their time on
cuts and heuristics that such rows do not reward; what pays is a tight root, and after each decision
a handful of dual simplex steps. Every bound in the tree, that of a branch without points included,
is proved from multipliers by `Simplex`, so the tree needs no solver's word.

A decision is an exclusive pair of columns, of which one has to be 0 (the two parts of an undecided
hinge, whose triangle stands in the program), or an integral column.

Sources: Achterberg et al. 2005 (*Branching rules revisited*) for pseudo-costs that are measured
before they are trusted; the child nearer to the relaxed optimum is taken first.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from itertools import count

import numpy as np
from numpy.typing import NDArray

from solvers.budget import Budget
from solvers.exact.affine import IndexArray
from solvers.exact.highs_simplex import Relaxed, RelaxedStatus, Simplex
from solvers.exact.model import MilpModel
from solvers.exact.seam import (
    Licence,
    MilpOutcome,
    MilpSolver,
    Monitor,
    SolveRequest,
    SolveStatus,
)
from solvers.results import SolverReport

__all__ = ["TreeSolver"]

FloatArray = NDArray[np.float64]

_TRIES = 4
"""Candidates whose children are solved at a node, and measurements that make a cost trusted."""
_SETTLED = 1e-9
"""A pair whose smaller part is below this, relative to its box, is left alone."""
_REPLAY_EVERY = 16
"""Relaxed optima that are offered as points to try: one in so many nodes."""
_LEAST_GAIN = 1e-6


class TreeSolver(MilpSolver):
    """Branch and bound on linear relaxations, over exclusive pairs and binary columns."""

    @property
    def name(self) -> str:
        """`tree`."""
        return "tree"

    @property
    def licence(self) -> Licence:
        """Part of this program, with HiGHS, which is free software."""
        return Licence.OPEN

    @property
    def takes_pairs(self) -> bool:
        """It branches on exclusive pairs."""
        return True

    def solve(
        self, model: MilpModel, request: SolveRequest, budget: Budget, monitor: Monitor
    ) -> MilpOutcome:
        """Minimise a program; see `MilpSolver.solve`."""
        search = _Tree(model, request, budget, monitor)
        status = search.run()
        monitor.raise_pending()
        report = SolverReport(
            "tree",
            f"HiGHS {search.simplex.version}",
            Licence.OPEN,
            f"{status.value}, {search.programs} programs",
            request.tolerances.to_dict(),
        )
        return MilpOutcome(
            status,
            search.bound,
            search.incumbent,
            search.values,
            search.nodes,
            report,
            proved=True,
        )


@dataclass(frozen=True, eq=False)
class _Choices:
    """The decisions of a program.

    Attributes:
        columns: Column that side 0 and side 1 fix, shape `(choices, 2)`.
        ends: The values they fix them at, shape `(choices, 2)`.
        pairs: How many, the first ones, are exclusive pairs.
    """

    columns: IndexArray
    ends: FloatArray
    pairs: int

    @classmethod
    def of(cls, model: MilpModel, pairs: IndexArray) -> _Choices:
        """Return the choices of a program: pairs of shape `(pairs, 2)`, then binary columns."""
        binary = np.flatnonzero(model.integral)
        columns = np.concatenate([pairs.reshape(-1, 2), np.stack([binary, binary], axis=1)])
        ends = np.zeros(columns.shape)
        ends[len(pairs) :, 1] = 1.0
        return cls(columns, ends, len(pairs))

    def leaning(self, values: FloatArray, upper: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return for a relaxed point how undecided each choice is, and its share of side 1.

        Args:
            values: The point, shape `(columns,)`.
            upper: Upper ends of the boxes of all columns.
        """
        first, second = values[self.columns[:, 0]], values[self.columns[:, 1]]
        undecided, share = np.minimum(first, second), np.empty(len(first))
        width = np.maximum(upper[self.columns], 1e-12)
        undecided = np.where(undecided <= _SETTLED * (1.0 + width.max(axis=1)), 0.0, undecided)
        share = np.clip(0.5 * (first / width[:, 0] + 1.0 - second / width[:, 1]), 0.0, 1.0)
        binary = slice(self.pairs, None)
        share[binary] = np.clip(first[binary], 0.0, 1.0)
        away = np.minimum(share[binary], 1.0 - share[binary])
        undecided[binary] = np.where(away <= _SETTLED, 0.0, away)
        return undecided, share


class _Costs:
    """What deciding a choice has raised bounds by, per unit of its share, on average."""

    def __init__(self, choices: int) -> None:
        self._sum = np.zeros((choices, 2))
        self._count = np.zeros((choices, 2), dtype=np.int64)

    def note(self, choice: int, side: int, gain: float, distance: float) -> None:
        """Take in one measurement."""
        self._sum[choice, side] += gain / max(distance, 1e-3)
        self._count[choice, side] += 1

    def trusted(self, choice: int) -> bool:
        """Whether both sides were measured often enough."""
        return bool((self._count[choice] >= _TRIES).all())

    def scores(self, share: FloatArray) -> FloatArray:
        """Return the expected product of both gains; ∞ where a side was never measured."""
        mean = self._sum / np.maximum(self._count, 1)
        distance = np.stack([share, 1.0 - share], axis=1)
        product = np.maximum(mean * distance, _LEAST_GAIN).prod(axis=1)
        return np.where((self._count > 0).all(axis=1), product, np.inf)


Decisions = tuple[tuple[int, int], ...]
"""Choices made, each as (choice, side)."""


@dataclass(order=True)
class _Node:
    """An open part of the tree: what is proved of it, and the decisions that lead to it."""

    bound: float
    number: int
    decisions: Decisions = field(compare=False)


class _Tree:
    """The state of one search."""

    def __init__(
        self, model: MilpModel, request: SolveRequest, budget: Budget, monitor: Monitor
    ) -> None:
        self._model, self._request, self._monitor = model, request, monitor
        # the monitor is asked inside a solve, so that a stop of any kind ends it
        self._budget = Budget(budget.deadline, lambda: monitor.should_stop)
        self.simplex = Simplex(model, seed=request.seed)
        self._choices = _Choices.of(model, request.pairs)
        self._costs = _Costs(len(self._choices.columns))
        self._made: dict[int, int] = {}
        self._numbers = count()
        self._open: list[_Node] = []
        self._closed = math.inf
        self._failed = self._stopped = False
        self.nodes = self.programs = 0
        self.incumbent = math.inf
        self.values: FloatArray | None = None
        self.bound = -math.inf

    @property
    def _limit(self) -> float:
        """A node with this bound needs no more work."""
        gap = self._request.tolerances.gap * max(1.0, abs(self.incumbent))
        return min(self._monitor.stop_bound, self.incumbent - gap)

    def run(self) -> SolveStatus:
        """Search until nothing is open, or until something stops it."""
        self._push(-math.inf, ())
        following: _Node | None = None
        while following is not None or self._open:
            node = heapq.heappop(self._open) if following is None else following
            following = None
            if node.bound >= self._limit:
                self._close(node.bound)
                continue
            self.bound = min(self._closed, node.bound, *(n.bound for n in self._open[:1]))
            self._monitor.saw_bound(self.bound, self.nodes)
            if self._budget.exhausted:
                return SolveStatus.STOPPED
            following = self._expand(node)
            if self._stopped or self._budget.exhausted:
                # What was under way has not been pushed back. HiGHS has a clock of its own, which
                # may end a solve before the budget's does.
                self.bound = min(self.bound, node.bound)
                return SolveStatus.STOPPED
        self.bound = self._closed
        if self.bound == math.inf:
            return SolveStatus.INFEASIBLE
        return SolveStatus.STOPPED if self._failed else SolveStatus.OPTIMAL

    def _push(self, bound: float, decisions: Decisions) -> None:
        heapq.heappush(self._open, _Node(bound, next(self._numbers), decisions))

    def _close(self, bound: float) -> None:
        """Be done with a part of the tree of which this is proved."""
        self._closed = min(self._closed, bound)

    def _expand(self, node: _Node) -> _Node | None:
        """Solve a node; close it, or push one child and return the other."""
        self.nodes += 1
        decisions, bound = node.decisions, node.bound
        while True:
            answer = self._solve(decisions)
            bound = max(bound, answer.bound)
            if answer.status is RelaxedStatus.STOPPED:
                self._stopped = True
                return None
            if bound >= self._limit:
                self._close(bound)
                return None
            if answer.values is None:
                return self._split_blindly(decisions, bound)
            chosen = self._select(decisions, answer.values, bound)
            if chosen is None:
                return None
            choice, side = chosen
            if side is None:
                return self._branch(decisions, bound, choice, answer.values)
            decisions = (*decisions, (choice, side))

    def _solve(self, decisions: Decisions) -> Relaxed:
        """Solve the program that decisions leave."""
        wanted = dict(decisions)
        undone = [c for c in self._made if self._made[c] != wanted.get(c)]
        done = [c for c in wanted if wanted[c] != self._made.get(c)]
        free = self._choices.columns[undone].ravel()
        lower, upper = self._model.column_lower, self._model.column_upper
        self.simplex.set_boxes(free, lower[free], upper[free])
        sides = [wanted[c] for c in done]
        fixed, ends = self._choices.columns[done, sides], self._choices.ends[done, sides]
        self.simplex.set_boxes(fixed, ends, ends)
        self._made = wanted
        self.programs += 1
        return self.simplex.minimise(self._budget, self._limit)

    def _select(
        self, decisions: Decisions, values: FloatArray, bound: float
    ) -> tuple[int, int | None] | None:
        """Return the choice to branch on, or one with the side that is left of it.

        None where the node is done: nothing is undecided, or both sides of a choice are refuted.
        """
        undecided, share = self._choices.leaning(values, self._model.column_upper)
        undecided[[choice for choice, _ in decisions]] = 0.0
        candidates = np.flatnonzero(undecided)
        self._offer(values, leaf=not candidates.size)
        if not candidates.size:
            self._close(bound)
            return None
        scores = self._costs.scores(share)
        # what was never measured goes first, the most undecided before the others
        order = sorted(candidates, key=lambda c: (-scores[c], -undecided[c]))[:_TRIES]
        best, best_score = int(order[0]), -1.0
        basis = self.simplex.basis
        for candidate in map(int, order):
            score = float(scores[candidate])
            if not self._costs.trusted(candidate):
                sides = self._try_both(decisions, candidate, bound, float(share[candidate]))
                self.simplex.basis = basis
                refuted = [side for side in (0, 1) if sides[side] >= self._limit]
                for side in refuted:
                    self._close(sides[side])
                if len(refuted) == 2 or self._budget.exhausted:
                    return None
                if refuted:
                    return candidate, 1 - refuted[0]
                score = max(sides[0] - bound, _LEAST_GAIN) * max(sides[1] - bound, _LEAST_GAIN)
            if score > best_score:
                best, best_score = candidate, score
        return best, None

    def _try_both(
        self, decisions: Decisions, choice: int, bound: float, share: float
    ) -> tuple[float, float]:
        """Return what is proved of both children, and learn what the choice brings."""
        bounds = []
        for side in (0, 1):
            child = max(bound, self._solve((*decisions, (choice, side))).bound)
            gain = min(child, self._limit) - bound
            if math.isfinite(gain):
                self._costs.note(choice, side, gain, share if side == 0 else 1.0 - share)
            bounds.append(child)
        return bounds[0], bounds[1]

    def _branch(self, decisions: Decisions, bound: float, choice: int, values: FloatArray) -> _Node:
        """Push the child further from the relaxed optimum, and return the nearer one."""
        _, share = self._choices.leaning(values, self._model.column_upper)
        nearer = int(share[choice] > 0.5)
        self._push(bound, (*decisions, (choice, 1 - nearer)))
        return _Node(bound, next(self._numbers), (*decisions, (choice, nearer)))

    def _split_blindly(self, decisions: Decisions, bound: float) -> _Node | None:
        """Decide anything where a relaxation could not be solved; smaller ones may be."""
        made = {choice for choice, _ in decisions}
        left = [c for c in range(len(self._choices.columns)) if c not in made]
        if not left:
            self._failed = True
            self._close(bound)
            return None
        self._push(bound, (*decisions, (left[0], 0)))
        return _Node(bound, next(self._numbers), (*decisions, (left[0], 1)))

    def _offer(self, values: FloatArray, *, leaf: bool) -> None:
        """Offer a relaxed optimum as a point to try; in a leaf it is one of the program."""
        if not leaf and self.nodes % _REPLAY_EVERY != 1:
            return
        objective = float(self._model.objective @ values) + self._model.offset
        watched = values[self._request.watched]
        if leaf and objective < self.incumbent:
            self.incumbent, self.values = objective, watched
        self._monitor.saw_incumbent(watched, objective)
