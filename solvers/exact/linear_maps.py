"""Operators that are linear maps, as sparse matrices assembled by index arithmetic.

Structural operators are run once on a tensor of indices, so the encoding cannot drift from what
the operator computes. Convolutions become sparse matrices with one entry per weight and position.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from models.operators import MaxPool, Operator
from solvers.exact.affine import IndexArray, from_triplets

if TYPE_CHECKING:
    from solvers.exact.model import SparseMatrix

__all__ = [
    "convolution_matrix",
    "index_map",
    "linear_matrix",
    "sum_matrix",
    "window_indices",
]

FloatArray = NDArray[np.float64]
Shape = tuple[int, ...]


def index_map(operator: Operator, shapes: Sequence[Shape]) -> IndexArray:
    """Return where each output of a structural operator comes from.

    Args:
        operator: Moves, copies or pads (with −1) the values of its inputs.
        shapes: Of its inputs, without the batch axis.

    Returns:
        For each output in row-major order, the position in the concatenated inputs, or −1.
    """
    inputs, first = [], 0
    for shape in shapes:
        count = prod(shape)
        # float64 holds these integers exactly, and every torch operator accepts it
        inputs.append(torch.arange(first, first + count, dtype=torch.float64).reshape(1, *shape))
        first += count
    index: IndexArray = operator.forward(inputs, {}).numpy().ravel().astype(np.int64)
    return index


def window_indices(pool: MaxPool, shape: Shape) -> IndexArray:
    """Return which inputs each window covers.

    Args:
        pool: Describes the windows; what it computes over them does not matter.
        shape: Of the input, `(n, channels, *spatial)`.

    Returns:
        Shape `(n, channels, *output_spatial, window)`; −1 where a window covers padding.
    """
    index = torch.arange(prod(shape), dtype=torch.float64).reshape(1, *shape)
    windows: IndexArray = pool.windows(index, -1.0)[0].numpy().astype(np.int64)
    return windows


def linear_matrix(weight: FloatArray, positions: int) -> SparseMatrix:
    """Return the matrix that applies `weight` to the last axis at each of `positions` places.

    Args:
        weight: Shape `(outputs, inputs)`.
        positions: Product of the leading axes.
    """
    outputs, inputs = weight.shape
    row, column = np.nonzero(weight)
    place = np.arange(positions)[:, None]
    return from_triplets(
        np.tile(weight[row, column], positions),
        (place * outputs + row).ravel(),
        (place * inputs + column).ravel(),
        (positions * outputs, positions * inputs),
    )


def convolution_matrix(
    weight: FloatArray,
    pool: MaxPool,
    shape: Shape,
    *,
    groups: int,
    output_spatial: Shape,
) -> SparseMatrix:
    """Return the matrix of a cross-correlation.

    Args:
        weight: Shape `(out_channels, in_channels / groups, *kernel)`.
        pool: The convolution's windows.
        shape: Of the input, `(n, in_channels, *spatial)`.
        groups: Number of groups.
        output_spatial: Windows beyond these sizes are left out.

    Returns:
        Shape `(n · out_channels · positions, inputs)`.
    """
    crop = tuple(slice(0, size) for size in output_spatial)
    windows = window_indices(pool, shape)[(slice(None), slice(None), *crop)]
    count, channels = shape[:2]
    outputs, members = weight.shape[:2]
    # (n, groups, members, positions, window)
    windows = windows.reshape(count, groups, members, prod(output_spatial), -1)
    kernel = weight.reshape(groups, outputs // groups, members, -1)
    full = (count, groups, outputs // groups, members, windows.shape[3], windows.shape[4])
    column = np.broadcast_to(windows[:, :, None], full)
    value = np.broadcast_to(kernel[None, :, :, :, None, :], full)
    row = np.arange(count * outputs * windows.shape[3]).reshape(
        count, groups, outputs // groups, 1, windows.shape[3], 1
    )
    inside = column >= 0
    return from_triplets(
        value[inside],
        np.broadcast_to(row, full)[inside],
        column[inside],
        (row.size, count * channels * prod(shape[2:])),
    )


def sum_matrix(windows: IndexArray, inputs: int, weight: float = 1.0) -> SparseMatrix:
    """Return the matrix that sums `weight` times each window.

    Args:
        windows: Shape `(outputs, window)`, −1 for padding that counts as 0.
        inputs: Number of inputs.
        weight: Factor of every entry.
    """
    row, place = np.nonzero(windows >= 0)
    values = np.full(row.size, weight)
    return from_triplets(values, row, windows[row, place], (windows.shape[0], inputs))
