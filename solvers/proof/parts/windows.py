"""ReLUs of a first layer that read the same few inputs, bounded together.

Values of a map with the same place are a *window*: functions z = w·x + b of a few inputs. With
coefficients λ of their ReLUs, h(x) = Σ λ·max(0, w·x + b), and for any slopes a

    h(x) ≥ a·x + least over cells of the least of Σ λ·line(x) − a·x in the cell,

where cells are the box of these inputs with each of them halved, and lines are those of ReLUs on
what z can be in a cell. So no a is wrong; a file holds them, and all else is derived here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product as combinations
from math import prod
from typing import NamedTuple

import numpy as np
from scipy import sparse

from solvers.proof.bounds import (
    RELU,
    SPARE,
    TINY,
    Array,
    Enclosure,
    Integers,
    Sweep,
    gamma,
    middle,
    relu_lines,
)
from solvers.proof.container import Windows, require
from solvers.proof.network import Affine, CheckedNetwork, Nonlinear, Part

__all__ = ["WINDOWS", "window_inputs"]

MOST_INPUTS = 9
"""Of a window; cells are 2 to that power."""
HELD = 1 << 18
"""Lines of ReLUs in cells that are held at once, so that they stay in fast memory."""

Cross = Callable[[Sweep, Nonlinear, Array], Array]


class _Layer(NamedTuple):
    """A first layer, the coefficients in it that are not 0, and how many windows it has."""

    step: Affine
    row: Integers
    column: Integers
    weight: Array
    windows: int

    @classmethod
    def of(cls, network: CheckedNetwork, tensor: str) -> _Layer:
        vector, shape = network.vectors.get(tensor, (0, ()))
        step = network.operations[vector - 1]
        known = vector > 0 and isinstance(step, Affine) and [t.source for t in step.terms] == [0]
        require(known, f"there are windows of {tensor!r}, which is no sum of inputs")
        assert isinstance(step, Affine)  # noqa: S101  just asked
        pairs = sparse.coo_array(step.terms[0].matrix)
        used = pairs.data != 0
        row, column = (part[used].astype(np.intp) for part in (pairs.row, pairs.col))
        every = np.unique(row * pairs.shape[1] + column)
        require(len(every) == len(row), f"coefficients of {tensor!r} are held in pieces")
        return cls(step, row, column, pairs.data[used], prod(shape[2:]))

    def reads(self) -> sparse.csr_array:
        """Return which inputs each window reads, shape `(windows, inputs)`."""
        size = self.step.terms[0].matrix.shape[1]
        keys = np.unique(self.row % self.windows * size + self.column)
        starts = np.searchsorted(keys, np.arange(self.windows + 1) * size)
        return sparse.csr_array((np.ones(len(keys)), keys % size, starts), (self.windows, size))


def window_inputs(network: CheckedNetwork, tensor: str) -> sparse.csr_array:
    """Return which inputs the windows of a first layer read.

    Args:
        network: That has it.
        tensor: ONNX name of the layer's result, `(1, channels, …)`.

    Returns:
        Shape `(windows, inputs)`, with a 1 for each; places beyond the first two axes are windows.

    Raises:
        ProofError: The tensor is not one sum of inputs.
    """
    return _Layer.of(network, tensor).reads()


class _Table:
    """The windows of one layer over the box of a region.

    Args:
        enclosure: Of that region, a single one.
        windows: In good form.
        name: Of the tree that they belong to.
    """

    def __init__(self, enclosure: Enclosure, windows: Windows, name: str) -> None:
        layer, region = _Layer.of(enclosure.network, windows.tensor), enclosure.region
        self._vector, self._held = layer.step.output, windows
        self._reads = reads = layer.reads()
        sizes, count = np.diff(reads.indptr), layer.windows
        self._most = int(sizes.max())
        require(self._most <= MOST_INPUTS, f"{name}: a window reads {self._most} inputs")
        fit = windows.slope.shape[1] == reads.nnz and len(region.lower) == 1
        require(fit, f"{name}: windows have other inputs than slopes")
        # Windows that read fewer inputs than others get some more, which are 0.
        window = np.repeat(np.arange(count), sizes)
        self._at = window, np.arange(len(window)) - reads.indptr[window]
        low, high = (self._spread(ends[0][reads.indices]) for ends in (region.lower, region.upper))
        self._low, self._high, self._reach = low, high, np.maximum(np.abs(low), np.abs(high))
        keys = window * reads.shape[1] + reads.indices
        own = np.searchsorted(keys, layer.row % count * reads.shape[1] + layer.column)
        self._weight = np.zeros((count, len(layer.step.bias) // count, self._most))
        places = layer.row % count, layer.row // count, self._at[1][own]
        self._weight[places] = layer.weight
        self._bias = layer.step.bias.reshape(-1, count).T
        size = (np.abs(self._weight) @ self._reach[:, :, None])[:, :, 0] + np.abs(self._bias)
        self._size = size * SPARE
        off = layer.step.bias_error.reshape(-1, count).T
        self._lost = (layer.step.terms[0].share * self._size + off) * SPARE + TINY
        self._unit = gamma(2 * self._weight.shape[1] + self._most + 16)

    def _spread(self, numbers: Array) -> Array:
        """Return numbers of all inputs of windows, `(windows, inputs of each)`."""
        found = np.zeros((self._reads.shape[0], self._most))
        found[self._at] = numbers
        return found

    def cross(self, leaves: Integers, rest: Cross) -> Cross:
        """Return what crosses the layer's ReLUs in leaves that have windows, and `rest` others."""
        own = np.flatnonzero(np.isin(leaves, self._held.leaf))
        slopes = self._held.slope[np.searchsorted(self._held.leaf, leaves[own])]
        return partial(self._cross, own, slopes.astype(np.float64), rest)

    def _cross(
        self, own: Integers, slopes: Array, rest: Cross, sweep: Sweep, step: Nonlinear, rows: Array
    ) -> Array:
        """Take on all coefficients of the layer's ReLUs in some of the rows."""
        if step.function is not RELU or step.sources[0] != self._vector or not len(own):
            return rest(sweep, step, rows)
        factors = rows[own].reshape(len(own), -1, len(self._weight)).transpose(0, 2, 1)
        least, lost = self._least(factors, np.stack([self._spread(part) for part in slopes]))
        value, error = np.zeros(len(rows)), np.zeros(len(rows))
        value[own], terms = least.sum(axis=1), gamma(len(self._weight) + 4)
        error[own] = lost.sum(axis=1) + terms * np.abs(least).sum(axis=1)
        image, inputs = np.zeros((len(rows), self._reads.shape[1])), self._reads.indices
        for leaf, numbers in zip(own, slopes, strict=True):
            image[leaf] = np.bincount(inputs, numbers, image.shape[1])
            error[leaf] += terms * (np.abs(numbers) @ self._reach[self._at])
        sweep.add(value, error)
        sweep.pass_on(0, image)
        left = rows.copy()
        left[own] = 0.0
        return rest(sweep, step, left)

    def _least(self, factors: Array, slopes: Array) -> tuple[Array, Array]:
        """Return the least values of windows less their slopes, and how far these may be off.

        Args:
            factors: Of ReLUs, shape `(leaves, windows, channels)`.
            slopes: Shape `(leaves, windows, inputs)`.
        """
        count, channels, inputs = self._weight.shape
        step = max(HELD // (channels << inputs), 1)
        least = np.empty(factors.shape[:2])
        for start in range(0, count, step):
            part = slice(start, start + step)
            cells = _Cells(self._low[part], self._high[part])
            lines = self._lines(part, cells)
            for leaf in range(len(factors)):
                own = factors[leaf, part], slopes[leaf, part]
                least[leaf, part] = self._in_cells(part, cells, lines, own)
        sizes = np.abs(factors)
        size = (sizes * self._size).sum(axis=2) + (np.abs(slopes) * self._reach).sum(axis=2)
        return least, (16 * self._unit * size + (sizes * self._lost).sum(axis=2)) * SPARE + TINY

    def _lines(self, part: slice, cells: _Cells) -> tuple[Array, Array, Array]:
        """Return lower and upper slopes of ReLUs in cells, and upper intercepts."""
        weight = self._weight[part].transpose(0, 2, 1)
        value = cells.center @ weight + self._bias[part, None]
        reach = cells.radius @ np.abs(weight)
        reach = reach + (8 * self._unit * self._size[part] * SPARE + self._lost[part])[:, None]
        lines = relu_lines([(value - reach, value + reach)])
        return lines.lower[0], lines.upper[0], lines.above

    def _in_cells(
        self,
        part: slice,
        cells: _Cells,
        lines: tuple[Array, Array, Array],
        own: tuple[Array, Array],
    ) -> Array:
        """Return the least value of each window's lines less its slopes, rounding not counted."""
        (lower, upper, above), factors, slopes = lines, own[0][:, None], own[1][:, None]
        chosen = factors * np.where(factors > 0, lower, upper)
        value = (chosen @ self._bias[part, :, None])[:, :, 0]
        value = value + (np.minimum(factors, 0.0) * above).sum(axis=2)
        left = chosen @ self._weight[part] - slopes
        value = (
            value + (left * cells.center).sum(axis=2) - (np.abs(left) * cells.radius).sum(axis=2)
        )
        return np.asarray(value.min(axis=1))


class _Cells:
    """Boxes with each input halved; center and radius, shape `(windows, cells, inputs)`."""

    def __init__(self, low: Array, high: Array) -> None:
        upper = np.array(list(combinations((False, True), repeat=low.shape[1])), dtype=bool)
        point = middle(low, high)[0][:, None]
        ends = np.where(upper, point, low[:, None]), np.where(upper, high[:, None], point)
        self.center, self.radius = middle(*ends)


def _windowed(
    enclosure: Enclosure, windows: Windows, name: str
) -> Callable[[Integers, Cross], Cross]:
    return _Table(enclosure, windows, name).cross


WINDOWS = Part("windows of a first layer", windows=_windowed)
