"""Multipliers of semidefinite relaxations made by hand, and networks to try them on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models.fold import fold_affine
from models.onnx_import import load_network
from solvers.bounds import BoundOptions
from solvers.budget import Budget
from solvers.convex.sdp import SdpOptions, sdp_margin
from solvers.convex.sdp.safe import best_repair
from solvers.ladder import CaseBatch
from solvers.methods import Method
from solvers.problem import Box, Case, Clause, Specification
from solvers.proof import CheckedNetwork, read_network
from solvers.proof.bounds import Enclosure, Region
from solvers.proof.container import Duals
from solvers.proof.network import dense
from solvers.proof.parts.lifted import Relaxation
from solvers.proof.parts.semidefinite import Dual, dual_matrix
from solvers.proof.producing.found_duals import FoundDuals
from solvers.proof.producing.trace import Trace
from tests.helpers.proofs import relu_net
from tests.helpers.rational import Layer

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Relaxed:
    """A network in one box, and its relaxation."""

    content: bytes
    layers: Sequence[Layer]
    network: CheckedNetwork
    box: Box
    enclosure: Enclosure
    relaxation: Relaxation
    parts: dict[int, tuple[slice, NDArray[np.intp]]]

    @property
    def values(self) -> tuple[tuple[str, int], ...]:
        """Names and counts of the values that have columns."""
        names = {vector: name for name, vector in self.network.names.items()}
        return tuple((names[vector], len(own)) for vector, (_, own) in self.parts.items())

    @property
    def index(self) -> NDArray[np.int32]:
        """Flat indices of these values."""
        return np.concatenate([own for _, own in self.parts.values()]).astype(np.int32)

    def columns_at(self, vectors: Sequence[Array]) -> Array:
        """Return w of a run, given all vectors of it."""
        low, high = self.enclosure.lower[0][0], self.enclosure.upper[0][0]
        free = low < high
        found = [(vectors[0] - (low + high) / 2)[free] / ((high - low) / 2)[free]]
        for vector, (_, own) in self.parts.items():
            top = np.maximum(self.enclosure.upper[vector][0, own], 0)
            bottom = np.maximum(self.enclosure.lower[vector][0, own], 0)
            value = np.maximum(vectors[vector][own], 0)
            width = np.where(top > bottom, top - bottom, 1)
            found.append((2 * value - top - bottom) / width)
        return np.concatenate([[1.0], *found])


def relaxed(layers: Sequence[Layer], box: Box, *, all_values: bool = False) -> Relaxed:
    """Return a relaxation with a column for each value whose sign is open, or for all."""
    content = relu_net(layers)
    network = read_network(content)
    region = Region(box.lower.reshape(1, -1), box.upper.reshape(1, -1))
    enclosure = Enclosure.of(network, region)
    parts, start = {}, 0
    for vector in sorted(network.read_vectors):
        index = np.flatnonzero(enclosure.undecided(vector)[0] | all_values)
        parts[vector] = slice(start, start + len(index)), index
        start += len(index)
    relaxation = Relaxation(enclosure, parts)
    return Relaxed(content, layers, network, box, enclosure, relaxation, parts)


def random_dual(given: Relaxed, row: Array, generator: np.random.Generator) -> Dual:
    """Return multipliers of random products, with a γ that makes about all of them."""
    relaxation, count = given.relaxation, int(generator.integers(0, 30))
    forms = len(relaxation.forms.error)
    left, right = (generator.integers(0, forms, count) for _ in range(2))
    weight = generator.exponential(size=count) * float(10.0 ** generator.uniform(-3, 1))
    first, last = relaxation.heights
    value = np.arange(first, last)
    paired = generator.normal(size=len(value))
    diagonal = generator.exponential(size=relaxation.columns)
    dual = Dual(
        0.0,
        diagonal,
        np.concatenate([left, value]),
        np.concatenate([right, value + last - first]),
        np.concatenate([weight, paired]),
    )
    matrix, _ = dual_matrix(relaxation, row, dual)
    shift, corner = best_repair(dense(matrix))
    moved = dual._replace(diagonal=diagonal + shift, bound=corner - shift * relaxation.columns)
    return moved._replace(bound=moved.bound - 1e-9 * (1 + abs(moved.bound)))


def stored(duals: Sequence[Dual]) -> Duals:
    """Return multipliers as a file holds them."""
    return Duals(
        bound=np.array([dual.bound for dual in duals]),
        diagonal=np.stack([dual.diagonal for dual in duals]),
        start=np.cumsum([0, *(len(dual.left) for dual in duals)], dtype=np.int64),
        left=np.concatenate([dual.left for dual in duals]).astype(np.int32),
        right=np.concatenate([dual.right for dual in duals]).astype(np.int32),
        product=np.concatenate([dual.product for dual in duals]),
    )


@dataclass(frozen=True, eq=False)
class Bounded:
    """A case that a semidefinite relaxation proves by little, and with what."""

    content: bytes
    case: Case
    crown: Array
    lower: Array
    trace: Trace


def bounded(layers: Sequence[Layer], box: Box, rows: Array, *, share: float = 0.02) -> Bounded:
    """Return a case of one clause for each row, with offsets close below the bounds that hold.

    Args:
        layers: Of the network.
        box: Region.
        rows: Of the outputs.
        share: Of what the relaxation gains over CROWN is left as a margin.
    """
    content = relu_net(layers)
    network = fold_affine(load_network(content).to(torch.float64))
    plain = Case(box, Specification(tuple(Clause(row[None], np.zeros(1)) for row in rows)))
    step = CaseBatch(network, [plain]).bound(Method.CROWN, options=BoundOptions())
    bounds, crown = step.node_bounds(0), step.clause_lower[0]
    budget = Budget.of_seconds(60)
    lower = sdp_margin(network, plain, bounds, options=SdpOptions(), budget=budget).clause_lower
    offsets = lower - share * np.maximum(lower - crown, 1e-3)
    clauses = [Clause(row[None], np.array([at])) for row, at in zip(rows, offsets, strict=True)]
    case = Case(box, Specification(tuple(clauses)))
    result = sdp_margin(network, case, bounds, options=SdpOptions(), budget=budget)
    found = FoundDuals.of(network, bounds, result.duals)
    assert found is not None
    trace = Trace(duals={0: found})
    return Bounded(content, case, crown - offsets, result.clause_lower, trace)
