"""The search over boxes: what it proves is true, what it finds is real, and it stops when told."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from models.errors import InvalidInputError
from models.network import Network
from models.operators import Linear, Relu, Sigmoid
from solvers.balls import Norm
from solvers.bracket import Bracket, Witness
from solvers.budget import Budget
from solvers.problem import Box, Case, Clause, Specification, norm_ball
from solvers.search.boxes import BoxSearchOptions, search_boxes, suits_boxes
from solvers.search.contract import SearchProgress, SearchStatus
from tests.helpers.coupled_graphs import coupled_network
from tests.helpers.graphs import GraphBuilder, mlp
from tests.helpers.programs import brute_force_margin
from tests.helpers.rational import exact_margin_of
from tests.solvers.search.boxes.support import (
    Leaves,
    TorchRuntime,
    cube,
    layers_of,
    random_specification,
    search,
)


def _shifted(specification: Specification, by: float) -> Specification:
    """Return the specification with every margin smaller by a number."""
    return Specification(
        tuple(Clause(clause.matrix, clause.offset + by) for clause in specification.clauses)
    )


def _at_most(lower: float, exact: Fraction) -> bool:
    """Compare exactly; minus infinity is below everything."""
    return lower == -math.inf or Fraction(lower) <= exact


# Examples are small as they are, and shrinking would run searches for minutes.
_no_shrinking = [Phase.explicit, Phase.reuse, Phase.generate]


@settings(max_examples=40, phases=_no_shrinking)
@given(
    seed=st.integers(0, 100_000),
    clauses=st.integers(1, 3),
    rows=st.integers(1, 3),
    beyond=st.sampled_from([1e-7, 1e-4, 1e-2, 0.3]),
    holds=st.booleans(),
)
def test_agrees_with_exact_arithmetic_however_thin_the_margin(
    seed: int, clauses: int, rows: int, beyond: float, *, holds: bool
) -> None:
    generator = np.random.default_rng(seed)
    network = mlp((2, 5, 4, 3), seed=seed, scale=1.3)
    box = cube(2, float(generator.uniform(0.05, 1.0)), float(generator.normal() * 0.3))
    free = random_specification(generator, 3, clauses=clauses, rows=rows)
    exact = exact_margin_of(layers_of(network), box, free)
    # Moved so that the least margin is just above or just below 0.
    specification = _shifted(free, float(exact) - (beyond if holds else -beyond))
    exact = exact_margin_of(layers_of(network), box, specification)
    # What float32 may not be able to show is not worth waiting for.
    budget = Budget.of_seconds(60.0 if holds or beyond >= 1e-4 else 0.3)
    outcome, (bracket,) = search(network, [Case(box, specification)], budget=budget)
    assert _at_most(bracket.lower, exact)
    assert bracket.contradiction is None
    if holds and bracket.counterexample is None:
        assert outcome.status is SearchStatus.DECIDED
        assert bracket.proved
    elif holds:
        # Real in the float32 that is deployed, which is where counterexamples are run.
        assert beyond <= 1e-6
    else:
        assert not bracket.proved
    if not holds and beyond >= 1e-4:
        assert outcome.status is SearchStatus.DECIDED
        assert bracket.counterexample is not None


@settings(max_examples=20, phases=_no_shrinking)
@given(seed=st.integers(0, 100_000), inputs=st.integers(1, 4), rows=st.integers(1, 3))
def test_agrees_with_all_activation_patterns(seed: int, inputs: int, rows: int) -> None:
    generator = np.random.default_rng(seed)
    network = mlp((inputs, 4, 3, 2), seed=seed)
    box = cube(inputs, 0.5)
    specification = random_specification(generator, 2, rows=rows)
    exact = brute_force_margin(network, box, specification.clauses[0])
    if abs(exact) < 1e-5:
        return
    _, (bracket,) = search(network, [Case(box, specification)])
    assert bracket.lower <= exact + 1e-9
    assert bracket.proved == (exact > 0)
    assert (bracket.counterexample is not None) == (exact < 0)


@settings(max_examples=20, phases=_no_shrinking)
@given(seed=st.integers(0, 100_000), data=st.data())
def test_bounds_of_other_networks_stay_below_a_dense_grid(seed: int, data: st.DataObject) -> None:
    coupled = data.draw(st.booleans())
    network = (
        coupled_network(seed, 2) if coupled else mlp((2, 6, 3), seed=seed, activation=Sigmoid())
    )
    generator = np.random.default_rng(seed)
    size = math.prod(network.input_shape)
    varying = generator.permutation(size)[:2]
    lower = generator.uniform(-0.5, 0.5, size)
    upper = lower.copy()
    upper[varying] += generator.uniform(0, 0.5, len(varying))
    region = Box(lower.reshape(network.input_shape), upper.reshape(network.input_shape))
    specification = random_specification(generator, network.output_size, clauses=2, rows=2)
    options = BoxSearchOptions(most_boxes=64)
    _, (bracket,) = search(
        network, [Case(region, specification)], options, budget=Budget.of_seconds(0.4)
    )
    grid = np.array([lower + np.array(at) * (upper - lower) for at in _grid(size, varying)])
    with torch.no_grad():
        points = torch.from_numpy(grid.reshape(-1, *network.input_shape))
        y = network.to(torch.float64)(points).flatten(1).numpy()
    assert bracket.lower <= specification.margin(y).min() + 1e-9
    assert bracket.contradiction is None


def _grid(size: int, varying: np.ndarray) -> list[list[float]]:
    points = []
    for steps in product(np.linspace(0, 1, 15), repeat=len(varying)):
        at = [0.0] * size
        for axis, step in zip(varying, steps, strict=True):
            at[int(axis)] = float(step)
        points.append(at)
    return points


def test_leaves_cover_every_region_exactly() -> None:
    network = mlp((2, 8, 8, 3), seed=3, scale=1.5)
    generator = np.random.default_rng(3)
    cases = []
    for center in (-0.5, 0.25, 1.0):
        box = cube(2, 0.4, center)
        free = random_specification(generator, 3, clauses=2)
        cases.append(
            Case(box, _shifted(free, float(exact_margin_of(layers_of(network), box, free)) - 1e-3))
        )
    leaves = Leaves()
    outcome, brackets = search(network, cases, BoxSearchOptions(recorder=leaves))
    assert outcome.status is SearchStatus.DECIDED
    assert all(bracket.proved for bracket in brackets)
    assert len(leaves.cases) > 10
    for place, case in enumerate(cases):
        own = [i for i, owner in enumerate(leaves.cases) if owner == place]
        parts = [(_exact(leaves.lower[i]), _exact(leaves.upper[i])) for i in own]
        whole = _exact(case.region.lower), _exact(case.region.upper)
        assert sum(_volume(part) for part in parts) == _volume(whole)
        assert all(whole[0][k] <= p[0][k] and p[1][k] <= whole[1][k] for p in parts for k in (0, 1))
        assert not _overlap(
            np.array([leaves.lower[i] for i in own]), np.array([leaves.upper[i] for i in own])
        )


Corners = tuple[list[Fraction], list[Fraction]]


def _exact(values: np.ndarray) -> list[Fraction]:
    return [Fraction(float(v)) for v in values.ravel()]


def _volume(box: Corners) -> Fraction:
    return math.prod((b - a for a, b in zip(*box, strict=True)), start=Fraction(1))


def _overlap(lower: np.ndarray, upper: np.ndarray) -> bool:
    """Return whether two boxes share more than faces; comparing floats rounds nothing."""
    low = np.maximum(lower[:, None], lower[None])
    high = np.minimum(upper[:, None], upper[None])
    shared = (low < high).all(axis=2)
    return bool((shared.sum(axis=1) > 1).any())


def test_no_leaf_is_recorded_that_was_not_proved() -> None:
    network = mlp((2, 8, 8, 2), seed=0, scale=1.5)
    box = cube(2)
    specification = random_specification(np.random.default_rng(0), 2, clauses=2)
    leaves = Leaves()
    search(network, [Case(box, specification)], BoxSearchOptions(recorder=leaves, probe=False))
    for lower, upper in zip(leaves.lower, leaves.upper, strict=True):
        part = Box(lower, upper)
        assert exact_margin_of(layers_of(network), part, specification) > 0


@settings(max_examples=20, phases=_no_shrinking)
@given(seed=st.integers(0, 100_000), rounds=st.integers(0, 60))
def test_an_interrupted_search_leaves_valid_brackets(seed: int, rounds: int) -> None:
    network = mlp((2, 6, 5, 3), seed=seed, scale=2.0)
    generator = np.random.default_rng(seed)
    box = cube(2)
    free = random_specification(generator, 3, clauses=2, rows=2)
    exact = exact_margin_of(layers_of(network), box, free)
    specification = _shifted(free, float(exact) - 1e-9)
    exact = exact_margin_of(layers_of(network), box, specification)
    asked = iter(range(rounds))
    budget = Budget(cancelled=lambda: next(asked, None) is None)
    options = BoxSearchOptions(most_boxes=8)
    outcome, (bracket,) = search(network, [Case(box, specification)], options, budget=budget)
    assert outcome.status in {SearchStatus.CANCELLED, SearchStatus.DECIDED}
    assert bracket.contradiction is None
    assert _at_most(bracket.lower, exact)


def test_a_spent_budget_is_a_timeout_with_nothing_proved() -> None:
    case = Case(cube(2), random_specification(np.random.default_rng(0), 3))
    outcome, (bracket,) = search(mlp((2, 4, 3)), [case], budget=Budget.of_seconds(0))
    assert outcome.status is SearchStatus.TIMEOUT
    assert bracket.lower == -math.inf


def test_cases_with_different_clauses_and_inputs_share_a_search() -> None:
    network = mlp((3, 6, 6, 2), seed=5)
    generator = np.random.default_rng(5)
    cases = []
    for place in range(40):
        radius = np.where(np.arange(3) == place % 3, 0.0, 0.3)
        middle = generator.normal(size=3) * 0.5
        box = Box(middle - radius, middle + radius)
        free = random_specification(generator, 2, clauses=1 + place % 3, rows=1 + place % 2)
        cases.append(Case(box, _shifted(free, _least_of_grid(network, box, free) - 0.3)))
    outcome, brackets = search(network, cases)
    assert outcome.status is SearchStatus.DECIDED
    assert all(bracket.proved for bracket in brackets)
    assert all(bracket.lower <= 0.3 + 1e-9 for bracket in brackets)


def _least_of_grid(network: Network, box: Box, specification: Specification) -> float:
    at = np.array(list(product(np.linspace(0, 1, 7), repeat=box.lower.size)))
    points = box.lower + at * (box.upper - box.lower)
    with torch.no_grad():
        y = network.to(torch.float64)(torch.from_numpy(points)).numpy()
    return float(specification.margin(y).min())


@pytest.mark.parametrize("broken", [0, 7, 19])
def test_one_falsified_case_ends_the_search(broken: int) -> None:
    network = mlp((2, 6, 2), seed=2)
    safe = Specification((Clause(np.array([[1.0, 0.0]]), np.array([-1e3])),))
    unsafe = Specification((Clause(np.array([[1.0, 0.0]]), np.array([1e3])),))
    cases = [Case(cube(2), unsafe if place == broken else safe) for place in range(20)]
    outcome, brackets = search(network, cases)
    assert outcome.status is SearchStatus.DECIDED
    assert [b.counterexample is not None for b in brackets] == [i == broken for i in range(20)]


def test_finds_a_counterexample_in_a_small_part_of_the_region() -> None:
    # max(0, x0 + x1 − 1.99) on the square [−1, 1]² is positive in one corner only.
    network = mlp((2, 1, 1), seed=0)
    values = {
        name: torch.tensor(value)
        for name, value in zip(
            network.parameters, ([[1.0, 1.0]], [-1.99], [[-1.0]], [0.005]), strict=True
        )
    }
    network = replace(network, parameters=values)
    case = Case(cube(2), Specification((Clause(np.array([[1.0]]), np.array([0.0])),)))
    outcome, (bracket,) = search(network, [case])
    assert outcome.status is SearchStatus.DECIDED
    assert bracket.counterexample is not None
    assert bracket.counterexample.x.sum() > 1.99


@pytest.mark.parametrize("fixed", [0, 1, 2])
def test_inputs_that_do_not_vary_are_never_cut(fixed: int) -> None:
    network = mlp((2, 8, 8, 2), seed=1, scale=1.5)
    radius = np.array([0.0 if axis < fixed else 0.7 for axis in range(2)])
    box = Box(0.1 - radius, 0.1 + radius)
    free = random_specification(np.random.default_rng(1), 2)
    exact = exact_margin_of(layers_of(network), box, free) if fixed < 2 else None
    if exact is None:
        y = network.to(torch.float64)(torch.from_numpy(box.lower).unsqueeze(0))
        exact = Fraction(float(free.margin(y.detach().numpy())[0]))
    leaves = Leaves()
    specification = _shifted(free, float(exact) - 1e-4)
    outcome, (bracket,) = search(
        network, [Case(box, specification)], BoxSearchOptions(recorder=leaves)
    )
    assert outcome.status is SearchStatus.DECIDED
    assert bracket.proved
    assert all((low[:fixed] == box.lower[:fixed]).all() for low in leaves.lower)


def test_a_margin_of_zero_at_a_point_ends_in_boxes_that_cannot_be_cut() -> None:
    # The margin is 0 at float64 numbers between which there is no other: never proved.
    network = mlp((1, 1), seed=0)
    values = {
        name: torch.tensor(value)
        for name, value in zip(network.parameters, ([[1.0]], [0.0]), strict=True)
    }
    network = replace(network, parameters=values)
    near = float(np.nextafter(1.0, 2.0))
    case = Case(
        Box(np.array([1.0]), np.array([near])),
        Specification((Clause(np.array([[1.0]]), np.array([1.0])),)),
    )
    outcome, (bracket,) = search(network, [case], BoxSearchOptions(probe=False))
    assert outcome.status is SearchStatus.STALLED
    assert outcome.reason is not None
    assert "1 boxes" in outcome.reason
    assert not bracket.proved


def test_says_when_memory_is_full_and_keeps_what_it_proved() -> None:
    network = mlp((4, 30, 30, 2), seed=0, scale=2.0)
    box = cube(4, 3.0)
    free = random_specification(np.random.default_rng(1), 2)
    outcome, (bracket,) = search(
        network,
        [Case(box, _shifted(free, -1e3))],
        BoxSearchOptions(memory_bytes=1, probe=False),
    )
    assert outcome.status in {SearchStatus.MEMORY, SearchStatus.DECIDED}
    hard = Case(box, _shifted(free, 0.0))
    outcome, (bracket,) = search(
        network, [hard], BoxSearchOptions(memory_bytes=2000, most_boxes=64, probe=False)
    )
    assert outcome.status is SearchStatus.MEMORY
    assert outcome.reason is not None
    assert "memory" in outcome.reason
    assert math.isfinite(bracket.lower)


def test_regions_that_are_balls_are_refused_in_words() -> None:
    ball = norm_ball(np.zeros(2), 0.5, Norm.TWO, valid_range=None)
    case = Case(ball, random_specification(np.random.default_rng(0), 3))
    outcome, (bracket,) = search(mlp((2, 4, 3)), [case])
    assert outcome.status is SearchStatus.UNSUPPORTED
    assert outcome.reason is not None
    assert "ball" in outcome.reason
    assert bracket.lower == -math.inf


def test_cases_that_have_a_verdict_are_left_alone() -> None:
    network = mlp((2, 4, 3))
    case = Case(cube(2), random_specification(np.random.default_rng(0), 3))
    bracket = Bracket(case)
    bracket.prove(np.ones(1))
    outcome = search_boxes(
        network.to(torch.float64),
        [bracket],
        Witness(network.to(torch.float64), TorchRuntime(network)),
        options=BoxSearchOptions(),
        budget=Budget(),
    )
    assert outcome.status is SearchStatus.DECIDED
    assert outcome.domains == 0


def test_clauses_that_are_proved_already_are_taken_as_they_are() -> None:
    network = mlp((2, 4, 1), seed=0)
    impossible = Clause(np.array([[0.0]]), np.array([1.0]))
    easy = Clause(np.array([[1.0]]), np.array([-1e3]))
    bracket = Bracket(Case(cube(2), Specification((impossible, easy))))
    bracket.prove(np.array([1.0, -np.inf]))
    outcome = search_boxes(
        network.to(torch.float64),
        [bracket],
        Witness(network.to(torch.float64), TorchRuntime(network)),
        options=BoxSearchOptions(probe=False),
        budget=Budget.of_seconds(20),
    )
    assert outcome.status is SearchStatus.DECIDED
    assert bracket.proved


def test_reports_progress_that_only_improves() -> None:
    network = mlp((2, 16, 16, 3), seed=1, scale=2.0)
    box = cube(2)
    free = random_specification(np.random.default_rng(2), 3)
    seen: list[SearchProgress] = []
    bracket = Bracket(Case(box, free))
    wide = network.to(torch.float64)
    outcome = search_boxes(
        wide,
        [bracket],
        Witness(wide, TorchRuntime(network)),
        options=BoxSearchOptions(most_boxes=16),
        budget=Budget.of_seconds(20),
        progress=seen.append,
    )
    assert seen
    assert seen[-1].domains == outcome.domains
    assert [p.lower for p in seen] == sorted(p.lower for p in seen)
    assert [p.upper for p in seen] == sorted((p.upper for p in seen), reverse=True)
    assert [p.domains for p in seen] == sorted(p.domains for p in seen)


def test_suits_boxes_in_few_inputs_only() -> None:
    network = mlp((40, 4, 2))
    specification = random_specification(np.random.default_rng(0), 2)
    lower, upper = np.zeros(40), np.zeros(40)
    upper[:5] = 1.0
    assert suits_boxes(network, Case(Box(lower, upper), specification))
    assert not suits_boxes(network, Case(cube(40), specification))
    large = mlp((2, 40_000, 2))
    assert suits_boxes(large, Case(cube(2), specification))
    large = mlp((9, 70_000, 2))
    assert not suits_boxes(large, Case(cube(9), specification))
    ball = norm_ball(np.zeros(3), 0.5, Norm.ONE, valid_range=None)
    assert not suits_boxes(mlp((3, 4, 2)), Case(ball, specification))


@pytest.mark.parametrize(
    "build",
    [
        lambda: BoxSearchOptions(most_boxes=0),
        lambda: BoxSearchOptions(memory_bytes=0),
        lambda: BoxSearchOptions(round_seconds=0.0),
    ],
    ids=["boxes", "memory", "time"],
)
def test_options_must_be_positive(build: Callable[[], BoxSearchOptions]) -> None:
    with pytest.raises(InvalidInputError, match="positive"):
        build()


def test_what_bends_the_input_itself_is_blamed_for_nothing() -> None:
    generator = np.random.default_rng(5)
    for first in (Relu(), Sigmoid()):
        b = GraphBuilder((3,))
        b.add(first)
        for shape in ((8, 3), (8, 8), (1, 8)):
            weight = b.parameter(generator.normal(size=shape))
            b.add(Linear(weight, b.parameter(np.zeros(shape[0]))))
            b.add(Sigmoid())
        network, region = b.network(), Box(-np.ones(3), np.ones(3))
        share = torch.from_numpy(generator.integers(0, 9, size=(10_000, 3)) / 8)
        least = float(network.to(torch.float64)(2 * share - 1).min())
        for missing, proved in ((0.02, True), (-1e-9, False)):
            clause = Clause(np.array([[1.0]]), np.array([least - missing]))
            case, options = Case(region, Specification((clause,))), BoxSearchOptions(probe=False)
            bracket = Bracket(case)
            search_boxes(
                network.to(torch.float64),
                [bracket],
                Witness(network.to(torch.float64), TorchRuntime(network)),
                options=options,
                budget=Budget.of_seconds(5.0 if proved else 0.5),
            )
            assert bracket.proved == proved
