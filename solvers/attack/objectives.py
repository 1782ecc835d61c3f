"""Margins of clauses as tensors, for many cases at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from solvers.problem import Clause, Specification

__all__ = ["ClauseBatch", "clause_margins"]


def clause_margins(specification: Specification, y: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the margin of every clause.

    Args:
        specification: Of `clauses` clauses.
        y: Shape `(points, outputs)`.

    Returns:
        Shape `(points, clauses)`; NaN outputs give infinity.
    """
    clauses = specification.clauses
    sizes = [len(clause.offset) for clause in clauses]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    matrix = np.concatenate([clause.matrix for clause in clauses])
    offset = np.concatenate([clause.offset for clause in clauses])
    rows = y.astype(np.float64) @ matrix.T - offset
    margins = np.maximum.reduceat(rows, starts, axis=1)
    return np.where(np.isnan(margins), np.inf, margins)


@dataclass(frozen=True, eq=False)
class ClauseBatch:
    """As many clauses for each of several cases, padded by repetition.

    Attributes:
        matrix: Shape `(cases, clauses, rows, outputs)`.
        offset: Shape `(cases, clauses, rows)`.
    """

    matrix: Tensor
    offset: Tensor

    @classmethod
    def of(cls, chosen: Sequence[Sequence[Clause]], device: torch.device) -> ClauseBatch:
        """Return the batch, in float32: exactness is left to whoever judges the candidates.

        Args:
            chosen: The clauses of each case, at least one, most promising first.
            device: Where the tensors go.
        """
        count = max(len(clauses) for clauses in chosen)
        rows = max(len(clause.offset) for clauses in chosen for clause in clauses)
        # Repeating a row or a clause changes neither a maximum nor a minimum over them.
        padded = [[clauses[k % len(clauses)] for k in range(count)] for clauses in chosen]
        matrix = np.array([[c.matrix[_wrap(c, rows)] for c in case] for case in padded])
        offset = np.array([[c.offset[_wrap(c, rows)] for c in case] for case in padded])
        return cls(
            torch.as_tensor(matrix, dtype=torch.float32, device=device),
            torch.as_tensor(offset, dtype=torch.float32, device=device),
        )

    def margins(self, y: Tensor) -> Tensor:
        """Return margins, shape `(cases, points, clauses)`, of `y`: `(cases, points, outputs)`."""
        cases, clauses, rows, outputs = self.matrix.shape
        flat = self.matrix.reshape(cases, clauses * rows, outputs)
        values = torch.bmm(y, flat.transpose(1, 2)).reshape(cases, -1, clauses, rows)
        return (values - self.offset.unsqueeze(1)).amax(dim=-1)

    def select(self, cases: Tensor) -> ClauseBatch:
        """Return the batch of some of the cases, by index."""
        return ClauseBatch(self.matrix[cases], self.offset[cases])


def _wrap(clause: Clause, rows: int) -> NDArray[np.int64]:
    return np.arange(rows) % len(clause.offset)
