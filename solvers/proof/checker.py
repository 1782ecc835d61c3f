"""Decides whether a proof shows what it says, by deriving every bound anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from solvers.proof.bounds import Ball, Enclosure, Region, Slopes
from solvers.proof.container import BoundGroup, ProofError
from solvers.proof.network import CheckedNetwork

__all__ = ["bound_boxes", "root_bounds"]

Array = NDArray[np.float64]
Layout = tuple[Sequence[tuple[str, int]], NDArray[np.int32]]
"""Names and counts of values, and their flat indices, as in `NeuronTree`."""
MEMORY_VALUES = 1 << 24
"""Bounds of boxes that are held at once."""


def bound_boxes(
    network: CheckedNetwork, lower: Array, upper: Array, matrix: Array, offset: Array,
    *, ball: Ball | None = None,
) -> Array:  # fmt: skip
    """Return rigorous lower bounds of C y − d over boxes, shape `(boxes, rows)`.

    Intervals, then backward passes with adaptive slopes for all undecided pre-activations, then
    one for every row.

    Args:
        network: As read from the file.
        lower, upper: Corners, shape `(boxes, inputs)`, with lower ≤ upper and finite.
        matrix, offset: C and d, shapes `(rows, outputs)` and `(rows,)`.
        ball: Inside which all boxes are taken, or None.

    Raises:
        ProofError: A bound overflows.
    """
    step = max(MEMORY_VALUES // (4 * sum(network.sizes)), 1)
    found = []
    for start in range(0, len(lower), step):
        region = Region(lower[start : start + step], upper[start : start + step], ball)
        enclosure = Enclosure.of(network, region)
        found.append(_rows_bounds(enclosure, len(region.lower), matrix, offset))
    return np.concatenate(found)


def _rows_bounds(enclosure: Enclosure, boxes: int, matrix: Array, offset: Array) -> Array:
    """Bound all rows in all domains; C y − d is rounded down once more."""
    domain = np.repeat(np.arange(boxes), len(matrix))
    rows = np.tile(matrix, (boxes, 1))
    output = enclosure.network.output
    found = np.empty(len(rows))
    for part in enclosure.chunks(output, len(rows)):
        found[part] = enclosure.backward(output, rows[part], domain=domain[part])
    return np.nextafter(found.reshape(boxes, -1) - offset, -np.inf)


def root_bounds(
    network: CheckedNetwork,
    lower: Array,
    upper: Array,
    groups: Sequence[BoundGroup] = (),
    layout: Layout = ((), np.zeros(0, dtype=np.int32)),
    *,
    ball: Ball | None = None,
) -> Mapping[str, tuple[Array, Array]]:
    """Return the bounds of pre-activations that a check derives over one box.

    Args:
        network: As read from the file.
        lower, upper: Corners, shape `(inputs,)`.
        groups: Bounds with slopes of their own, in this order, after adaptive ones of all tensors.
        layout: What the columns of the groups' slopes stand for.
        ball: Inside which the box is taken, or None.

    Returns:
        By ONNX name, lower and upper bounds, shape `(values,)` both.

    Raises:
        ProofError: A group does not fit the network, or a bound overflows.
    """
    enclosure = Enclosure.of(network, Region(lower[None], upper[None], ball))
    apply_groups(enclosure, groups, _Layout.of(network, *layout))
    read = network.read_vectors
    return {
        name: (enclosure.lower[vector][0], enclosure.upper[vector][0])
        for name, vector in network.names.items()
        if vector in read
    }


class _Layout:
    """Which values have slopes, multipliers and splits: parts of vectors, one after the other."""

    def __init__(self, parts: Mapping[int, tuple[slice, NDArray[np.intp]]]) -> None:
        self.parts = parts

    @classmethod
    def of(
        cls, network: CheckedNetwork, values: Sequence[tuple[str, int]], index: NDArray[np.int32]
    ) -> _Layout:
        parts: dict[int, tuple[slice, NDArray[np.intp]]] = {}
        start = 0
        for name, count in values:
            vector = network.names.get(name)
            if vector is None or vector not in network.read_vectors:
                raise ProofError(f"no nonlinear operator of the network reads a tensor {name!r}")
            if vector in parts:
                raise ProofError(f"values of the tensor {name!r} are listed twice")
            own = index[start : start + count].astype(np.intp)
            if len(own) != count or len(np.unique(own)) != count:
                raise ProofError(f"values of the tensor {name!r} are missing or listed twice")
            if count and not 0 <= own.min() <= own.max() < network.sizes[vector]:
                raise ProofError(f"the tensor {name!r} has no value with one of the indices given")
            parts[vector] = slice(start, start + count), own
            start += count
        if start != len(index):
            raise ProofError("more indices of values are given than tensors have")
        return cls(parts)

    def slopes(self, alpha: NDArray[np.unsignedinteger] | None) -> Mapping[int, Slopes]:
        """Return lower slopes by vector, from fractions of the largest integer of their type."""
        if alpha is None:
            return {}
        share = alpha / float(np.iinfo(alpha.dtype).max)
        return {v: Slopes(own, share[:, part]) for v, (part, own) in self.parts.items()}


def apply_groups(enclosure: Enclosure, groups: Sequence[BoundGroup], layout: _Layout) -> None:
    """Improve bounds of a single domain by passes with the slopes of groups."""
    network = enclosure.network
    for group in groups:
        vector = network.names.get(group.tensor)
        if vector is None or vector not in network.read_vectors:
            raise ProofError(f"no nonlinear operator of the network reads {group.tensor!r}")
        if len(group.index) == 0:
            continue
        index = group.index.astype(np.intp)
        if not 0 <= index.min() <= index.max() < network.sizes[vector] or group.side.max() > 1:
            raise ProofError(f"bounds of {group.tensor!r} name a value or side that it lacks")
        signs = 1.0 - 2.0 * group.side
        for part in enclosure.chunks(vector, len(index)):
            alpha = group.alpha
            own = alpha if alpha is None or len(alpha) == 1 else alpha[part]
            found = enclosure.backward(
                vector, (index[part], signs[part]), slopes=layout.slopes(own)
            )
            for side in (0, 1):
                chosen = group.side[part] == side
                where = index[part][chosen]
                enclosure.improve(vector, np.zeros_like(where), where, side, found[chosen])
        enclosure.renew()
