"""The clauses of a case as rows for the bound engine."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from models.network import Network
from solvers.problem import Specification
from solvers.search.neurons.bounding import Functions

__all__ = ["ClauseRows"]


class ClauseRows:
    """Rows of every clause, padded to the same number by repeating a clause's first.

    Args:
        network: Gives output shape, dtype and device.
        specification: Its clauses.

    Attributes:
        clauses: How many there are.
        rows: Of each clause.
        counts: How many of them are its own, shape `(clauses,)`.
    """

    def __init__(self, network: Network, specification: Specification) -> None:
        clauses = specification.clauses
        self.clauses = len(clauses)
        self.counts = torch.tensor([len(clause.offset) for clause in clauses])
        self.rows = int(self.counts.max())
        index = [
            np.r_[np.arange(len(c.offset)), np.zeros(self.rows - len(c.offset), dtype=int)]
            for c in clauses
        ]
        matrix = np.stack([c.matrix[i] for c, i in zip(clauses, index, strict=True)])
        offset = np.stack([c.offset[i] for c, i in zip(clauses, index, strict=True)])
        shape = (self.clauses, self.rows, *network.output_shape)
        self._matrix = torch.from_numpy(matrix).to(network.device, network.dtype).reshape(shape)
        self._offset = torch.from_numpy(offset).to(network.device, network.dtype)

    def functions(self, clause: Tensor) -> Functions:
        """Return the rows of clauses, one after the other.

        Args:
            clause: Shape `(domains,)`.
        """
        return Functions(self._matrix[clause].flatten(0, 1), self._offset[clause].flatten(0, 1))
