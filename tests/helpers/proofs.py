"""Proofs made by hand, and exact arithmetic to judge them by."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers.proof import CheckedNetwork, Common, InputTree, NeuronTree, Proof, read_network
from solvers.proof.bounds import RELU
from solvers.proof.network import Affine, dense
from tests.helpers import networks

Array = NDArray[Any]


def relu_net(weights: Sequence[tuple[Array, Array]]) -> bytes:
    """Serialise dense layers `(weight (outputs, inputs), bias)` with ReLUs between them.

    Pre-activations are called z0, z1, …; numbers are held in float32.
    """
    nodes, stored, last = [], {}, "x"
    for layer, (weight, bias) in enumerate(weights):
        stored[f"w{layer}"] = np.asarray(weight, dtype=np.float32)
        stored[f"b{layer}"] = np.asarray(bias, dtype=np.float32)
        out = "y" if layer == len(weights) - 1 else f"z{layer}"
        nodes.append(networks.node("Gemm", [last, f"w{layer}", f"b{layer}"], [out], transB=1))
        if out != "y":
            last = f"a{layer}"
            nodes.append(networks.node("Relu", [out], [last]))
    return networks.model(nodes, shape=(1, np.shape(weights[0][0])[1]), weights=stored)


def random_layers(sizes: Sequence[int], seed: int) -> list[tuple[Array, Array]]:
    """Return normal weights and biases, rounded to float32."""
    rng = np.random.default_rng(seed)
    return [
        (
            rng.normal(size=(after, before)).astype(np.float32),
            rng.normal(size=after).astype(np.float32) / 2,
        )
        for before, after in pairwise(sizes)
    ]


def exact_vectors(network: CheckedNetwork, x: Array) -> list[list[Fraction]]:
    """Evaluate every vector of a network of ReLUs in rational arithmetic.

    Coefficients are those held. Where the real ones are only near them, bounds hold for all that
    are as near, and so for these.
    """
    values = [[Fraction(float(v)) for v in x]]
    for operation in network.operations:
        if not isinstance(operation, Affine):
            assert operation.function is RELU
            values.append([max(v, Fraction(0)) for v in values[operation.sources[0]]])
            continue
        total = [Fraction(float(b)) for b in operation.bias]
        for term in operation.terms:
            for row, entries in enumerate(dense(term.matrix)):
                for column in np.flatnonzero(entries):
                    factor = Fraction(float(entries[column]))
                    total[row] += factor * values[term.source][column]
        values.append(total)
    return values


@dataclass
class TreeBuilder:
    """One neuron tree in the making; splits and leaves are added in preorder."""

    values: tuple[tuple[str, int], ...]
    kind: list[int] = field(default_factory=list)
    splits: list[tuple[int, float]] = field(default_factory=list)
    tightens: list[list[tuple[int, int]]] = field(default_factory=list)
    leaves: list[tuple[int, int]] = field(default_factory=list)
    alpha: list[Sequence[int]] = field(default_factory=list)
    gamma: list[dict[int, float]] = field(default_factory=list)
    slopes: list[int] = field(default_factory=list)

    def split(self, value: int, point: float = 0.0) -> None:
        self.kind.append(1)
        self.splits.append((value, point))

    def tighten(self, *bounds: tuple[int, int], alpha: Sequence[Sequence[int]] = ()) -> None:
        """Add a tightening; a common tree has slopes for each bound, or none for adaptive ones."""
        self.kind.append(2)
        self.tightens.append(list(bounds))
        first = len(self.alpha)
        self.slopes += range(first, first + len(alpha)) if alpha else [-1] * len(bounds)
        self.alpha += alpha

    def leaf(
        self,
        row: int,
        alpha: Sequence[int] | None = None,
        gamma: dict[int, float] | None = None,
        kind: int = 0,
    ) -> None:
        self.kind.append(kind)
        self.leaves.append((row, -1 if alpha is None else len(self.alpha)))
        if alpha is not None:
            self.alpha.append(alpha)
        self.gamma.append(gamma or {})

    def close(self, row: int, **more: Any) -> None:  # noqa: ANN401
        """Prove a clause in a domain of a common tree that goes on."""
        self.leaf(row, kind=3, **more)

    def common(self) -> NeuronTree:
        """Return the one tree of all clauses."""
        return self.tree(common=Common(np.array(self.slopes, np.int32)))

    def tree(self, **changes: Any) -> NeuronTree:  # noqa: ANN401
        size = sum(count for _, count in self.values)
        index = np.concatenate([np.zeros(0), *(np.arange(count) for _, count in self.values)])
        flat = [bound for bounds in self.tightens for bound in bounds]
        pairs = [pair for gamma in self.gamma for pair in gamma.items()]
        fields: dict[str, Any] = {
            "values": self.values,
            "index": index.astype(np.int32),
            "groups": (),
            "kind": np.array(self.kind, np.uint8),
            "split_value": np.array([v for v, _ in self.splits], np.int32),
            "split_point": np.array([p for _, p in self.splits], np.float64),
            "tighten_start": np.cumsum([0, *map(len, self.tightens)]).astype(np.int64),
            "tighten_value": np.array([v for v, _ in flat], np.int32),
            "tighten_side": np.array([s for _, s in flat], np.uint8),
            "leaf_row": np.array([row for row, _ in self.leaves], np.int32),
            "leaf_alpha": np.array([a for _, a in self.leaves], np.int32),
            "alpha": np.array(self.alpha, np.uint8).reshape(len(self.alpha), size),
            "gamma_start": np.cumsum([0, *map(len, self.gamma)]).astype(np.int64),
            "gamma_value": np.array([v for v, _ in pairs], np.int32),
            "gamma": np.array([g for _, g in pairs], np.float32),
        }
        return NeuronTree(**{**fields, **changes})


def whole(kinds: Sequence[int]) -> InputTree:
    """Return one leaf a case, of the kinds given."""
    leaves = len(kinds)
    return InputTree(np.full(leaves, -1, np.int32), np.zeros(0), np.array(kinds, dtype=np.int32))


def proof_of(content: bytes, lower: Array, upper: Array, **changes: Any) -> Proof:  # noqa: ANN401
    """Return a proof that Y_0 > 0 on one box, closed as it is, but for the changes given."""
    network = read_network(content)
    matrix = np.zeros((1, network.sizes[network.output]))
    matrix[0, 0] = 1.0
    fields: dict[str, Any] = {
        "producer": "by hand",
        "network_sha256": hashlib.sha256(content).hexdigest(),
        "specification_sha256": None,
        "normalization": None,
        "input_shape": network.input_shape,
        "lower": np.atleast_2d(np.asarray(lower, dtype=np.float64)),
        "upper": np.atleast_2d(np.asarray(upper, dtype=np.float64)),
        "balls": None,
        "matrix": matrix,
        "offset": np.zeros(1),
        "row_case": np.zeros(1, np.int32),
        "row_clause": np.zeros(1, np.int32),
        "tree": whole([0]),
        "trees": (),
    }
    return Proof(**{**fields, **changes})
