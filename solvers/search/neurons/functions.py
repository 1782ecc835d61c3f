"""Linear functions that passes begin with: rows of clauses, and single values inside a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

from models.graph import Node
from solvers.bounds import Scene, rounding_allowance
from solvers.bounds.backward import Rows, unit_rows

__all__ = ["Bounded", "Functions", "Limited", "Start"]


class Bounded(Protocol):
    """Functions that a pass can begin with, one per row."""

    @property
    def count(self) -> int:
        """Number of rows."""
        ...

    def __getitem__(self, index: Tensor, /) -> Self:
        """Return some of the rows."""
        ...

    def rows(self, scene: Scene) -> Rows:
        """Return the rows in the scene's precision."""
        ...

    def allowance(self, outputs: Tensor) -> Tensor:
        """Return what rounding of the functions' own terms may amount to, shape `(rows,)`.

        Args:
            outputs: The size that each output may have, shape `(outputs,)`.
        """
        ...


@dataclass(frozen=True, eq=False)
class Functions:
    """Linear functions of the output, one per row: coefficients · y − offset.

    Attributes:
        coefficients: Shape `(rows, *output_shape)`.
        offset: Shape `(rows,)`.
    """

    coefficients: Tensor
    offset: Tensor

    def __getitem__(self, index: Tensor | slice) -> Functions:
        """Return some of the rows."""
        return Functions(self.coefficients[index], self.offset[index])

    @property
    def count(self) -> int:
        """Number of rows."""
        return int(self.offset.shape[0])

    def rows(self, scene: Scene) -> Rows:
        """Return the rows in the scene's precision."""
        kind = scene.network.dtype
        return Rows(
            {scene.network.graph.output: self.coefficients.to(kind).unsqueeze(0)},
            -self.offset.to(kind).unsqueeze(0),
        )

    def allowance(self, outputs: Tensor) -> Tensor:
        """Return what rounding of the margins' own terms may amount to, shape `(rows,)`."""
        matrix = self.coefficients.to(outputs.dtype).reshape(len(self.offset), -1)
        return rounding_allowance(matrix, self.offset.to(outputs.dtype), outputs)


@dataclass(frozen=True, eq=False)
class Start:
    """Single values of one node, one per row, times a sign.

    Attributes:
        node: Whose values.
        indices: Flat indices into the node, shape `(rows,)`.
        signs: 1 or −1, the same shape.
    """

    node: Node
    indices: Tensor
    signs: Tensor

    def __getitem__(self, index: Tensor | slice) -> Start:
        """Return some of the rows."""
        return Start(self.node, self.indices[index], self.signs[index])

    @property
    def count(self) -> int:
        """Number of rows."""
        return int(self.indices.shape[0])

    def rows(self, scene: Scene) -> Rows:
        """Return the rows in the scene's precision."""
        signs = self.signs.to(scene.network.dtype).unsqueeze(0)
        return unit_rows(scene, self.node, self.indices.unsqueeze(0), signs)

    def allowance(self, outputs: Tensor) -> Tensor:
        """Return 0 for every row: a single value has no terms that could cancel."""
        return outputs.new_zeros(self.count)


@dataclass(frozen=True, eq=False)
class Limited:
    """Single values plus weighted rows of a clause: at most the value where no row is positive.

    Attributes:
        start: The values.
        limits: The rows, those of each value's clause one after the other.
        weights: At least 0, shape `(values, rows_of_a_clause)`.
    """

    start: Start
    limits: Functions
    weights: Tensor

    @property
    def count(self) -> int:
        """Number of rows."""
        return self.start.count

    def __getitem__(self, index: Tensor) -> Limited:
        """Return some of the rows."""
        return Limited(self.start[index], self.limits[self._spread(index)], self.weights[index])

    def rows(self, scene: Scene) -> Rows:
        """Return the rows in the scene's precision."""
        kind, network = scene.network.dtype, scene.network
        rows, weights = self.start.rows(scene), self.weights.to(kind)
        matrix, offset = self._matrix(kind)
        mixed = (weights.unsqueeze(-1) * matrix).sum(1)
        rows.add(network.graph.output, mixed.reshape(1, self.count, *network.output_shape))
        rows.shift(-(weights * offset).sum(1).unsqueeze(0))
        return rows

    def allowance(self, outputs: Tensor) -> Tensor:
        """Return what rounding of the limits' terms may amount to, shape `(rows,)`."""
        size = self.limits.allowance(outputs).reshape(self.weights.shape)
        return (self.weights.to(outputs.dtype) * size).sum(1)

    def pressure(self, outputs: Tensor) -> Tensor:
        """Return the value of every limit, the bound's derivative in its weight.

        Args:
            outputs: At which the relaxed minimum is attained, shape `(rows, outputs)`.
        """
        matrix, offset = self._matrix(outputs.dtype)
        return (matrix * outputs.unsqueeze(1)).sum(-1) - offset

    def _matrix(self, kind: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return rows of every value's clause, `(values, rows, outputs)`, and their offsets."""
        shape = self.weights.shape
        matrix = self.limits.coefficients.to(kind).reshape(len(self.limits.offset), -1)
        return matrix.reshape(*shape, matrix.shape[1]), self.limits.offset.to(kind).reshape(shape)

    def _spread(self, index: Tensor) -> Tensor:
        per = self.weights.shape[1]
        return (index.unsqueeze(1) * per + torch.arange(per, device=index.device)).flatten()
