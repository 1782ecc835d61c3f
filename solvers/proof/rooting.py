"""The checker's own bounds, for producers of proofs to stand on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from solvers.proof.bounds import Array, Enclosure, Region
from solvers.proof.checker import HELD_VALUES
from solvers.proof.container import Ball, BoundGroup, NeuronTree, Planes, ProofError, require
from solvers.proof.network import CheckedNetwork
from solvers.proof.parts.balls import BallRegion
from solvers.proof.parts.planes import PlaneTable
from solvers.proof.parts.splits import apply_groups, columns_of, leaf_bounds

__all__ = ["bound_boxes", "region_of", "root_bounds", "tree_bounds"]

Layout = tuple[Sequence[tuple[str, int]], NDArray[np.int32]]
"""Names and counts of values, and their flat indices, as in `NeuronTree`."""


def region_of(lower: Array, upper: Array, ball: Ball | None = None) -> Region:
    """Return boxes, inside a ball where there is one."""
    return Region(lower, upper) if ball is None else BallRegion(lower, upper, ball)


def bound_boxes(
    network: CheckedNetwork, lower: Array, upper: Array, matrix: Array, offset: Array,
    *, ball: Ball | None = None,
) -> Array:  # fmt: skip
    """Return rigorous lower bounds of C y − d over boxes, shape `(boxes, rows)`.

    Intervals, then backward passes with adaptive slopes for all undecided pre-activations, then
    one for every row.

    Args:
        network: As read from the file.
        lower: Corners, shape `(boxes, inputs)`, finite.
        upper: The same, nowhere below `lower`.
        matrix: C, shape `(rows, outputs)`.
        offset: d, shape `(rows,)`.
        ball: Inside which all boxes are taken, or None.

    Raises:
        ProofError: A bound overflows.
    """
    step = max(HELD_VALUES // (max(4, len(matrix)) * sum(network.sizes)), 1)
    found = [
        Enclosure.of(network, region_of(lower[i : i + step], upper[i : i + step], ball)).rows(
            matrix
        )
        for i in range(0, len(lower), step)
    ]
    return np.nextafter(np.concatenate(found) - offset, -np.inf)


def root_bounds(
    network: CheckedNetwork,
    lower: Array,
    upper: Array,
    groups: Sequence[BoundGroup] = (),
    layout: Layout | None = None,
    *,
    ball: Ball | None = None,
    planes: Planes | None = None,
) -> Mapping[str, tuple[Array, Array]]:
    """Return the bounds of pre-activations that a check derives over one box.

    Args:
        network: As read from the file.
        lower: Corner, shape `(inputs,)`.
        upper: The other corner.
        groups: Bounds with slopes of their own, in this order, after adaptive ones of all tensors.
        layout: What the columns of the groups' slopes stand for; None if no group has any.
        ball: Inside which the box is taken, or None.
        planes: Of passes of the groups, or None.

    Returns:
        By ONNX name, lower and upper bounds, shape `(values,)` both.

    Raises:
        ProofError: A group does not fit the network, or a bound overflows.
    """
    enclosure = Enclosure.of(network, region_of(lower[None], upper[None], ball))
    values, index = layout or ((), np.zeros(0, np.int32))
    parts = columns_of(network, values, index)
    for group in groups:
        fit = group.alpha is None or group.alpha.shape[1] == len(index)
        require(fit, "slopes do not fit the values they belong to")
    apply_groups(enclosure, groups, parts, PlaneTable(network, planes, parts, "the tree"))
    return {
        name: (enclosure.lower[vector][0], enclosure.upper[vector][0])
        for name, vector in network.names.items()
        if vector in network.read_vectors
    }


def tree_bounds(
    network: CheckedNetwork,
    lower: Array,
    upper: Array,
    tree: NeuronTree,
    rows: tuple[Array, NDArray[np.int64]],
    *,
    ball: Ball | None = None,
) -> tuple[NDArray[np.int64], Array]:
    """Return what a check derives in the leaves of a tree that closes one box.

    Args:
        network: As read from the file.
        lower: Corner, shape `(inputs,)`.
        upper: The other corner.
        tree: Its leaves name rows of those given, counted from 0.
        rows: Coefficients of the outputs, shape `(rows, outputs)`, and the clause of each row.
        ball: Inside which the box is taken, or None.

    Returns:
        Row and lower bound in every leaf that is not empty.

    Raises:
        ProofError: The tree does not fit the network or itself.
    """
    enclosure = Enclosure.of(network, region_of(lower[None], upper[None], ball))
    found = list(leaf_bounds(enclosure, tree, (*rows, 0), "the tree", _unknown))
    row, bounds = ([part[k] for part in found] for k in (0, 1))
    return np.concatenate(row), np.concatenate(bounds)


def _unknown(kind: str) -> NoReturn:
    raise ProofError(f"the tree relies on {kind}")
