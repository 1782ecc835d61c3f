"""Closing a region by boxes that the checker bounds itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from solvers.budget import Budget
from solvers.problem import Case, Specification
from solvers.proof.producing.box_tree import BoxTree
from solvers.proof.producing.ground import Ground
from solvers.search.boxes.boxes import Boxes
from solvers.search.boxes.flat_engine import engine_for
from solvers.search.boxes.layout import Layout
from solvers.search.boxes.levels import Level

__all__ = ["BoxCloser", "clause_margins", "stacked_rows"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_BATCH = 1024


def stacked_rows(specification: Specification) -> tuple[FloatArray, FloatArray, IntArray]:
    """Return matrix, offset and the number of the clause of every row of a specification."""
    clauses = specification.clauses
    owner = np.repeat(np.arange(len(clauses)), [len(clause.offset) for clause in clauses])
    matrix = np.concatenate([clause.matrix for clause in clauses])
    return matrix, np.concatenate([clause.offset for clause in clauses]), owner


def clause_margins(rows: FloatArray, clause: IntArray) -> FloatArray:
    """Return the best bound of every clause.

    Args:
        rows: Bounds of rows, shape `(boxes, rows)`.
        clause: Number of the clause of every row, ascending, shape `(rows,)`.

    Returns:
        Shape `(boxes, clauses)`; not a number counts as −∞.
    """
    starts = np.flatnonzero(np.diff(clause, prepend=-1))
    found = np.maximum.reduceat(np.nan_to_num(rows, nan=-np.inf), starts, axis=1)
    return np.asarray(found, dtype=np.float64)


@dataclass
class BoxCloser:
    """Cuts the leaves of a tree until the checker's own bounds prove each of them.

    Attributes:
        ground: The network.
        case: Region and specification.
        budget: When to give up.
        most_leaves: How many leaves a tree may have.
    """

    ground: Ground
    case: Case
    budget: Budget
    most_leaves: int

    def __post_init__(self) -> None:
        network = self.ground.folded
        self._matrix, self._offset, self._clause = stacked_rows(self.case.specification)
        self._layout = Layout.of(network, [self.case])
        self._engine = engine_for(network, self._layout)
        self._active = self._layout.active.cpu().numpy()
        self._thin: list[IntArray] = [np.zeros(0, dtype=np.int64)]

    def close(self, tree: BoxTree) -> bool:
        """Cut leaves that are not proved; return whether all are.

        Args:
            tree: Of the case's region; it grows, whatever the answer.
        """
        return self._closed(tree, tree.leaves, float32=False)

    def widen(self, tree: BoxTree) -> bool:
        """Cut leaves of a tree that was closed until float32 inference is proved too.

        Args:
            tree: As `close` left it, or a copy; it grows, whatever the answer.
        """
        thin = np.concatenate(self._thin)
        self._thin = [thin[:0]]
        return self._closed(tree, thin, float32=True)

    def _closed(self, tree: BoxTree, nodes: IntArray, *, float32: bool) -> bool:
        while len(nodes):
            parts = []
            for first in range(0, len(nodes), _BATCH):
                if self.budget.exhausted:
                    return False
                part = nodes[first : first + _BATCH]
                exact, single = self._margins((tree.lower[part], tree.upper[part]))
                proved = (single if float32 else exact) > 0
                parts.append(part[~proved])
                if not float32:
                    self._thin.append(part[proved & ~(single > 0)])
            open_ = np.concatenate(parts)
            if len(tree.leaves) + len(open_) > self.most_leaves:
                return False
            dims = self._dims(tree, open_)
            if (dims < 0).any():
                return False
            nodes = tree.split(open_, dims)
        return True

    def _margins(self, corners: tuple[FloatArray, FloatArray]) -> tuple[FloatArray, FloatArray]:
        """Return the least margin of every box, and the same for float32 inference."""
        rows, errors = self.ground.box_rows_and_errors(corners, self._matrix, self._offset)
        exact, single = (
            clause_margins(found, self._clause).min(axis=1) for found in (rows, rows - errors)
        )
        return exact, single

    def _dims(self, tree: BoxTree, nodes: IntArray) -> IntArray:
        """Return the input whose cut promises most for each box; −1 where none can be cut."""
        _, usable = tree.middles(nodes)
        dims = np.full(len(nodes), -1)
        for first in range(0, len(nodes), _BATCH):
            part = slice(first, first + _BATCH)
            scores = self._scores(tree.lower[nodes[part]], tree.upper[nodes[part]])
            scores = np.where(usable[part][:, self._active], scores, -np.inf)
            best = scores.argmax(axis=1)
            found = np.isfinite(scores[np.arange(len(scores)), best])
            dims[part] = np.where(found, self._active[best], -1)
        return dims

    def _scores(self, lower: FloatArray, upper: FloatArray) -> FloatArray:
        device = self._layout.lower.device
        low, high = (
            torch.from_numpy(np.ascontiguousarray(corner[:, self._active])).to(device)
            for corner in (lower, upper)
        )
        count = len(low)
        none = torch.zeros(count, dtype=torch.long, device=device)
        clauses = self._layout.present.shape[1]
        boxes = Boxes(
            low,
            high,
            none,
            torch.full((count, clauses), -torch.inf, dtype=torch.float64, device=device),
            torch.full((count,), torch.inf, dtype=torch.float64, device=device),
            high - low,
            none,
            {},
        )
        with torch.no_grad():
            scores = self._engine.bound(boxes, Level.BACKWARD, Budget()).boxes.scores
        # Where slopes are lost, the width has to do.
        widths = (high - low) * 1e-12
        return (scores.nan_to_num(nan=0.0, posinf=0.0) + widths).cpu().numpy()
