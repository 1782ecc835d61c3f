"""A network of the inputs that vary alone gives what the whole one gives."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.network import Network
from models.operators import Linear, Relu
from solvers.budget import Budget
from solvers.problem import Box, Case
from solvers.search.boxes.flat_engine import FlatEngine, engine_for
from solvers.search.boxes.layout import Layout
from solvers.search.boxes.levels import Level
from solvers.search.boxes.narrowing import narrowed
from tests.helpers.graphs import GraphBuilder, mlp
from tests.solvers.search.boxes.support import random_specification, roots

FIXED = 4


def _cases(seed: int, count: int = 2, *, apart: float = 0.0) -> list[Case]:
    """Return cases of seven inputs, four of them fixed, at values `apart` from case to case."""
    generator = np.random.default_rng(seed)
    fixed = generator.normal(size=FIXED)
    cases = []
    for number in range(count):
        ends = np.sort(generator.normal(size=(2, 3)), axis=0)
        held = fixed + apart * number
        lower, upper = (np.concatenate([end[:1], held, end[1:]]) for end in ends)
        cases.append(Case(Box(lower, upper), random_specification(generator, 3, clauses=2)))
    return cases


def _setting(seed: int) -> tuple[Network, Layout]:
    network = mlp((7, 8, 6, 3), seed=seed, scale=1.4).to(torch.float64)
    return network, Layout.of(network, _cases(seed))


@given(seed=st.integers(0, 10_000))
def test_the_narrow_network_gives_the_same_outputs(seed: int) -> None:
    network, layout = _setting(seed)
    narrow, small = narrowed(network, layout)
    assert narrow.input_shape == (3,) == small.shape
    case = torch.arange(20) % 2
    values = (
        layout.lower[case]
        + torch.rand(20, 3, dtype=torch.float64) * (layout.upper - layout.lower)[case]
    )
    expected = network(layout.inputs(case, values))
    torch.testing.assert_close(narrow(small.inputs(case, values)), expected, rtol=0, atol=1e-12)


@given(seed=st.integers(0, 10_000), level=st.sampled_from(list(Level)))
def test_bounds_are_those_of_the_whole_network(seed: int, level: Level) -> None:
    network, layout = _setting(seed)
    boxes = roots(layout)
    with torch.no_grad():
        whole = FlatEngine(network, layout).bound(boxes, level, Budget())
        narrow = engine_for(network, layout).bound(boxes, level, Budget())
    compared = [(whole.boxes.scores, narrow.boxes.scores), (whole.slopes, narrow.slopes)]
    if level is not Level.SLOPES:  # whose bounds depend on how many steps there was time for
        compared.append((whole.boxes.clause_lower, narrow.boxes.clause_lower))
    for one, other in compared:
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@given(seed=st.integers(0, 10_000))
def test_what_is_fixed_is_added_up_exactly_and_rounded_once(seed: int) -> None:
    generator = np.random.default_rng(seed)
    # Terms of 1e16 that cancel but for what is far below the rounding of their sum.
    weight = generator.normal(size=(5, 6)) * 10.0 ** generator.integers(-8, 16, (5, 6))
    held = generator.normal(size=4) * 10.0 ** generator.integers(-8, 8, 4)
    weight[:, 3], held[3] = -weight[:, 2], held[2] * (1 + 1e-15)
    bias = generator.normal(size=5)
    network = _dense(weight, bias)
    case = Case(
        Box(np.r_[held, -1.0, -1.0], np.r_[held, 1.0, 1.0]), random_specification(generator, 5)
    )
    narrow, _ = narrowed(network, Layout.of(network, [case]))
    found = _layer(narrow).bias
    assert found is not None
    for row, start, end in zip(weight, bias, found.resolve(narrow.parameters), strict=True):
        terms = zip(row[:4].tolist(), held.tolist(), strict=True)
        exact = Fraction(start) + sum(Fraction(w) * Fraction(v) for w, v in terms)
        assert float(end) == pytest.approx(float(exact), rel=2**-52, abs=0.0)


def _dense(weight: np.ndarray, bias: np.ndarray) -> Network:
    """Return one dense layer in float64."""
    builder = GraphBuilder((weight.shape[1],))
    builder.add(Linear(builder.parameter(weight), builder.parameter(bias)))
    network = builder.network()
    (one, other) = network.parameters
    return replace(
        network, parameters={one: torch.from_numpy(weight), other: torch.from_numpy(bias)}
    )


def _layer(network: Network) -> Linear:
    (found,) = (n.operator for n in network.graph.nodes if isinstance(n.operator, Linear))
    return found


def _unfoldable(kind: str) -> tuple[Network, list[Case]]:
    cases = _cases(1, apart=1.0 if kind == "fixed apart" else 0.0)
    if kind == "all vary":
        cases = [Case(Box(-np.ones(7), np.ones(7)), case.specification) for case in cases]
    if kind == "huge":
        held = np.r_[-1.0, np.full(6, 1e200)]
        cases = [Case(Box(held, abs(held)), case.specification) for case in cases]
    builder = GraphBuilder((7,))
    if kind == "read by others":
        builder.add(Relu())
    generator = np.random.default_rng(0)
    builder.add(Linear(builder.parameter(generator.normal(size=(3, 7)))))
    return builder.network().to(torch.float64), cases


@pytest.mark.parametrize("kind", ["fixed apart", "all vary", "huge", "read by others"])
def test_leaves_alone_what_cannot_be_narrowed(kind: str) -> None:
    network, cases = _unfoldable(kind)
    layout = Layout.of(network, cases)
    assert narrowed(network, layout) == (network, layout)


def test_layers_without_a_bias_get_one() -> None:
    builder = GraphBuilder((7,))
    builder.add(Linear(builder.parameter(np.ones((3, 7)))))
    network, cases = builder.network().to(torch.float64), _cases(0)
    narrow, small = narrowed(network, Layout.of(network, cases))
    assert narrow.input_shape == (3,)
    held = float(cases[0].region.lower[1:5].sum())
    torch.testing.assert_close(
        narrow(torch.zeros(1, 3, dtype=torch.float64)),
        torch.full((1, 3), held, dtype=torch.float64),
    )
    assert small.active.tolist() == [0, 1, 2]
