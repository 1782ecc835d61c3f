"""What encoders share: the program being built, weights, bounds, and when to stop substituting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from models.errors import BoundsError, ShapeError
from models.graph import Node
from models.parameters import ParameterRef
from solvers.exact.affine import Affine, IndexArray, diagonal
from solvers.exact.builder import ModelBuilder

if TYPE_CHECKING:
    from solvers.exact.model import SparseMatrix

__all__ = [
    "Bounds",
    "EncodingContext",
    "EncodingOptions",
    "Hinge",
    "Splits",
    "StableEncoding",
    "checked_interval",
    "clipped",
]

FloatArray = NDArray[np.float64]
Bounds = Mapping[str, tuple[FloatArray, FloatArray]]
Splits = Mapping[str, NDArray[np.int8]]
"""By node name, 1 where a value is held to be at least 0, −1 at most 0, 0 where it is free."""


class StableEncoding(StrEnum):
    """What becomes of a stable-active neuron.

    `substitute`: it is the affine function of the columns before it, with no column and no row,
    unless the next affine operator would then need more coefficients than columns for all of its
    inputs would. `column`: always a column of its own, tied by an equality.
    """

    SUBSTITUTE = "substitute"
    COLUMN = "column"


@dataclass(frozen=True)
class EncodingOptions:
    """How to encode.

    Attributes:
        stable: What becomes of stable-active neurons.
        max_nonzeros: More coefficients than this are refused; about 100 bytes each are needed
            while a solver works.
        relaxed: Whether an undecided hinge gets its triangle (Ehlers 2017) instead of a binary. The
            program is then a relaxation, smaller than the exact one with its binaries set free.
    """

    stable: StableEncoding = StableEncoding.SUBSTITUTE
    max_nonzeros: int = 10_000_000
    relaxed: bool = False


@dataclass(frozen=True, eq=False)
class Hinge:
    """Where a program has the undecided pieces of one node: z = positive − negative.

    Attributes:
        node: Name of the node that bends.
        at: Its undecided values, flat, shape `(undecided,)`.
        positive, negative: The columns of their parts, the same shape.
        ties: The rows `positive − negative − z = 0`, the same shape.
    """

    node: str
    at: IndexArray
    positive: IndexArray
    negative: IndexArray
    ties: IndexArray


def checked_interval(node: Node, bounds: Bounds) -> tuple[FloatArray, FloatArray]:
    """Return the bounds of a node.

    Raises:
        BoundsError: They are missing, not finite or empty.
        ShapeError: They have another shape than the node.
    """
    if node.name not in bounds:
        raise BoundsError(f"the exact encoding needs bounds for node {node.name!r}")
    lower, upper = bounds[node.name]
    if lower.shape != node.shape or upper.shape != node.shape:
        raise ShapeError(
            f"bounds of node {node.name!r} have shapes {lower.shape} and {upper.shape}, "
            f"the node has {node.shape}"
        )
    if not (np.isfinite(lower).all() and np.isfinite(upper).all() and (lower <= upper).all()):
        raise BoundsError(f"bounds of node {node.name!r} are empty or not finite")
    return lower, upper


def clipped(bounds: Bounds, splits: Splits | None) -> Bounds | None:
    """Return bounds cut at 0 where splits hold values to a side; None where nothing is left.

    Raises:
        ShapeError: A split has another size than its node's bounds.
        BoundsError: A node with a split has no bounds.
    """
    inside = dict(bounds)
    for name, split in (splits or {}).items():
        if name not in bounds:
            raise BoundsError(f"node {name!r} is split, but has no bounds")
        lower, upper = bounds[name]
        if np.size(split) != lower.size:
            raise ShapeError(f"a split of {np.size(split)} values for node {name!r}")
        sides = np.asarray(split).reshape(lower.shape)
        if ((sides > 0) & (upper < 0)).any() or ((sides < 0) & (lower > 0)).any():
            return None
        inside[name] = (
            np.where(sides > 0, np.maximum(lower, 0.0), lower),
            np.where(sides < 0, np.minimum(upper, 0.0), upper),
        )
    return inside


@dataclass(frozen=True, eq=False)
class EncodingContext:
    """The state of one encoding.

    Attributes:
        builder: Collects columns and rows.
        parameters: The network's, in float64.
        bounds: Lower and upper bounds by node name, each of the node's shape.
        stable: What becomes of stable-active neurons.
        needed: By node name, which of its values matter, shape `(size,)`; all where it is missing.
        relaxed: Whether undecided hinges get triangles instead of binaries.
        hinges: Those encoded so far.
    """

    builder: ModelBuilder
    parameters: Mapping[str, Tensor]
    bounds: Bounds
    stable: StableEncoding
    needed: Mapping[str, NDArray[np.bool_]]
    relaxed: bool = False
    hinges: list[Hinge] = field(default_factory=list)

    def resolve(self, reference: ParameterRef) -> FloatArray:
        """Return a parameter in float64."""
        values: FloatArray = reference.resolve(self.parameters).detach().cpu().numpy()
        return values.astype(np.float64)

    def spread(self, reference: ParameterRef, shape: tuple[int, ...]) -> FloatArray:
        """Return a parameter broadcast to a node's shape, flat."""
        return np.broadcast_to(self.resolve(reference), shape).ravel()

    def interval(self, node: Node) -> tuple[FloatArray, FloatArray]:
        """Return the bounds of a node, flat.

        Raises:
            BoundsError: They are missing, not finite or empty.
            ShapeError: They have another shape than the node.
        """
        lower, upper = checked_interval(node, self.bounds)
        return lower.astype(np.float64).ravel(), upper.astype(np.float64).ravel()

    def apply(
        self, node: Node, matrix: SparseMatrix, value: Affine, offset: FloatArray | float = 0.0
    ) -> Affine:
        """Return `matrix @ value + offset`, with columns in between where that is shorter.

        Values of `node` that do not matter come out as their offset.

        Raises:
            ModelTooLargeError: The result would pass the limit on coefficients.
        """
        if node.name in self.needed:
            matrix = (diagonal(self.needed[node.name].astype(np.float64)) @ matrix).tocsr()
        uses = np.bincount(matrix.indices, minlength=matrix.shape[1])
        if _product_size(matrix, value, uses) > matrix.nnz + value.matrix.nnz:
            long = np.diff(value.matrix.indptr) > 1
            value = self.with_columns(value, long & (uses > 1))
        self.builder.check_size(_product_size(matrix, value, uses))
        return value.mapped(matrix, offset)

    def with_columns(
        self,
        value: Affine,
        chosen: NDArray[np.bool_],
        interval: tuple[FloatArray, FloatArray] | None = None,
    ) -> Affine:
        """Return `value` with a column of its own, tied by an equality, for the chosen entries.

        Args:
            value: Functions of earlier columns.
            chosen: Which entries, shape `(size,)`.
            interval: Bounds of `value`; None to take them over the boxes of the columns.
        """
        at = np.flatnonzero(chosen)
        if not at.size:
            return value
        part = value.taken(at)
        lower, upper = self.builder.range_of(part)
        if interval is not None:
            low, high = np.maximum(lower, interval[0][at]), np.minimum(upper, interval[1][at])
            # crossed by rounding only: then the wider interval stands
            lower, upper = np.where(low <= high, low, lower), np.where(low <= high, high, upper)
        reach = np.maximum(np.abs(lower), np.abs(upper))
        columns = Affine.of_columns(self.builder.add_columns(lower, upper), reach)
        self.builder.add_rows(columns.plus(part.scaled(-1.0)), 0.0, 0.0)
        return value.replaced(at, columns)

    def check_planned(self, *factors: int) -> None:
        """Refuse a matrix with that many entries, given as factors, when it is too large.

        Raises:
            ModelTooLargeError: It would pass the limit on coefficients.
        """
        self.builder.check_size(prod(factors))


def _product_size(matrix: SparseMatrix, value: Affine, uses: NDArray[np.int64]) -> int:
    """Return how many coefficients `matrix @ value` has at most."""
    rows = int((np.diff(matrix.indptr) > 0).sum())
    columns = int(np.unique(value.matrix.indices).size)
    long = int(np.dot(uses, np.diff(value.matrix.indptr)))
    return min(long, rows * columns)
