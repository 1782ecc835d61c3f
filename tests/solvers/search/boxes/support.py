"""What tests of the search over boxes share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from models.fold import fold_affine
from models.network import Network
from models.operators import Linear
from solvers.bracket import Bracket, Witness
from solvers.budget import Budget
from solvers.problem import Box, Case, Clause, Specification
from solvers.search.boxes import BoxSearchOptions, search_boxes
from solvers.search.boxes.boxes import Boxes
from solvers.search.boxes.layout import Layout
from solvers.search.contract import SearchOutcome

FloatArray = NDArray[np.float64]


class TorchRuntime:
    """Runs a network in float32."""

    def __init__(self, network: Network) -> None:
        self._network = network.to(torch.float32)

    def run(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            return self._network(torch.from_numpy(x)).flatten(1).numpy()


class Leaves:
    """Keeps every leaf."""

    def __init__(self) -> None:
        self.cases: list[int] = []
        self.lower: list[FloatArray] = []
        self.upper: list[FloatArray] = []

    def leaves(self, cases: NDArray[np.int64], lower: FloatArray, upper: FloatArray) -> None:
        self.cases += cases.tolist()
        self.lower += list(lower)
        self.upper += list(upper)


def layers_of(network: Network) -> list[tuple[FloatArray, FloatArray]]:
    """Return weights and biases of a network of dense layers, in float64."""
    return [
        (
            node.operator.weight.resolve(network.parameters).double().numpy(),
            node.operator.bias.resolve(network.parameters).double().numpy(),
        )
        for node in network.graph.nodes
        if isinstance(node.operator, Linear) and node.operator.bias is not None
    ]


def random_specification(
    generator: np.random.Generator, outputs: int, *, clauses: int = 1, rows: int = 1
) -> Specification:
    """Return clauses of random rows, with offsets of either sign."""
    return Specification(
        tuple(
            Clause(generator.normal(size=(rows, outputs)), generator.normal(size=rows) - 1.0)
            for _ in range(clauses)
        )
    )


def search(
    network: Network,
    cases: Sequence[Case],
    options: BoxSearchOptions | None = None,
    *,
    budget: Budget | None = None,
) -> tuple[SearchOutcome, list[Bracket]]:
    """Search cases of a network given in any precision."""
    wide = network.to(torch.float64)
    brackets = [Bracket(case) for case in cases]
    outcome = search_boxes(
        fold_affine(wide),
        brackets,
        Witness(wide, TorchRuntime(network)),
        options=options or BoxSearchOptions(),
        budget=budget or Budget.of_seconds(60),
    )
    return outcome, brackets


def cube(inputs: int, radius: float = 1.0, center: float = 0.0) -> Box:
    """Return a cube."""
    return Box(np.full(inputs, center - radius), np.full(inputs, center + radius))


def roots(layout: Layout) -> Boxes:
    """Return the regions as boxes of which nothing is known."""
    count = layout.cases
    return Boxes(
        layout.lower,
        layout.upper,
        torch.arange(count),
        torch.where(layout.present, -torch.inf, torch.inf).double(),
        torch.full((count,), torch.inf, dtype=torch.float64),
        layout.upper - layout.lower,
        torch.zeros(count, dtype=torch.long),
        {},
    )
