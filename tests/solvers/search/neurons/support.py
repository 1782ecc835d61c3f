"""What tests of the search over neurons share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.fold import fold_affine
from models.network import Network
from models.operators import Add, Linear, Multiply, Relu
from solvers.bounds import BoundOptions, Interval, boxes_to_interval
from solvers.bracket import Bracket, Witness
from solvers.budget import Budget
from solvers.ladder import CaseBatch
from solvers.methods import Method
from solvers.problem import Box, Case, Clause, Specification
from solvers.search.contract import SearchOutcome
from solvers.search.neurons import NeuronSearchOptions, search_neurons
from solvers.search.neurons.bounding import Bounder, Functions
from solvers.search.neurons.crossing import Terms
from solvers.search.neurons.domains import Domains
from solvers.search.neurons.layout import Layout, layout_of
from solvers.search.neurons.pace import Choice
from solvers.search.neurons.sharpening import Sharpener
from tests.helpers.graphs import GraphBuilder

FloatArray = NDArray[np.float64]


@contextmanager
def always_sharp() -> Iterator[None]:
    """Grow the tree that tightens bounds first from the beginning, and no other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Choice, "second", property(lambda _: True))
        patch.setattr(Sharpener, "affordable", property(lambda _: True))
        yield


class TorchRuntime:
    """Runs a network in float32."""

    def __init__(self, network: Network) -> None:
        self._network = network.to(torch.float32)

    def run(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            return self._network(torch.from_numpy(x)).flatten(1).numpy()


def witness_of(network: Network) -> Witness:
    return Witness(network.to(torch.float64), TorchRuntime(network))


def search(
    network: Network,
    case: Case,
    options: NeuronSearchOptions | None = None,
    *,
    budget: Budget | None = None,
) -> tuple[SearchOutcome, Bracket]:
    """Search one case from CROWN's bounds on, for a few seconds at most."""
    bracket = Bracket(case)
    outcome = search_neurons(
        fold_affine(network.to(torch.float64)),
        bracket,
        witness_of(network),
        options=options or NeuronSearchOptions(),
        budget=budget or Budget.of_seconds(60.0),
    )
    return outcome, bracket


def random_box(generator: np.random.Generator, shape: tuple[int, ...], width: float = 1.0) -> Box:
    lower = generator.normal(size=shape)
    return Box(lower, lower + width * generator.random(shape))


def below(row: Sequence[float], offset: float = 0.0) -> Specification:
    """Return the condition that `row · y ≤ offset`."""
    return Specification((Clause(np.array([row], dtype=np.float64), np.array([offset])),))


def crown_bounds(network: Network, region: Box) -> dict[str, Interval]:
    """Return CROWN's bounds of every node."""
    zero = np.zeros(network.output_size)
    zero[0] = 1.0
    batch = CaseBatch(network, [Case(region, below(zero.tolist()))])
    return dict(batch.bound(Method.CROWN, options=BoundOptions()).intermediate)


class Domain:
    """A network, a random domain of it, and inputs that lie in the domain.

    Every value that can be split gets one of its bounds moved to somewhere between the values
    that the inputs give it, with probability a half; inputs that are cut off are dropped.
    """

    def __init__(self, network: Network, region: Box, generator: np.random.Generator) -> None:
        self.network = fold_affine(network.to(torch.float64))
        self.region = region
        self.layout = layout_of(self.network, crown_bounds(self.network, region))
        share = generator.random((500, *region.shape))
        share[: len(share) // 4] = np.round(share[: len(share) // 4])
        x = torch.from_numpy(region.lower + share * (region.upper - region.lower))
        values = self.network.graph.evaluate(x, self.network.parameters)
        self.outputs = values[self.network.graph.output].flatten(1)
        flat = [values[s.node.name].flatten(1)[:, s.indices] for s in self.layout.slots]
        self.values = torch.cat([torch.zeros(len(x), 0, dtype=x.dtype), *flat], dim=1)
        self.lower, self.upper = self.layout.lower.clone(), self.layout.upper.clone()
        for place in generator.permutation(self.layout.size)[:4]:
            self._cut(int(place), generator)

    def _cut(self, place: int, generator: np.random.Generator) -> None:
        point = self.values[int(generator.integers(len(self.values))), place].float()
        keep = self.values[:, place] <= point.double()
        if generator.random() < 0.5:
            keep = ~keep
            self.lower[place] = torch.maximum(self.lower[place], point)
        else:
            self.upper[place] = torch.minimum(self.upper[place], point)
        if bool(keep.any()):
            self.values, self.outputs = self.values[keep], self.outputs[keep]
        else:
            self.lower[place], self.upper[place] = (
                self.layout.lower[place],
                self.layout.upper[place],
            )

    def terms(self, alpha: Tensor, gamma: Tensor) -> Terms:
        """Return terms for rows `(rows, size)` in the domain."""
        shape = (alpha.shape[0], -1)
        return Terms(self.lower.expand(shape), self.upper.expand(shape), alpha, gamma)

    def whole(self, floor: float) -> Domains:
        """Return it as the only domain of a search, with one row and slopes of 0."""
        none = torch.zeros(1, dtype=torch.long)
        slopes = torch.zeros(1, 1, self.layout.size)
        return Domains(
            none,
            torch.full((1,), floor, dtype=torch.float64),
            none,
            none,
            self.lower.unsqueeze(0),
            self.upper.unsqueeze(0),
            slopes,
            slopes.clone(),
            none.unsqueeze(0),
        )

    def bounder(self, dtype: torch.dtype = torch.float64, *, moves: bool = True) -> Bounder:
        region = boxes_to_interval([self.region], torch.float64)
        return Bounder(self.layout, region, None, dtype=dtype, moves=moves)

    def functions(self, rows: Tensor) -> Functions:
        """Return linear functions of the output, shape `(rows, outputs)`, without an offset."""
        shape = (len(rows), *self.network.output_shape)
        return Functions(rows.reshape(shape), torch.zeros(len(rows), dtype=rows.dtype))


def beside_a_product() -> Network:
    """Two layers of ReLUs, and products of numbers that move little."""
    b, generator = GraphBuilder((2,)), np.random.default_rng(5)
    for size, before in ((8, 2), (8, 8)):
        weight = generator.normal(size=(size, before)) / np.sqrt(before)
        b.add(Linear(b.parameter(weight), b.parameter(0.1 * generator.normal(size=size))))
        hidden = b.add(Relu())
    flat = generator.normal(size=(4, 2)) * 0.05
    factors = [
        b.add(Linear(b.parameter(f * flat), b.parameter(np.full(4, 3.0))), "x") for f in (1, -1)
    ]
    products = b.add(Multiply(), *factors)
    ends = [
        b.add(Linear(b.parameter(generator.normal(size=(1, size)))), name)
        for size, name in ((8, hidden), (4, products))
    ]
    b.add(Add((1.0, 1.0)), *ends)
    return b.network()


def layout_and_bounder(network: Network, region: Box) -> tuple[Layout, Bounder]:
    folded = fold_affine(network.to(torch.float64))
    layout = layout_of(folded, crown_bounds(folded, region))
    return layout, Bounder(
        layout, boxes_to_interval([region], torch.float64), None, dtype=torch.float32
    )


def least_on_segment(network: Network, region: Box, row: Sequence[float]) -> Fraction:
    """Return the least value of `row · y` where one input alone varies, in rational arithmetic.

    On a segment a network of dense layers and ReLUs is linear piece by piece. Pieces are cut at
    every zero of every neuron, so the least value is at an end of one.
    """
    (axis,) = np.flatnonzero(region.upper.ravel() > region.lower.ravel())
    start = [Fraction(float(v)) for v in region.lower.ravel()]
    width = Fraction(float(region.upper.ravel()[axis])) - start[axis]
    slope = [Fraction(0)] * len(start)
    slope[axis] = width
    pieces = [(Fraction(0), Fraction(1), list(zip(start, slope, strict=True)))]
    for node in network.graph.nodes[1:]:
        if isinstance(node.operator, Linear):
            weight = node.operator.weight.resolve(network.parameters).double().tolist()
            assert node.operator.bias is not None
            bias = node.operator.bias.resolve(network.parameters).double().tolist()
            pieces = [(a, b, _affine(lines, weight, bias)) for a, b, lines in pieces]
        else:
            assert isinstance(node.operator, Relu)
            pieces = [part for piece in pieces for part in _cut_at_zeros(*piece)]
    ends = [
        sum(
            (Fraction(c) * (at + slope * t) for c, (at, slope) in zip(row, lines, strict=True)),
            Fraction(0),
        )
        for a, b, lines in pieces
        for t in (a, b)
    ]
    return min(ends)


_Lines = list[tuple[Fraction, Fraction]]


def _affine(lines: _Lines, weight: list[list[float]], bias: list[float]) -> _Lines:
    return [
        (
            sum((Fraction(w) * at for w, (at, _) in zip(row, lines, strict=True)), Fraction(b)),
            sum((Fraction(w) * s for w, (_, s) in zip(row, lines, strict=True)), Fraction(0)),
        )
        for row, b in zip(weight, bias, strict=True)
    ]


def _cut_at_zeros(
    a: Fraction, b: Fraction, lines: _Lines
) -> list[tuple[Fraction, Fraction, _Lines]]:
    zeros = sorted({-at / slope for at, slope in lines if slope and a < -at / slope < b})
    marks = [a, *zeros, b]
    parts = []
    for low, high in pairwise(marks):
        middle = (low + high) / 2
        kept = [
            (at, slope) if at + slope * middle > 0 else (Fraction(0), Fraction(0))
            for at, slope in lines
        ]
        parts.append((low, high, kept))
    return parts
