"""What a decision leaves behind for whoever proves it again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch

from solvers.proof.producing.box_tree import BoxLeaves
from solvers.proof.producing.found_duals import FoundDuals
from solvers.search.neurons import Leaf

__all__ = ["NeuronLeaves", "RecordedLeaves", "Trace"]

_MOST_BYTES = 1 << 28
"""What slopes and multipliers of a case's leaves may take."""
_MOST_GAMMA = 6e4
"""Close to the largest number of half precision."""


@dataclass
class NeuronLeaves:
    """Keeps the leaves of one search over neurons; a recorder."""

    leaves: list[Leaf] = field(default_factory=list)

    def record(self, leaf: Leaf) -> None:
        """Take a leaf."""
        self.leaves.append(leaf)


@dataclass
class RecordedLeaves:
    """Keeps what leaves of both trees of a search are worth to a proof; a recorder.

    Bounds are left out, since a proof stands on others, and numbers are rounded: what is lost with
    that, a few steps of ascent bring back. Leaves beyond the memory allowed keep their splits
    alone.
    """

    _found: dict[tuple[int, bool], list[Leaf]] = field(default_factory=lambda: defaultdict(list))
    _bytes: int = 0

    def record(self, leaf: Leaf) -> None:
        """Take a leaf."""
        alpha = leaf.alpha.half()
        gamma = leaf.gamma.clamp(-_MOST_GAMMA, _MOST_GAMMA).half()
        self._bytes += 2 * alpha.nbytes
        none = torch.zeros(0)
        if self._bytes > _MOST_BYTES:
            alpha = gamma = none
        slim = replace(leaf, lower=none, upper=none, alpha=alpha, gamma=gamma)
        self._found[leaf.clause, leaf.sharp].append(slim)

    @property
    def best(self) -> Sequence[Leaf]:
        """Of every clause, the leaves of the tree that closed more of the region."""
        clauses = {clause for clause, _ in self._found}
        return [leaf for clause in sorted(clauses) for leaf in self._better(clause)]

    def _better(self, clause: int) -> Sequence[Leaf]:
        plain, sharp = (self._found.get((clause, kind), []) for kind in (False, True))
        return plain if _closed(plain) >= _closed(sharp) else sharp


@dataclass
class Trace:
    """What decided the cases of a problem.

    Attributes:
        boxes: Leaves of the search over boxes, by the positions of cases.
        by_boxes: Cases that it decided.
        by_cuts: Cases that passes or linear programs with cuts decided.
        by_windows: Cases that neurons of windows taken together decided.
        neurons: Leaves of the search over neurons, by the positions of cases.
        duals: Multipliers of semidefinite relaxations, by the positions of cases.
        hard: Cases that no bounds with adaptive slopes decided, so far as is known.
        assess: Says whether a `verified` survives float32, for where no proof does.
    """

    boxes: BoxLeaves = field(default_factory=BoxLeaves)
    by_boxes: set[int] = field(default_factory=set)
    by_cuts: set[int] = field(default_factory=set)
    by_windows: set[int] = field(default_factory=set)
    neurons: dict[int, RecordedLeaves] = field(default_factory=dict)
    duals: dict[int, FoundDuals] = field(default_factory=dict)
    hard: set[int] = field(default_factory=set)
    assess: Callable[[], bool | None] = field(default=lambda: None)


def _closed(leaves: Sequence[Leaf]) -> float:
    """Return the share of the region that leaves of one tree cover, each cut counting as a half."""
    return float(sum(0.5 ** len(leaf.splits) for leaf in leaves))
