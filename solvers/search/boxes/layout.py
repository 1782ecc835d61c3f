"""The cases of a search as tensors that every box can be looked up in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.network import Network
from solvers.bounds import Interval
from solvers.problem import Case

__all__ = ["Layout"]


@dataclass(frozen=True, eq=False)
class Layout:
    """Regions and specifications of all cases.

    Of the inputs, boxes store only those that vary in some case. Rows and clauses are padded to
    the same number in every case; a row of padding repeats the case's first row.

    Attributes:
        shape: Of one input.
        active: Flat indices of the inputs that vary, shape `(varying,)`, at least one.
        base: Some input of each region, shape `(cases, inputs)`.
        lower, upper: Corners of the regions, shape `(cases, varying)`.
        matrix: Shape `(cases, rows, outputs)`, or `(1, rows, outputs)` where all cases agree.
        offset: Shape `(cases, rows)`.
        clause: Which clause a row belongs to, shape `(cases, rows)`.
        present: Which clauses a case has, shape `(cases, clauses)`.
    """

    shape: tuple[int, ...]
    active: Tensor
    base: Tensor
    lower: Tensor
    upper: Tensor
    matrix: Tensor
    offset: Tensor
    clause: Tensor
    present: Tensor

    @classmethod
    def of(cls, network: Network, cases: Sequence[Case]) -> Layout:
        """Lay out cases for a float64 network, on its device."""
        lower = np.stack([case.region.lower.reshape(-1) for case in cases])
        upper = np.stack([case.region.upper.reshape(-1) for case in cases])
        varying = np.flatnonzero((upper > lower).any(axis=0))
        active = varying if varying.size else np.zeros(1, dtype=np.int64)
        matrix, offset, clause = _stacked(cases)
        most = int(clause.max()) + 1
        counts = np.array([len(case.specification.clauses) for case in cases])
        present = np.arange(most) < counts[:, np.newaxis]

        def there(values: NDArray[np.generic]) -> Tensor:
            return torch.from_numpy(values).to(network.device)

        return cls(
            network.input_shape,
            there(active.astype(np.int64)),
            there(lower),
            there(lower[:, active]),
            there(upper[:, active]),
            there(matrix),
            there(offset),
            there(clause),
            there(present),
        )

    @property
    def cases(self) -> int:
        """Number of cases."""
        return int(self.base.shape[0])

    @property
    def rows(self) -> int:
        """Rows per case."""
        return int(self.offset.shape[1])

    @cached_property
    def has_sums(self) -> bool:
        """Whether some clause has several rows, of which sums can be taken."""
        counts = torch.zeros_like(self.present, dtype=torch.long)
        counts.scatter_add_(1, self.clause, torch.ones_like(self.clause))
        return bool((counts > 1).any())

    def inputs(self, case: Tensor, values: Tensor) -> Tensor:
        """Return whole inputs.

        Args:
            case: Of each input, shape `(points,)`.
            values: Of the inputs that vary, shape `(points, varying)`.

        Returns:
            Shape `(points, *input_shape)`.
        """
        if values.shape[1] == self.base.shape[1]:
            return values.reshape(-1, *self.shape)
        whole = self.base[case]
        whole[:, self.active] = values
        return whole.reshape(-1, *self.shape)

    def region(self, case: Tensor, lower: Tensor, upper: Tensor) -> Interval:
        """Return boxes of whole inputs, given their corners, shape `(boxes, varying)`."""
        return Interval(self.inputs(case, lower), self.inputs(case, upper))

    def rows_of(self, case: Tensor) -> tuple[Tensor, Tensor]:
        """Return matrix and offset for each of `case`, shapes `(boxes, rows, …)`."""
        if self.matrix.shape[0] == 1:
            return self.matrix.expand(len(case), -1, -1), self.offset[case]
        return self.matrix[case], self.offset[case]

    def single_rows(self, case: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
        """Return single rows, shapes `(rows, outputs)` and `(rows,)`, of as many cases."""
        shared = self.matrix.shape[0] == 1
        matrix = self.matrix[0, row] if shared else self.matrix[case, row]
        return matrix, self.offset[case, row]

    def clause_values(self, case: Tensor, rows: Tensor) -> Tensor:
        """Return the greatest value among each clause's rows; absent clauses get infinity.

        Args:
            case: Shape `(boxes,)`.
            rows: Shape `(boxes, rows)`.

        Returns:
            Shape `(boxes, clauses)`.
        """
        present = self.present[case]
        start = torch.where(present, -torch.inf, torch.inf).to(rows.dtype)
        return start.scatter_reduce(1, self.clause[case], rows, "amax")

    def margins(self, case: Tensor, y: Tensor) -> Tensor:
        """Return margins of outputs, shape `(points, outputs)`; not a number gives infinity."""
        if self.matrix.shape[0] == 1:
            values = y @ self.matrix[0].T - self.offset[case]
        else:
            values = torch.bmm(self.matrix[case], y.unsqueeze(-1)).squeeze(-1) - self.offset[case]
        return self.clause_values(case, values).amin(1).nan_to_num(nan=torch.inf)


def _stacked(
    cases: Sequence[Case],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Stack the rows of every case, and which clause each belongs to."""
    clauses = [case.specification.clauses for case in cases]
    most = max(sum(len(clause.offset) for clause in parts) for parts in clauses)
    matrices, offsets, owners = [], [], []
    for parts in clauses:
        owner = np.repeat(np.arange(len(parts)), [len(clause.offset) for clause in parts])
        index = np.r_[np.arange(len(owner)), np.zeros(most - len(owner), dtype=np.int64)]
        matrices.append(np.concatenate([clause.matrix for clause in parts])[index])
        offsets.append(np.concatenate([clause.offset for clause in parts])[index])
        owners.append(owner[index])
    first = matrices[0]
    same = all(np.array_equal(first, other) for other in matrices[1:])
    matrix = first[np.newaxis] if same else np.stack(matrices)
    return matrix, np.stack(offsets), np.stack(owners).astype(np.int64)
