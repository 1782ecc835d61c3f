"""A network of ReLUs in one domain as affine functions of few columns, and what holds of these.

Columns w are the inputs that vary and the outputs of the ReLUs that are listed, each m + r·w with
|w| ≤ 1, and w₀ = 1. All other ReLUs have a sign, so that every vector is an affine function of w.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy import sparse

from solvers.proof.bounds import RELU, SPARE, TINY, Array, Enclosure, Integers, gamma, middle
from solvers.proof.container import require
from solvers.proof.network import UNIT, Affine, Nonlinear, absolute, dense
from solvers.proof.onnx_file import MOST

__all__ = ["Parts", "Relaxation", "Rows"]

MOST_COLUMNS = 1 << 13
"""A matrix of so many rows takes half a gigabyte."""
DENSE = 8
"""From a share of one in so many on, products of matrices are faster dense."""

Parts = Mapping[int, tuple[slice, Integers]]
"""By vector, where its values stand in a list, and which they are."""


class Rows(NamedTuple):
    """Affine functions of w, `(rows, 1 + columns)`, and how far from them a run may be."""

    matrix: sparse.csr_array
    error: Array

    @property
    def reach(self) -> Array:
        """How far from 0 the functions are at most."""
        return np.asarray(absolute(self.matrix).sum(axis=1)).ravel() * SPARE

    def scaled(self, factors: Array) -> Rows:
        """Return the functions times numbers from −1 to 1, rounding not counted."""
        return Rows(sparse.diags_array(factors) @ self.matrix, self.error)


class Relaxation:
    """What holds of all runs in one domain.

    Args:
        enclosure: Of the domain.
        parts: Which values are listed, by vector: their places in the list, and in the vector.

    Attributes:
        inputs, columns: How many columns inputs have, and all together.
        forms: 1; 1 + w and 1 − w of every column; then, for every value ẑ that is listed, bounded
            by l and u, and z = max(0, ẑ): z; z − ẑ; s ẑ + t − z, the line above; ẑ − l; u − ẑ.
        heights: Forms that are a z: from the first number on, below the second. As many follow that
            are z − ẑ.
        output: The outputs.
    """

    def __init__(self, enclosure: Enclosure, parts: Parts) -> None:
        self._enclosure, self._parts = enclosure, parts
        low, high = enclosure.lower[0][0], enclosure.upper[0][0]
        moving = np.flatnonzero(low < high)
        listed = sum(len(index) for _, index in parts.values())
        self.inputs, self.columns = len(moving), len(moving) + listed
        require(self.columns < MOST_COLUMNS, f"a dual matrix has {self.columns} columns")
        center, radius = middle(low, high)
        fixed = np.where(low < high, center, low)
        start = self._at(len(low), fixed, moving, np.arange(len(moving)), radius[moving])
        self._known = {0: Rows(start, np.zeros(len(low)))}
        self._read: dict[int, Nonlinear] = {}
        for operation in enclosure.network.operations:
            step = self._affine if isinstance(operation, Affine) else self._rectified
            self._known[operation.output] = found = step(operation)  # type: ignore[arg-type]
            require((found.reach + found.error <= MOST).all(), "a relaxation overflows")
        self.output = self._known[enclosure.network.output]
        self.forms = self._forms(listed)
        first = 1 + 2 * self.columns
        self.heights = first, first + listed

    def _at(
        self, rows: int, constant: Array, row: Integers, column: Integers, value: Array
    ) -> sparse.csr_array:
        """Return functions by constants and one coefficient of some rows."""
        values = np.concatenate([constant, value])
        places = np.concatenate([np.arange(rows), row]), np.r_[np.zeros(rows, int), 1 + column]
        return sparse.csr_array((values, places), shape=(rows, 1 + self.columns))

    def _affine(self, step: Affine) -> Rows:
        """Compose with an affine step; |ΔA| |v| + |A| e + γ |A| |M| is what that may lose."""
        spare = gamma(step.summed[0])
        none = np.zeros(0, int)
        total = self._at(len(step.bias), step.bias, none, none, np.zeros(0))
        error = spare * np.abs(step.bias) + step.bias_error
        for term in step.terms:
            source = self._known[term.source]
            crowded = source.matrix.nnz * DENSE > np.prod(source.matrix.shape)
            factor = dense(source.matrix) if crowded else source.matrix
            total = total + sparse.csr_array(term.matrix @ factor)
            size = source.reach + source.error
            error = error + term.absolute @ (source.error + (spare + term.share) * SPARE * size)
        return Rows(total, error * SPARE + TINY)

    def _rectified(self, step: Nonlinear) -> Rows:
        """Replace values that are listed by their columns, and keep or drop all others."""
        require(step.function is RELU, f"a dual matrix is for ReLUs, and {step.name} is none")
        vector, (low, high) = step.read, self._ends(step.read)
        self._read[vector] = step
        part, index = self._parts.get(vector, (slice(0, 0), np.zeros(0, int)))
        kept = low >= 0
        open_ = ~kept & (high > 0)
        kept[index] = open_[index] = False
        require(not open_.any(), f"a ReLU of vector {vector} has no sign, and is not listed")
        center, radius = self._middles(low[index], high[index])
        constant = np.zeros(len(low))
        constant[index] = center
        column = self.inputs + np.arange(part.start, part.stop)
        own, before = self._at(len(low), constant, index, column, radius), self._known[vector]
        return Rows(before.scaled(kept.astype(np.float64)).matrix + own, before.error * kept)

    def _ends(self, vector: int) -> tuple[Array, Array]:
        return self._enclosure.lower[vector][0], self._enclosure.upper[vector][0]

    @staticmethod
    def _middles(low: Array, high: Array) -> tuple[Array, Array]:
        """Return middles and radii of the outputs of ReLUs."""
        return middle(np.maximum(low, 0.0), np.maximum(high, 0.0))

    def _forms(self, listed: int) -> Rows:
        none, order = np.zeros(0, int), np.arange(self.columns)
        low, high, slope, above = (np.zeros(listed) for _ in range(4))
        rows, error = [self._at(0, np.zeros(0), none, none, np.zeros(0))], np.zeros(listed)
        for vector, (part, index) in self._parts.items():
            require(vector in self._read, "a value is listed that no ReLU reads")
            low[part], high[part] = (end[index] for end in self._ends(vector))
            lines = self._enclosure.lines_of(self._read[vector])
            slope[part], above[part] = lines.upper[0][0][index], lines.above[0][index]
            rows.append(self._known[vector].matrix[index])
            error[part] = self._known[vector].error[index]
        source = Rows(sparse.vstack(rows, format="csr"), error)
        center, radius = self._middles(low, high)
        value = np.arange(listed)
        height = self._at(listed, center, value, self.inputs + value, radius)
        below, upper, line = (self._at(listed, c, none, none, none) for c in (low, high, above))
        ones = np.ones(self.columns)
        bounds = [self._at(self.columns, ones, order, order, sign * ones) for sign in (1.0, -1.0)]
        one = self._at(1, np.ones(1), none, none, np.zeros(0))
        triangle = source.scaled(slope).matrix + line - height
        kinked = [height, height - source.matrix, triangle, source.matrix - below]
        matrix = sparse.vstack([one, *bounds, *kinked, upper - source.matrix], format="csr")
        size = source.reach + np.abs(center) + radius + np.abs(low) + np.abs(high) + np.abs(above)
        off = (error + 8 * UNIT * size) * SPARE + TINY
        exact = np.zeros(1 + 2 * self.columns + listed)
        return Rows(matrix.tocsr(), np.concatenate([exact, off, off, off, off]))
