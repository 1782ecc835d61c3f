"""Bounds inside domains: nothing in a domain crosses them, whatever slopes and multipliers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.network import Network
from models.operators import (
    Add,
    Clip,
    LeakyRelu,
    Linear,
    Operator,
    Relu,
    Sigmoid,
    Sin,
    Tanh,
)
from solvers.budget import Budget
from solvers.problem import Box
from solvers.search.neurons.bounding import Start
from tests.helpers import coupled_graphs, random_graphs
from tests.helpers.graphs import GraphBuilder, mlp
from tests.solvers.search.neurons.support import Domain, random_box

seeds = st.integers(0, 2**32 - 1)
ACTIVATIONS = (Relu(), LeakyRelu(0.1), Clip(-0.5, 0.5), Sigmoid(), Tanh(), Sin())


def assert_nothing_crosses(domain: Domain, generator: torch.Generator) -> None:
    """Compare the bounds of random functions with the domain's inputs."""
    count = 6
    size = domain.layout.size
    lines = len(domain.layout.line_start) if torch.rand((), generator=generator) < 0.5 else 0
    alpha = torch.rand(count, size + lines, generator=generator)
    gamma = torch.randn(count, size, generator=generator)
    gamma *= torch.rand(count, size, generator=generator) < 0.5
    rows = torch.randn(count, domain.outputs.shape[1], generator=generator, dtype=torch.float64)
    lower = domain.bounder().lower(domain.functions(rows), domain.terms(alpha, gamma))
    reached = (domain.outputs @ rows.T).amin(0)
    # A network without parameters has no precision of its own and is taken for single.
    slack = 0.0 if domain.network.dtype == torch.float64 else 1e-4 * (1 + reached.abs())
    assert bool((lower <= reached + slack).all())


@given(seeds, st.sampled_from(ACTIVATIONS))
def test_dense_networks(seed: int, activation: Operator) -> None:
    generator = np.random.default_rng(seed)
    network = mlp((3, 6, 5, 2), seed=seed, activation=activation)
    domain = Domain(network, random_box(generator, (3,)), generator)
    assert_nothing_crosses(domain, torch.Generator().manual_seed(seed))


@given(seeds, st.integers(1, 5))
def test_random_networks(seed: int, layers: int) -> None:
    generator = np.random.default_rng(seed)
    maker = (random_graphs.random_vector_network, random_graphs.random_image_network)[seed % 2]
    network = maker(seed, layers)
    domain = Domain(network, random_box(generator, network.input_shape, 0.5), generator)
    assert_nothing_crosses(domain, torch.Generator().manual_seed(seed))


@given(seeds)
def test_products_and_normalisations(seed: int) -> None:
    generator = np.random.default_rng(seed)
    network = coupled_graphs.coupled_network(seed, 1 + seed % 2)
    domain = Domain(network, random_box(generator, network.input_shape, 0.2), generator)
    assert_nothing_crosses(domain, torch.Generator().manual_seed(seed))


@given(seeds, st.sampled_from((LeakyRelu(0.1), Sigmoid(), Tanh())))
def test_climbs_move_lines_and_gain_by_it(seed: int, activation: Operator) -> None:
    generator = np.random.default_rng(seed)
    network = mlp((3, 6, 5, 2), seed=seed, activation=activation)
    domain = Domain(network, random_box(generator, (3,)), generator)
    rows = torch.from_numpy(generator.normal(size=(4, 2)))
    functions, bounder = domain.functions(rows), domain.bounder()
    none = torch.zeros(4, domain.layout.size)
    terms = domain.terms(none, none)
    found = bounder.climb(
        functions, terms, steps=12, budget=Budget(), patience=0.0, until_positive=False
    )
    assert found.terms.moves == (domain.layout.size > 0)
    lower = bounder.lower(functions, found.terms)
    begun = torch.cat([none, domain.layout.line_start.expand(4, -1)], dim=1)
    start = bounder.lower(functions, domain.terms(begun, none))
    assert bool((lower >= start - 1e-9).all())
    assert bool((lower <= (domain.outputs @ rows.T).amin(0)).all())
    moved = found.terms.alpha[:, domain.layout.size :]
    assert bool(((moved >= 0) & (moved <= 1)).all())


def test_lines_of_products_gain_what_no_multiplier_could() -> None:
    gained = 0.0
    for seed in range(6):
        generator = np.random.default_rng(seed)
        network = coupled_graphs.coupled_network(seed, 2)
        domain = Domain(network, random_box(generator, network.input_shape, 0.3), generator)
        rows = torch.from_numpy(generator.normal(size=(4, domain.outputs.shape[1])))
        functions, zero = domain.functions(rows), torch.zeros(4, domain.layout.size)
        best = []
        for moves in (False, True):
            bounder = domain.bounder(moves=moves)
            found = bounder.climb(
                functions,
                domain.terms(zero, zero),
                steps=25,
                budget=Budget(),
                patience=0.0,
                until_positive=False,
            )
            best.append(bounder.lower(functions, found.terms))
        gained += float((best[1] - best[0]).nan_to_num().mean())
    assert gained > 0


def residual_with_shared_values() -> Network:
    """A value that two ReLUs and a sum read."""
    b = GraphBuilder((2,))
    generator = np.random.default_rng(0)
    b.add(random_linear(b, generator, 4, 2))
    shared = b.nodes[-1].name
    one = b.add(Relu(), shared)
    other = b.add(Relu(), shared)
    b.add(Add((1.0, -0.5, 0.3)), one, other, shared)
    b.add(random_linear(b, generator, 2, 4))
    return b.network()


def random_linear(
    b: GraphBuilder, generator: np.random.Generator, outputs: int, inputs: int
) -> Linear:
    return Linear(
        b.parameter(generator.normal(size=(outputs, inputs))),
        b.parameter(generator.normal(size=outputs)),
    )


@given(seeds)
def test_a_value_with_several_readers(seed: int) -> None:
    generator = np.random.default_rng(seed)
    domain = Domain(residual_with_shared_values(), random_box(generator, (2,), 2.0), generator)
    assert_nothing_crosses(domain, torch.Generator().manual_seed(seed))


@given(seeds)
def test_climbs_rise_and_stay_sound(seed: int) -> None:
    generator = np.random.default_rng(seed)
    domain = Domain(mlp((3, 8, 8, 2), seed=seed), random_box(generator, (3,)), generator)
    rows = torch.from_numpy(generator.normal(size=(4, 2)))
    size = domain.layout.size
    terms = domain.terms(torch.full((4, size), 0.5), torch.zeros(4, size))
    bounder = domain.bounder(torch.float32)
    functions = domain.functions(rows)
    climb = bounder.climb(functions, terms, steps=8, budget=Budget(), until_positive=False)
    lower = bounder.lower(functions, climb.terms)
    assert bool((lower <= (domain.outputs @ rows.T).amin(0)).all())
    start = bounder.lower(functions, terms)
    # The best iterate is kept; single precision may misjudge it in the last digits.
    assert bool((lower >= start - 1e-4 * (1 + start.abs())).all())


@given(seeds)
def test_gradients_are_those_of_the_bound(seed: int) -> None:
    """A small step of slopes and multipliers along the traces changes the bound as they say."""
    generator = np.random.default_rng(seed)
    domain = Domain(mlp((3, 6, 6, 1), seed=seed), random_box(generator, (3,)), generator)
    if domain.layout.size == 0:
        return
    bounder = domain.bounder()
    functions = domain.functions(torch.ones(1, 1, dtype=torch.float64))
    size = domain.layout.size
    alpha = torch.from_numpy(generator.uniform(0.2, 0.8, (1, size)))
    gamma = torch.from_numpy(generator.normal(size=(1, size)))
    terms = domain.terms(alpha, gamma).to(torch.float64)
    climb = bounder.climb(functions, terms, steps=1, budget=Budget())
    place, unstable = climb.traces.place, (terms.lower < 0) & (terms.upper > 0)
    slope = climb.traces.pull.clamp(min=0) * place * unstable
    pressure = place - torch.where(gamma > 0, terms.upper, terms.lower)
    step = 1e-6
    moved = domain.terms(alpha + step * slope, gamma + step * pressure)
    expected = step * float((slope.square() + pressure.square()).sum())
    gained = float(bounder.lower(functions, moved)[0] - bounder.lower(functions, terms)[0])
    # Where a coefficient changes sign on the way, the bound bends: a concave function gains less.
    assert gained <= expected * 1.01 + 1e-9
    if expected > 1e-9:
        assert gained == pytest.approx(expected, rel=0.05, abs=1e-9)


def test_an_empty_layout_bounds_too() -> None:
    """Nothing is undecided over a point, and its bound is the value."""
    region = Box(np.ones(3), np.ones(3))
    domain = Domain(mlp((3, 4, 2), seed=1), region, np.random.default_rng(0))
    empty = torch.zeros(2, 0)
    rows = torch.eye(2, dtype=torch.float64)
    assert domain.layout.size == 0
    lower = domain.bounder().lower(domain.functions(rows), domain.terms(empty, empty))
    assert torch.allclose(lower, domain.outputs[0], atol=1e-9)


@given(seeds)
def test_single_values_are_bounded_inside_domains(seed: int) -> None:
    generator = np.random.default_rng(seed)
    domain = Domain(mlp((3, 8, 8, 2), seed=seed), random_box(generator, (3,), 2.0), generator)
    for slot in domain.layout.slots:
        count = len(slot.indices)
        signs = torch.where(torch.arange(count) % 2 == 0, 1.0, -1.0)
        start = Start(slot.node, slot.indices, signs)
        alpha = torch.rand(count, domain.layout.size)
        gamma = torch.randn(count, domain.layout.size) * 0.3
        lower = domain.bounder().lower(start, domain.terms(alpha, gamma))
        reached = (domain.values[:, slot.part] * signs).amin(0)
        assert bool((lower <= reached).all())
