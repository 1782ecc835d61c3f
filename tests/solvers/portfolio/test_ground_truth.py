"""Verdicts against exact rational arithmetic: no member may ever say `verified` wrongly.

`TIGHTROPE_SEEDS` sets how many random networks each member is held against; a nightly run may
take thousands.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models import load_network
from models.network import Network
from models.operators import Linear
from solvers.bracket import Bracket
from solvers.budget import Budget
from solvers.portfolio import Run, members, searches, settle, steps
from solvers.problem import Box, Case, Clause, Specification
from solvers.results import Decision, Verdict
from tests.helpers.networks import mlp, model, node
from tests.helpers.rational import Layer, exact_margin_of, margin_there
from tests.solvers.search.neurons.support import always_sharp

SEEDS = int(os.environ.get("TIGHTROPE_SEEDS", "40"))
Member = Callable[[Run, Budget], None]


def _split_sharply(run: Run, budget: Budget) -> None:
    """Search on bounds that hold where a clause can, from the beginning."""
    with always_sharp():
        searches.split_neurons(run, budget)


MEMBERS: dict[str, Sequence[Member]] = {
    "attack": [members.attack_briefly],
    "bounds": [members.crown, members.alpha_margins, members.alpha_crown],
    "planes": [members.crown, members.planes_inside],
    "boxes": [searches.split_inputs],
    "neurons": [members.crown, searches.split_neurons],
    "neurons behind planes": [members.crown, members.planes_inside, searches.split_neurons],
    "sharp": [members.crown, _split_sharply],
    "milp": [members.crown, searches.milp],
}


def _layers(network: Network) -> list[Layer]:
    layers: list[Layer] = []
    for entry in network.graph.nodes:
        if isinstance(entry.operator, Linear):
            assert entry.operator.bias is not None
            weight = entry.operator.weight.resolve(network.parameters)
            bias = entry.operator.bias.resolve(network.parameters)
            layers.append((weight.double().numpy(), bias.double().numpy()))
    return layers


def _run(network: Network, case: Case, seconds: float = 20.0) -> Run:
    budget = Budget.of_seconds(seconds)
    return Run.of(network, [Bracket(case)], device=torch.device("cpu"), budget=budget)


def _member(name: str, network: Network, case: Case) -> Decision:
    run = _run(network, case)
    for member in MEMBERS[name]:
        if not run.finished:
            member(run, run.budget)
    return run.decision()


def _portfolio(network: Network, case: Case) -> Decision:
    run = _run(network, case)
    settle(run, steps(run))
    return run.decision()


def _shifted(specification: Specification, by: Fraction | float) -> Specification:
    """Return the condition whose margin is less by a number."""
    moved = [Clause(c.matrix, c.offset + float(by)) for c in specification.clauses]
    return Specification(tuple(moved))


def _check(decision: Decision, exact: Fraction, layers: Sequence[Layer], case: Case) -> None:
    """Hold a decision against the exact margin and against its own counterexample."""
    if decision.verdict is Verdict.VERIFIED:
        assert exact > 0
    if decision.verdict is Verdict.FALSIFIED:
        assert decision.counterexample is not None
        x = decision.counterexample.x.astype(np.float64)
        assert (case.region.lower <= x).all()
        assert (x <= case.region.upper).all()
        # The counterexample holds in float32, whose rounding is all that may be between them.
        assert margin_there(layers, x, case.specification) < 1e-3
    if decision.lower is not None:
        assert decision.lower <= float(exact) + 1e-15 * (1.0 + abs(float(exact)))
    if decision.upper is not None:
        assert decision.upper >= float(exact) - 1e-4


@cache
def _random_case(seed: int) -> tuple[Network, list[Layer], Case, Fraction]:
    """Return a network, its layers, and a case with the exact margin."""
    generator = np.random.default_rng(seed)
    widths = [(2, 4, 3), (2, 5, 4, 3), (2, 3, 3, 3, 3)][seed % 3]
    network = load_network(mlp(widths, seed=seed), check=False)
    layers = _layers(network)
    center, width = generator.uniform(-1, 1, (1, 2)), generator.uniform(0.05, 1.5)
    box = Box(center - width, center + width)
    clauses = tuple(
        Clause(generator.normal(size=(rows, 3)), generator.normal(size=rows))
        for rows in generator.integers(1, 3, size=generator.integers(1, 4))
    )
    specification = Specification(clauses)
    return network, layers, Case(box, specification), exact_margin_of(layers, box, specification)


@pytest.mark.parametrize("name", MEMBERS)
def test_no_member_contradicts_the_exact_margin(name: str) -> None:
    generator = np.random.default_rng(0)
    for seed in range(SEEDS):
        network, layers, case, exact = _random_case(seed)
        distance = float(generator.choice([1.0, 0.1, 1e-3, 1e-7])) * generator.choice([-1, 1])
        wanted = _shifted(case.specification, float(exact) - distance)
        moved = Case(case.region, wanted)
        truth = exact_margin_of(layers, case.region, wanted)
        _check(_member(name, network, moved), truth, layers, moved)


@pytest.mark.parametrize("seed", range(SEEDS // 2))
def test_the_portfolio_decides_what_is_not_a_hair(seed: int) -> None:
    network, layers, case, exact = _random_case(1000 + seed)
    for distance in (1e-3, -1e-3):
        wanted = _shifted(case.specification, float(exact) - distance)
        moved = Case(case.region, wanted)
        decision = _portfolio(network, moved)
        _check(decision, exact_margin_of(layers, case.region, wanted), layers, moved)
        assert decision.verdict is (Verdict.VERIFIED if distance > 0 else Verdict.FALSIFIED)


@pytest.mark.parametrize("distance", [1e-7, 1e-9, 0.0, -1e-9, -1e-7])
@pytest.mark.parametrize("seed", range(4))
def test_hairs(seed: int, distance: float) -> None:
    network, layers, case, exact = _random_case(2000 + seed)
    wanted = _shifted(case.specification, float(exact) - distance)
    moved = Case(case.region, wanted)
    truth = exact_margin_of(layers, case.region, wanted)
    _check(_portfolio(network, moved), truth, layers, moved)


def _network(layers: Sequence[Layer]) -> Network:
    """Return a dense ReLU network with given layers."""
    weights: dict[str, NDArray[np.float32]] = {}
    nodes, value = [], "x"
    for number, (weight, bias) in enumerate(layers):
        weights[f"w{number}"], weights[f"b{number}"] = weight, bias
        last = number == len(layers) - 1
        result = "y" if last else f"z{number}"
        nodes.append(node("Gemm", [value, f"w{number}", f"b{number}"], [result], transB=1))
        if not last:
            nodes.append(node("Relu", [result], [f"a{number}"]))
        value = f"a{number}"
    return load_network(model(nodes, shape=(1, 2), weights=weights), check=False)


def _float32(rows: Sequence[Sequence[float]], bias: Sequence[float]) -> Layer:
    return np.array(rows, dtype=np.float32), np.array(bias, dtype=np.float32)


@cache
def _crooked_case(seed: int) -> tuple[Network, list[Layer], Case, Fraction]:
    """Return a network of weights from 1e-8 to 1e8, and a case whose margin is within rounding.

    Some regions are flat, and some constants are so large that little is left of what they cancel.
    """
    generator = np.random.default_rng([7, seed])
    widths = [2, *generator.integers(1, 5, size=generator.integers(1, 4)), generator.integers(1, 4)]
    layers = []
    for inputs, outputs in pairwise(widths):
        weight, bias = generator.normal(size=(outputs, inputs)), generator.normal(size=outputs)
        weight *= 10.0 ** generator.uniform(-8, 8, size=weight.shape)
        bias *= 10.0 ** generator.uniform(-8, 8, size=bias.shape)
        layers.append((weight.astype(np.float32), bias.astype(np.float32)))
    width = generator.choice([0.0, 1e-3, 0.3, 1.5], size=(1, 2))
    center = generator.uniform(-1, 1, (1, 2))
    clauses = tuple(
        Clause(generator.normal(size=(rows, widths[-1])), generator.normal(size=rows))
        for rows in generator.integers(1, 3, size=generator.integers(1, 4))
    )
    case = Case(Box(center - width, center + width), Specification(clauses))
    exact = exact_margin_of(layers, case.region, case.specification)
    share = generator.choice([1e-3, 1e-7, 1e-12, 0.0]) * generator.choice([-1, 1])
    wanted = _shifted(case.specification, float(exact) * (1.0 - share))
    truth = exact_margin_of(layers, case.region, wanted)
    return _network(layers), layers, Case(case.region, wanted), truth


@pytest.mark.parametrize("name", MEMBERS)
def test_no_member_contradicts_the_exact_margin_of_crooked_networks(name: str) -> None:
    for seed in range(30, 30 + SEEDS):
        network, _, case, truth = _crooked_case(seed)
        run = _run(network, case, seconds=0.5)
        for member in MEMBERS[name]:
            if not run.finished:
                member(run, run.budget)
        assert run.decision().verdict is not Verdict.VERIFIED or truth > 0
        (bracket,) = run.brackets
        assert bracket.lower == -np.inf or Fraction(bracket.lower) <= truth


_OUT = _float32([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0])
_CROOKED: dict[str, list[Layer]] = {
    "huge beside tiny weights": [
        _float32([[1e8, 1.0], [1e8, -1.0]], [0.0, 1e-8]),
        _float32([[1.0, -1.0], [1e-8, 1e-8]], [0.0, 0.0]),
    ],
    "cancelling": [
        _float32([[1e8, 0.0], [1e8, 1e-8]], [1.0, 0.0]),
        _float32([[1.0, -1.0], [-1.0, 1.0]], [0.0, 1e-7]),
    ],
    "equal logits": [
        _float32([[1.0, 2.0], [1.0, 2.0]], [0.1, 0.1]),
        _OUT,
    ],
    "dead": [
        _float32([[1.0, 1.0], [1.0, -1.0]], [-100.0, -100.0]),
        _float32([[1.0, 1.0], [2.0, 2.0]], [0.0, 0.0]),
    ],
    "dead, apart": [
        _float32([[1.0, 1.0], [1.0, -1.0]], [-100.0, -100.0]),
        _float32([[1.0, 1.0], [2.0, 2.0]], [1e-7, 0.0]),
    ],
}
_BOXES = {
    "wide": Box(np.full((1, 2), -1.0), np.full((1, 2), 1.0)),
    "a point": Box(np.full((1, 2), 0.25), np.full((1, 2), 0.25)),
    "a segment": Box(np.array([[-1.0, 0.5]]), np.array([[1.0, 0.5]])),
    "thin": Box(np.array([[0.0, -1.0]]), np.array([[1e-30, 1.0]])),
}


@pytest.mark.parametrize("box", _BOXES)
@pytest.mark.parametrize("kind", _CROOKED)
@pytest.mark.parametrize("offset", [0.0, 1e-7, -1e-7])
def test_crooked_instances(kind: str, box: str, offset: float) -> None:
    network = _network(_CROOKED[kind])
    layers, region = _layers(network), _BOXES[box]
    clause = Clause(np.array([[1.0, -1.0]]), np.array([offset]))
    case = Case(region, Specification((clause,)))
    exact = exact_margin_of(layers, region, case.specification)
    run = _run(network, case, 5.0)
    settle(run, steps(run))
    decision = run.decision()
    if decision.verdict is Verdict.VERIFIED:
        assert exact > 0
    if decision.lower is not None:
        assert decision.lower <= exact


@pytest.mark.parametrize("name", MEMBERS)
def test_interrupted_at_any_moment_the_bracket_holds(name: str) -> None:
    generator = np.random.default_rng(1)
    for seed in range(12):
        network, _, case, exact = _random_case(3000 + seed)
        moved = Case(case.region, _shifted(case.specification, float(exact) - 1e-6))
        run = _run(network, moved, float(generator.uniform(0.001, 0.15)))
        for member in MEMBERS[name]:
            if not run.finished:
                member(run, run.budget)
        assert run.lower <= 1e-6 + 1e-9
        assert run.upper >= 1e-6 - 1e-4
