"""The search: never wrong, and it ends with the right answer where networks are small."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.fold import fold_affine
from models.network import Network
from models.operators import (
    Add,
    Clip,
    Convolution,
    LeakyRelu,
    Linear,
    MaxPool,
    Multiply,
    Operator,
    PRelu,
    Relu,
    Reshape,
    Sigmoid,
    Tanh,
)
from solvers.bracket import Bracket
from solvers.budget import Budget
from solvers.problem import Box, Case, Clause, Specification
from solvers.search.contract import SearchProgress, SearchStatus
from solvers.search.neurons import NeuronSearchOptions, search_neurons
from tests.helpers.graphs import GraphBuilder, mlp
from tests.solvers.search.neurons.support import (
    always_sharp,
    below,
    crown_bounds,
    least_on_segment,
    random_box,
    search,
    witness_of,
)

seeds = st.integers(0, 2**32 - 1)


def segment(generator: np.random.Generator, inputs: int) -> Box:
    """Return a box along which one input varies."""
    lower = generator.normal(size=inputs)
    upper = lower.copy()
    upper[int(generator.integers(inputs))] += 3.0
    return Box(lower, upper)


@given(seeds, st.sampled_from([1e-7, 1e-5, 1e-2]))
@settings(max_examples=25)
def test_thin_margins_against_rational_arithmetic(seed: int, gap: float) -> None:
    """A margin of `gap` is proved, one of −`gap` never."""
    generator = np.random.default_rng(seed)
    network = mlp((2, 5, 5, 1), seed=seed)
    region = segment(generator, 2)
    least = float(least_on_segment(network, region, [1.0]))
    outcome, bracket = search(network, Case(region, below([1.0], least - gap)))
    assert outcome.status is SearchStatus.DECIDED
    # Rounding of the float32 that runs may reach what real numbers miss by 1e-7.
    assert bracket.proved or (bracket.counterexample is not None and gap < 1e-5)
    assert bracket.lower <= gap * (1 + 1e-6)
    _, bracket = search(network, Case(region, below([1.0], least + gap)))
    assert not bracket.proved
    assert bracket.lower <= -gap * (1 - 1e-6)


def grid(region: Box, count: int) -> torch.Tensor:
    """Return a grid over a box of few inputs, corners included."""
    axes = [
        np.linspace(low, high, count if high > low else 1)
        for low, high in zip(region.lower.ravel(), region.upper.ravel(), strict=True)
    ]
    points = np.array(list(itertools.product(*axes)))
    return torch.from_numpy(points.reshape(-1, *region.shape))


def convolutional() -> Network:
    b = GraphBuilder((1, 1, 4, 4))
    generator = np.random.default_rng(3)
    kernel = b.parameter(generator.normal(size=(2, 1, 3, 3)))
    b.add(Convolution(kernel, b.parameter(generator.normal(size=2)), (1, 1), (1, 1), (1, 1)))
    first = b.add(Relu())
    again = b.parameter(0.5 * generator.normal(size=(2, 2, 3, 3)))
    b.add(Convolution(again, None, (1, 1), (1, 1), (1, 1)))
    b.add(Add((1.0, 1.0)), b.nodes[-1].name, first)
    b.add(Relu())
    b.add(MaxPool((2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1)))
    b.add(Reshape((1, 8)))
    b.add(Linear(b.parameter(generator.normal(size=(2, 8))), None))
    return b.network()


def gated() -> Network:
    """A product of a sigmoid and a tanh."""
    b = GraphBuilder((2,))
    generator = np.random.default_rng(4)
    one = b.add(Linear(b.parameter(2 * generator.normal(size=(3, 2)))))
    gate = b.add(Sigmoid(), one)
    b.add(Linear(b.parameter(2 * generator.normal(size=(3, 2)))), b.nodes[0].name)
    value = b.add(Tanh())
    b.add(Multiply(), gate, value)
    b.add(Linear(b.parameter(generator.normal(size=(2, 3)))))
    return b.network()


def image_box() -> Box:
    """Two pixels of sixteen vary."""
    lower = np.random.default_rng(5).normal(size=(1, 1, 4, 4))
    upper = lower.copy()
    upper[0, 0, 1, 1] += 1.5
    upper[0, 0, 2, 3] += 1.5
    return Box(lower, upper)


SQUARE = Box(-np.ones(2), np.ones(2))
# Network, region, and the share of its spread that the margin is to be proved above.
KINDS: dict[str, tuple[Callable[[], Network], Box, float]] = {
    "relu": (lambda: mlp((2, 6, 6, 2), seed=1), SQUARE, 0.05),
    "clip": (lambda: mlp((2, 5, 5, 2), seed=2, activation=Clip(-0.4, 0.6)), SQUARE, 0.1),
    "sigmoid": (lambda: mlp((2, 5, 5, 2), seed=3, activation=Sigmoid(), scale=2.0), SQUARE, 0.05),
    "tanh": (lambda: mlp((2, 3, 3, 2), seed=4, activation=Tanh()), SQUARE, 0.3),
    "product": (gated, SQUARE, 0.1),
    "convolution": (convolutional, image_box(), 0.3),
}


@pytest.mark.parametrize("kind", KINDS)
def test_close_to_the_least_margin(kind: str) -> None:
    """What a fine grid leaves a little room for is proved; what it reaches is not."""
    make, region, room = KINDS[kind]
    network = make()
    y = network.to(torch.float64)(grid(region, 101)).flatten(1)
    margins = y[:, 0] - y[:, 1]
    least, spread = float(margins.min()), float(margins.max() - margins.min())
    outcome, bracket = search(network, Case(region, below([1.0, -1.0], least - room * spread)))
    assert (outcome.status, bracket.proved) == (SearchStatus.DECIDED, True)
    _, bracket = search(network, Case(region, below([1.0, -1.0], least + 0.02 * spread)))
    assert bracket.counterexample is not None


def test_clauses_of_several_rows() -> None:
    """A clause fails where any of its rows does; several clauses are searched at once."""
    generator = np.random.default_rng(7)
    network, region = mlp((2, 6, 6, 3), seed=9), Box(-np.ones(2), np.ones(2))
    y = network.to(torch.float64)(grid(region, 201)).flatten(1).numpy()
    clauses = []
    for rows in (1, 2, 3):
        matrix = generator.normal(size=(rows, 3))
        margin = (y @ matrix.T).max(axis=1)
        room = 0.05 * (margin.max() - margin.min())
        clauses.append(Clause(matrix, np.full(rows, margin.min() - room)))
    specification = Specification(tuple(clauses))
    outcome, bracket = search(network, Case(region, specification))
    assert bracket.proved, outcome
    reached = np.array([clause.margin(y).min() for clause in clauses])
    assert (bracket.clause_lower <= reached).all()


@given(seeds, st.integers(0, 40))
@settings(max_examples=25)
def test_interrupted_anywhere_the_bracket_holds(seed: int, asked: int) -> None:
    generator = np.random.default_rng(seed)
    network, region = mlp((3, 8, 8, 2), seed=seed), random_box(generator, (3,), 3.0)
    y = network.to(torch.float64)(
        torch.from_numpy(generator.uniform(region.lower, region.upper, (500, 3)))
    )
    least = float((y[:, 0] - y[:, 1]).min())
    calls = itertools.count()
    budget = Budget(math.inf, lambda: next(calls) >= asked)
    outcome, bracket = search(
        network,
        Case(region, below([1.0, -1.0], least)),
        NeuronSearchOptions(batch=2),
        budget=budget,
    )
    assert outcome.status in {SearchStatus.CANCELLED, SearchStatus.DECIDED}
    assert bracket.lower <= 1e-9
    assert bracket.contradiction is None


def test_a_deadline_in_the_past_still_bounds_the_root() -> None:
    network, region = mlp((3, 20, 20, 2), seed=0), Box(-np.ones(3), np.ones(3))
    case = Case(region, below([1.0, -1.0], -5.0))
    outcome, bracket = search(network, case, budget=Budget.of_seconds(0.0))
    assert outcome.status is SearchStatus.TIMEOUT
    assert np.isfinite(bracket.lower)


def test_progress_is_told_and_bounds_only_rise() -> None:
    network, region = mlp((3, 12, 12, 2), seed=5), Box(-np.ones(3), np.ones(3))
    y = network.to(torch.float64)(grid(region, 25)).flatten(1)
    offset = float((y[:, 0] - y[:, 1]).min()) - 1.0
    bracket, seen = Bracket(Case(region, below([1.0, -1.0], offset))), list[SearchProgress]()
    outcome = search_neurons(
        fold_affine(network.to(torch.float64)),
        bracket,
        witness_of(network),
        options=NeuronSearchOptions(batch=4),
        budget=Budget.of_seconds(20),
        known=crown_bounds(fold_affine(network.to(torch.float64)), region),
        progress=seen.append,
    )
    lowers = [step.lower for step in seen]
    assert lowers == sorted(lowers)
    assert [step.domains for step in seen] == sorted({step.domains for step in seen})
    assert outcome.domains == seen[-1].domains
    assert bracket.proved


def test_little_memory_ends_the_search_with_what_is_proved() -> None:
    network, region = mlp((4, 30, 30, 2), seed=3), Box(-np.ones(4), np.ones(4))
    case = Case(region, below([1.0, -1.0], -0.5))
    outcome, bracket = search(
        network, case, NeuronSearchOptions(memory_bytes=10_000, falsify=False)
    )
    assert outcome.status is SearchStatus.MEMORY
    assert outcome.reason
    assert np.isfinite(bracket.lower)
    assert not bracket.decided


@pytest.mark.parametrize("memory_bytes", [1 << 30, 60_000])
def test_a_small_pool_gives_the_same_verdict(memory_bytes: int) -> None:
    network, region = mlp((3, 10, 10, 2), seed=6), Box(-np.ones(3), np.ones(3))
    y = network.to(torch.float64)(grid(region, 25)).flatten(1)
    offset = float((y[:, 0] - y[:, 1]).min()) - 0.05
    options = NeuronSearchOptions(memory_bytes=memory_bytes, batch=2)
    outcome, bracket = search(network, Case(region, below([1.0, -1.0], offset)), options)
    assert bracket.proved, outcome


def test_what_is_decided_is_left_alone() -> None:
    network, region = mlp((2, 4, 1), seed=0), Box(np.zeros(2), np.ones(2))
    bracket = Bracket(Case(region, below([1.0], -1e6)))
    bracket.prove(np.array([1.0]))
    outcome = search_neurons(
        network.to(torch.float64),
        bracket,
        witness_of(network),
        options=NeuronSearchOptions(),
        budget=Budget(),
    )
    assert (outcome.status, outcome.domains) == (SearchStatus.DECIDED, 0)


@pytest.mark.parametrize("activation", [Relu(), Tanh()])
def test_dead_and_flat_networks_end(activation: Operator) -> None:
    """Nothing depends on the input: the root decides, or the search says that it cannot."""
    b = GraphBuilder((2,))
    b.add(Linear(b.parameter(np.zeros((3, 2))), b.parameter(-np.ones(3))))
    b.add(activation)
    b.add(Linear(b.parameter(np.ones((1, 3))), b.parameter(np.ones(1))))
    network, region = b.network(), Box(np.zeros(2), np.ones(2))
    value = float(network.to(torch.float64)(torch.zeros(1, 2, dtype=torch.float64)))
    _, bracket = search(network, Case(region, below([1.0], value - 1e-6)))
    assert bracket.proved
    _, bracket = search(network, Case(region, below([1.0], value + 1e-3)))
    assert bracket.counterexample is not None


def test_large_beside_small_weights() -> None:
    """Weights of 1e8 beside 1e-8 cost digits, never soundness."""
    b = GraphBuilder((2,))
    b.add(Linear(b.parameter(np.array([[1e8, 1.0], [-1e8, 1e-8]])), b.parameter(np.zeros(2))))
    b.add(Relu())
    b.add(Linear(b.parameter(np.array([[1e-8, 1e-8]])), b.parameter(np.array([0.25]))))
    network, region = b.network(), Box(-np.ones(2), np.ones(2))
    least = float(network.to(torch.float64)(grid(region, 201)).min())
    _, bracket = search(network, Case(region, below([1.0], least - 1e-3)))
    assert bracket.proved
    _, bracket = search(network, Case(region, below([1.0], least + 1e-3)))
    assert not bracket.proved


@pytest.mark.parametrize("scale", [1e15, 1e20, 1e38])
@pytest.mark.parametrize("sharp", [False, True])
def test_undecided_values_beyond_float32_are_not_taken_for_zero(
    scale: float, *, sharp: bool
) -> None:
    """The least margin is at a corner where a neuron reaches the square of a scale."""
    b = GraphBuilder((2,))
    for first in (np.array([[scale, 0.0], [1.0, 1.0]]), np.array([[scale, 0.0], [0.0, 1.0]])):
        b.add(Linear(b.parameter(first), b.parameter(np.zeros(2))))
    b.add(Relu())
    b.add(Linear(b.parameter(np.array([[-1e-38, -0.1]])), b.parameter(np.ones(1))))
    network, region = b.network(), Box(-np.ones(2), np.ones(2))
    least = float(network.to(torch.float64)(torch.ones(1, 2, dtype=torch.float64)))
    with always_sharp() if sharp else nullcontext():
        _, bracket = search(network, Case(region, below([1.0])), NeuronSearchOptions(falsify=False))
    assert bracket.lower <= least + 1e-6 * abs(least)
    assert bracket.proved == (scale == 1e15)


def test_stored_slopes_are_split() -> None:
    """A slope for each value is a parameter, which the values that are open are only some of."""
    b = GraphBuilder((3,))
    generator = np.random.default_rng(3)
    b.add(Linear(b.parameter(generator.normal(size=(6, 3))), b.parameter(np.zeros(6))))
    b.add(PRelu(b.parameter(generator.uniform(0.1, 1.8, size=6))))
    b.add(Linear(b.parameter(generator.normal(size=(1, 6))), b.parameter(np.zeros(1))))
    network, region = b.network(), Box(-np.ones(3), np.array([1.0, 0.5, 1.5]))
    share = generator.integers(0, 31, size=(20_000, 3)) / 30
    x = torch.from_numpy(region.lower + share * (region.upper - region.lower))
    least = float(network.to(torch.float64)(x).min())
    for missing, proved in ((0.05, True), (-1e-9, False)):
        _, bracket = search(network, Case(region, below([1.0], least - missing)))
        assert bracket.proved == proved


def test_curves_of_the_input_itself_have_no_lines_to_move() -> None:
    """Rows end at what they make of the box, which is exact."""
    b = GraphBuilder((2,))
    b.add(Tanh())
    region = Box(-np.ones(2), np.array([0.5, 2.0]))
    least = float(np.tanh(-1.0) - np.tanh(2.0))
    for missing, proved in ((1e-6, True), (-1e-6, False)):
        _, bracket = search(b.network(), Case(region, below([1.0, -1.0], least - missing)))
        assert bracket.proved == proved


@pytest.mark.parametrize("first", [Relu(), LeakyRelu(0.2), Tanh()])
@pytest.mark.parametrize("sharp", [False, True])
def test_what_bends_the_input_itself_is_not_bounded_anew(first: Operator, *, sharp: bool) -> None:
    """Passes end behind it: the box is exact there, whatever was split in front."""
    for seed in range(4):
        generator = np.random.default_rng(seed)
        b = GraphBuilder((3,))
        b.add(first)
        for shape in ((6, 3), (6, 6)):
            b.add(Linear(b.parameter(generator.normal(size=shape)), b.parameter(np.zeros(6))))
            b.add(Tanh())
        b.add(Linear(b.parameter(generator.normal(size=(1, 6))), b.parameter(np.zeros(1))))
        network, region = b.network(), Box(-np.ones(3), generator.random(3))
        share = generator.integers(0, 9, size=(20_000, 3)) / 8
        x = torch.from_numpy(region.lower + share * (region.upper - region.lower))
        least = float(network.to(torch.float64)(x).min())
        case, budget = Case(region, below([1.0], least + 1e-9)), Budget.of_seconds(0.5)
        with always_sharp() if sharp else nullcontext():
            _, bracket = search(network, case, NeuronSearchOptions(falsify=False), budget=budget)
        assert not bracket.proved
        assert bracket.lower > -np.inf
