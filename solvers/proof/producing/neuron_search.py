"""Proving one box again by splits inside the network, guided by what decided it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from solvers.bounds import Interval, boxes_to_interval, regions_to_balls
from solvers.bounds.ibp import nonlinear_nodes
from solvers.bounds.wanted import wanted_values
from solvers.bracket import Bracket
from solvers.budget import Budget
from solvers.errors import MemoryLimitError
from solvers.problem import Case, Clause, Specification
from solvers.proof.container import BoundGroup, NeuronTree
from solvers.proof.producing.box_proof import clause_margins, stacked_rows
from solvers.proof.producing.ground import Ground, ball_of
from solvers.proof.producing.groups import optimised_groups
from solvers.proof.producing.neuron_proof import LeafTable, TreeWriter, proved_leaves
from solvers.proof.producing.trace import NeuronLeaves
from solvers.proof.producing.values import Values
from solvers.search.neurons import Leaf, NeuronSearchOptions, search_neurons
from solvers.search.neurons.bounding import Bounder
from solvers.search.neurons.clauses import ClauseRows
from solvers.search.neurons.crossing import Terms, first_slopes
from solvers.search.neurons.layout import confined, layout_of, loss_known
from solvers.search.neurons.recording import CommonTree
from solvers.search.neurons.shrinking import shrink
from solvers.search.neurons.split_tree import SplitTree
from solvers.search.neurons.trunk import Trunk

__all__ = ["NeuronCloser"]

_FIRST_SHARE = 0.15
"""Of the time, for a search on adaptive bounds, where it is not known that more is needed."""
_GROUP_SHARE = 0.3
_COMMON_SHARE = 0.7
"""Of the time, for the tree that all clauses share, where it decided."""
_EXTRA_TIME, _EXTRA_SECONDS = 2.0, 2.0
"""What larger margins may cost: so many times what the others took, and seconds."""
_LAG = 1.5
"""Of how far the checker stays behind over the whole region, what it may in parts of it."""
_SLACKS = (1e-4, 1e-2)
"""How far searches go beyond what is needed, relative to the bound to begin with: so much may be
lost when slopes are rounded."""


@dataclass(frozen=True, eq=False)
class _Footing:
    """Bounds that a search begins with, and the groups that they come from."""

    groups: tuple[BoundGroup, ...]
    bounds: Mapping[str, Interval]


class NeuronCloser:
    """Proves that no clause of a case can hold, by splitting values inside the network.

    Args:
        ground: The network.
        case: Region and specification.
        first_row: Number of the case's first row in the file.
        budget: When to give up.
        found: Leaves of the search that decided the case, or None.
    """

    def __init__(
        self,
        ground: Ground,
        case: Case,
        first_row: int,
        budget: Budget,
        *,
        found: Sequence[Leaf] | None = None,
    ) -> None:
        self._ground, self._case, self._first_row = ground, case, first_row
        self._budget, self._found = budget, found
        self.reason = "no proof was found"
        self._start = _Footing((), ground.bounds(case.region))
        matrix, offset, self._owner = stacked_rows(case.specification)
        depended = wanted_values(ground.folded, torch.from_numpy(matrix).to(ground.folded.device))
        # Values that no name of the file stands for, such as steps inside an operator, stay whole.
        self._open = confined(ground.folded, depended, ground.tensors)
        self._layout = layout_of(ground.folded, self._start.bounds, self._open)
        self._values = Values.of(self._layout)
        device = ground.folded.device
        self._interval = boxes_to_interval([case.region], torch.float64, device)
        self._balls = regions_to_balls([case.region], torch.float64, device)
        self._clauses = ClauseRows(ground.folded, case.specification)
        corners = case.region.lower.reshape(1, -1), case.region.upper.reshape(1, -1)
        (self._rows,), (errors,) = ground.box_rows_and_errors(
            corners, matrix, offset, ball=ball_of(case.region)
        )
        # Beyond what float32 may lose, a verdict holds for what runs, too.
        self._wanted = float(errors.max()) if np.isfinite(errors).all() else 0.0

    def close(self, *, hard: bool) -> NeuronTree | None:
        """Search until the box is proved; None with a `reason` where it is not.

        Args:
            hard: Whether bounds with adaptive slopes are known not to suffice.
        """
        if self._found and all(leaf.common for leaf in self._found):
            tree = self._by_common_tree(self._improved())
            if tree is not None:
                return tree
        if not hard:
            found = self._closed(self._start, self._budget.share(_FIRST_SHARE))
            if found is not None:
                return found
        return self._closed(self._improved(), self._budget)

    def _closed(self, footing: _Footing, budget: Budget) -> NeuronTree | None:
        """Prove the box, with the larger margins that are wanted where these cost little."""
        wanted, lag = self._wanted, self._lag
        for slack in _SLACKS:
            began, target = time.monotonic(), slack * self._scale + lag
            leaves = self._leaves(footing, target, budget)
            if leaves is None:
                return None
            self._found = leaves
            if wanted > 0:
                extra = budget.at_most(_EXTRA_TIME * (time.monotonic() - began) + _EXTRA_SECONDS)
                larger = self._leaves(footing, wanted + target, extra)
                tree = None if larger is None else self._written(footing, larger, wanted + lag)
                if tree is not None:
                    return tree
            tree = self._written(footing, leaves, lag)
            if tree is not None:
                return tree
            self.reason = "rounded slopes do not prove what exact ones do"
        return None

    def _improved(self) -> _Footing:
        """Return better bounds, and how the checker comes by them."""
        if self._layout.size == 0:
            return self._start
        # What groups were found with has to be what is checked.
        bounder = Bounder(
            self._layout,
            self._interval,
            self._balls,
            dtype=torch.float32,
            moves=self._layout.told,
        )
        share = self._budget.share(_GROUP_SHARE)
        found = optimised_groups(self._layout, bounder, self._ground.tensors, share)
        groups = tuple(found.groups)
        return _Footing(groups, self._ground.bounds(self._case.region, groups, self._values))

    @cached_property
    def _lag(self) -> float:
        """How far the checker's bounds may stay behind those of the search, about.

        It has rules of its own, such as that of Softmax. Where both are the same but for rounding,
        or the proof tells the checker which lines to take, nothing is added to what the search has
        to prove.
        """
        if all(loss_known(node) for node in nonlinear_nodes(self._ground.folded.graph)):
            return 0.0
        layout, count = self._layout, self._clauses.clauses * self._clauses.rows
        lower, upper = (end.expand(count, -1) for end in (layout.lower, layout.upper))
        terms = Terms(lower, upper, first_slopes(lower, upper), torch.zeros_like(lower))
        bounder = Bounder(layout, self._interval, self._balls, dtype=torch.float64)
        functions = self._clauses.functions(torch.arange(self._clauses.clauses))
        found = bounder.lower(functions, terms).reshape(self._clauses.clauses, -1).cpu().numpy()
        largest = 0.0
        for clause, bounds in enumerate(found):
            rows = self._rows[self._owner == clause]
            lags = bounds[: len(rows)] - rows
            if (rows <= 0).all() and np.isfinite(lags).all():
                largest = max(largest, float(lags.max()))
        return _LAG * largest if largest > _SLACKS[0] * self._scale else 0.0

    @property
    def _scale(self) -> float:
        """How large margins are, about."""
        finite = np.abs(self._rows[np.isfinite(self._rows)])
        return float(np.median(finite)) if len(finite) else 1.0

    def _leaves(self, footing: _Footing, target: float, budget: Budget) -> list[Leaf] | None:
        """Search for leaves whose margins exceed a target."""
        kept = NeuronLeaves()
        bracket = Bracket(_raised(self._case, target))
        plain = clause_margins(self._rows[np.newaxis], self._owner)[0] - target
        bracket.prove(np.where(plain > 0, plain, -np.inf))
        try:
            search_neurons(
                self._ground.folded,
                bracket,
                self._ground.witness,
                options=NeuronSearchOptions(
                    sharpen=False,
                    recorder=kept,
                    start=self._found,
                    splits=self._ground.tensors,
                ),
                budget=budget,
                known=footing.bounds,
            )
        except MemoryLimitError as error:
            self.reason = str(error)
            return None
        if not bracket.proved:
            self.reason = self._why(bracket, budget)
            return None
        return kept.leaves

    def _by_common_tree(self, footing: _Footing) -> NeuronTree | None:
        """Grow the tree that all clauses share once more, with larger margins where it is quick."""
        began, share = time.monotonic(), self._budget.share(_COMMON_SHARE)
        tree = self._common_tree(footing, 0.0, share)
        if tree is None or self._wanted <= 0:
            return tree
        extra = share.at_most(_EXTRA_TIME * (time.monotonic() - began) + _EXTRA_SECONDS)
        return self._common_tree(footing, self._wanted, extra) or tree

    def _common_tree(self, footing: _Footing, target: float, budget: Budget) -> NeuronTree | None:
        """Grow a tree that the checker can follow until all margins exceed a target."""
        folded, (matrix, _, _) = self._ground.folded, stacked_rows(self._case.specification)
        goal, kept = target + _SLACKS[0] * self._scale, CommonTree()
        bracket = Bracket(_raised(self._case, goal))
        margins = clause_margins(self._rows[np.newaxis], self._owner)[0]
        bracket.prove(margins - goal)
        shrunk = shrink(folded, footing.bounds, torch.from_numpy(matrix).to(folded.device))
        wanted = confined(shrunk.network, shrunk.wanted, self._ground.tensors)
        Trunk(
            replace(shrunk, wanted=wanted),
            bracket,
            self._ground.witness,
            options=NeuronSearchOptions(falsify=False),
            budget=budget,
            common=kept,
        ).run()
        leaves = [leaf for own in kept.leaves.values() for leaf in own]
        table = self._table(footing, leaves, target) if bracket.proved else None
        if table is None:
            return None
        writer, owner = TreeWriter(self._values, self._ground.tensors), self._owner
        open_ = {leaf.clause for leaf in leaves}
        rows = [np.flatnonzero(owner == clause) for clause in range(self._clauses.clauses)]
        plain = [int(own[self._rows[own].argmax()]) for own in rows]
        writer.common(
            kept,
            table,
            [self._first_row + int(own[0]) for own in rows],
            [self._first_row + row for clause, row in enumerate(plain) if clause not in open_],
        )
        return writer.done(footing.groups, table)

    def _why(self, bracket: Bracket, budget: Budget) -> str:
        if bracket.counterexample is not None:
            return "an input comes closer to the boundary than rounding allows to tell"
        return f"the guided search ended without a proof ({budget.stop_reason or 'undecided'})"

    def _written(
        self, footing: _Footing, leaves: Sequence[Leaf], target: float
    ) -> NeuronTree | None:
        table = self._table(footing, leaves, target)
        if table is None:
            return None
        writer = TreeWriter(self._values, self._ground.tensors)
        for clause in range(self._clauses.clauses):
            mine = [leaf for leaf in leaves if leaf.clause == clause]
            if not self._write_clause(writer, clause, mine, table):
                return None
        tree = writer.done(footing.groups, table)
        return None if table.lines and not self._stands(tree, target) else tree

    def _stands(self, tree: NeuronTree, target: float) -> bool:
        """Return whether the checker's own bounds of all leaves exceed a target.

        Slopes of curves become other lines in the checker than those of the search.
        """
        tree = replace(
            tree, leaf_row=np.where(tree.leaf_row < 0, -1, tree.leaf_row - self._first_row)
        )
        rows = stacked_rows(self._case.specification)
        return bool((self._ground.tree_margins(self._case.region, tree, rows) > target).all())

    def _table(self, footing: _Footing, leaves: Sequence[Leaf], target: float) -> LeafTable | None:
        layout = layout_of(self._ground.folded, footing.bounds, self._open)
        bounder = Bounder(layout, self._interval, self._balls, dtype=torch.float64)
        return proved_leaves(bounder, self._clauses, leaves, self._values, target)

    def _write_clause(
        self, writer: TreeWriter, clause: int, leaves: Sequence[Leaf], table: LeafTable
    ) -> bool:
        rows = np.flatnonzero(self._owner == clause)
        if not leaves:
            writer.plain(self._first_row + int(rows[self._rows[rows].argmax()]))
            return True
        tree = SplitTree.of(leaves)
        if tree is not None:
            writer.tree(tree, table, self._first_row + int(rows[0]))
        return tree is not None


def _raised(case: Case, target: float) -> Case:
    """Return a case whose margins are smaller by a target."""
    clauses = tuple(
        Clause(clause.matrix, clause.offset + target) for clause in case.specification.clauses
    )
    return replace(case, specification=Specification(clauses))
