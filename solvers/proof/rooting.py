"""The checker's own bounds, for producers of proofs to stand on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from solvers.proof.bounds import Array, Enclosure, Region
from solvers.proof.checker import HELD_VALUES
from solvers.proof.container import Ball, BoundGroup, NeuronTree, Planes, ProofError, require
from solvers.proof.network import Affine, CheckedNetwork, Term
from solvers.proof.parts.balls import BallRegion
from solvers.proof.parts.planes import PlaneTable
from solvers.proof.parts.splits import leaf_bounds
from solvers.proof.parts.walks import apply_groups, columns_of
from solvers.proof.parts.windows import WINDOWS

__all__ = ["bound_boxes", "read_side_by_side", "region_of", "root_bounds", "tree_bounds"]

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
    plain: Enclosure | None = None,
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
        plain: What is known of the box without groups; None to find that out.

    Returns:
        By ONNX name, lower and upper bounds, shape `(values,)` both. Tensors that nonlinear steps
        read side by side with others are among them.

    Raises:
        ProofError: A group does not fit the network, or a bound overflows.
    """
    if plain is None:
        plain = Enclosure.of(network, region_of(lower[None], upper[None], ball))
    enclosure = _copied(plain)
    values, index = layout or ((), np.zeros(0, np.int32))
    parts = columns_of(network, values, index)
    for group in groups:
        fit = group.alpha is None or group.alpha.shape[1] == len(index)
        require(fit, "slopes do not fit the values they belong to")
    apply_groups(enclosure, groups, parts, PlaneTable(network, planes, parts, "the tree"))
    _spread_back(enclosure)
    read = read_side_by_side(network) | network.read_vectors
    return {
        name: (enclosure.lower[vector][0], enclosure.upper[vector][0])
        for name, vector in network.names.items()
        if vector in read
    }


def read_side_by_side(network: CheckedNetwork) -> set[int]:
    """Return vectors of which nonlinear steps read copies, beside those of others."""
    return {term.source for _, term in _copies(network)}


def _copies(network: CheckedNetwork) -> Iterator[tuple[int, Term]]:
    """Yield vectors that nonlinear steps read, with selections that they consist of."""
    for step in network.operations:
        if isinstance(step, Affine) and step.output in network.read_vectors:
            single = all(sparse.issparse(t.matrix) and not t.share for t in step.terms)
            if single and len(step.terms) > 1 and not (step.bias.any() or step.bias_error.any()):
                total = sum(term.absolute.sum(axis=1) for term in step.terms)
                if (np.asarray(total) == 1).all():
                    yield from ((step.output, term) for term in step.terms)


def _spread_back(enclosure: Enclosure) -> None:
    """Let vectors have the bounds of their copies."""
    for vector, term in _copies(enclosure.network):
        places = sparse.coo_array(term.matrix)
        used = places.data == 1
        row, column = places.row[used], places.col[used]
        for ends, closer in ((enclosure.lower, np.maximum), (enclosure.upper, np.minimum)):
            closer.at(ends[term.source][0], column, ends[vector][0, row])


def _copied(enclosure: Enclosure) -> Enclosure:
    """Return an enclosure whose bounds can be improved without the other's."""
    lower, upper = ([end.copy() for end in ends] for ends in (enclosure.lower, enclosure.upper))
    size, loss = list(enclosure.size), list(enclosure.loss)
    return replace(enclosure, lower=lower, upper=upper, size=size, loss=loss, lines={})


def tree_bounds(
    network: CheckedNetwork,
    lower: Array,
    upper: Array,
    tree: NeuronTree,
    rows: tuple[Array, NDArray[np.int64]],
    *,
    ball: Ball | None = None,
    plain: Enclosure | None = None,
) -> tuple[NDArray[np.int64], Array]:
    """Return what a check derives in the leaves of a tree that closes one box.

    Args:
        network: As read from the file.
        lower: Corner, shape `(inputs,)`.
        upper: The other corner.
        tree: Its leaves name rows of those given, counted from 0.
        rows: Coefficients of the outputs, shape `(rows, outputs)`, and the clause of each row.
        ball: Inside which the box is taken, or None.
        plain: What is known of the box without the tree; None to find that out.

    Returns:
        Row and lower bound in every leaf that is not empty.

    Raises:
        ProofError: The tree does not fit the network or itself.
    """
    if plain is None:
        plain = Enclosure.of(network, region_of(lower[None], upper[None], ball))
    found = list(leaf_bounds(_copied(plain), tree, (*rows, 0), "the tree", _known))
    row, bounds = ([part[k] for part in found] for k in (0, 1))
    return np.concatenate(row), np.concatenate(bounds)


def _known(kind: str) -> Any:  # noqa: ANN401  whatever a part says of it
    if kind != "windows":
        raise ProofError(f"the tree relies on {kind}")
    return WINDOWS.windows
