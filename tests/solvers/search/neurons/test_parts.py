"""The parts of the search: where domains wait, how rounds are sized, what leaves are told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import InvalidInputError
from models.operators import Multiply, Relu
from solvers.bounds import boxes_to_interval
from solvers.bracket import Bracket
from solvers.budget import Budget
from solvers.problem import Box, Case
from solvers.search.neurons import Leaf, NeuronSearchOptions, Split
from solvers.search.neurons.branching import Brancher, children_of, losses
from solvers.search.neurons.crossing import Terms, Traces
from solvers.search.neurons.domains import Domains, Pool
from solvers.search.neurons.falsifying import Falsifier
from solvers.search.neurons.layout import rounded_out
from solvers.search.neurons.pace import Effort, Pace
from solvers.search.neurons.refining import Refiner
from tests.helpers.graphs import mlp
from tests.solvers.search.neurons.support import (
    Domain,
    below,
    beside_a_product,
    layout_and_bounder,
    random_box,
    search,
    witness_of,
)

seeds = st.integers(0, 2**32 - 1)


def domains(floors: list[float], first: int = 0, clauses: int = 1) -> Domains:
    count = len(floors)
    number = torch.arange(first, first + count)
    row = number.float().unsqueeze(1)
    return Domains(
        number % clauses,
        torch.tensor(floors, dtype=torch.float64),
        torch.zeros(count, dtype=torch.long),
        number,
        row.repeat(1, 3),
        row.repeat(1, 3),
        row.repeat(1, 3).unsqueeze(1),
        row.repeat(1, 3).unsqueeze(1),
        number.unsqueeze(1),
    )


@given(st.lists(st.lists(st.floats(-10, 0), max_size=6), max_size=8), st.integers(1, 4), seeds)
def test_a_pool_gives_back_what_it_was_given(
    batches: list[list[float]], clauses: int, seed: int
) -> None:
    """In the order of bounds, or the newest first, each domain whole."""
    generator = np.random.default_rng(seed)
    pool, waiting, numbered = Pool(domains([0.0]), 1 << 20), dict[int, float](), 0
    for floors in batches:
        batch = domains(floors, numbered, clauses)
        numbered += len(floors)
        pool.add(batch)
        waiting |= dict(zip(batch.number.tolist(), batch.floor.tolist(), strict=True))
        newest = bool(generator.random() < 0.5)
        taken = pool.take(int(generator.integers(1, 4)), newest=newest)
        numbers = taken.number.tolist()
        key = (lambda n: -n) if newest else waiting.__getitem__
        wanted = sorted(map(key, waiting))[: len(numbers)]
        assert [key(n) for n in numbers] == wanted
        assert torch.equal(taken.lower[:, 0], taken.number.float())
        assert torch.equal(taken.candidates[:, 0], taken.number)
        for number in numbers:
            del waiting[number]
        assert len(pool) == len(waiting)
        least = pool.least(clauses)
        for clause in range(clauses):
            there = [f for n, f in waiting.items() if n % clauses == clause]
            assert least[clause] == min(there, default=np.inf)


def test_a_pool_knows_its_limit() -> None:
    one = domains([0.0])
    pool = Pool(one, 10 * one.bytes_each)
    assert pool.fits(10)
    assert not pool.fits(11)
    pool.add(domains([0.0] * 8))
    assert pool.fill == pytest.approx(0.8)
    assert not pool.fits(3)
    pool.take(5)
    pool.add(domains([0.0] * 7, 8))
    assert len(pool) == 10


def test_a_pool_keeps_the_bounds_and_the_room_of_what_is_worked_on() -> None:
    one = domains([0.0])
    pool = Pool(one, 10 * one.bytes_each)
    pool.add(domains([-5.0, -4.0, -3.0], clauses=3))
    first, second = (pool.lend(pool.take(1)) for _ in range(2))
    assert (pool.lent, len(pool)) == (2, 1)
    assert pool.least(3).tolist() == [-5.0, -4.0, -3.0]
    assert pool.fits(5)
    assert not pool.fits(6)  # each may come back as two
    pool.returned(first)
    assert pool.least(3).tolist() == [np.inf, -4.0, -3.0]
    pool.add(domains([-2.0, -1.0], 3, clauses=3))
    pool.returned(second)
    assert (pool.lent, pool.least(3).tolist()) == (0, [-2.0, -1.0, -3.0])


def test_rounds_grow_while_that_is_faster() -> None:
    pace = Pace(None, limit=1000)
    for _ in range(20):
        pace.note(pace.size, 0.01 + 0.0001 * pace.size)
    # Two rounds of 128 take as long as four of 64, or nearly.
    assert 64 <= pace.size <= 512
    slow = Pace(None, limit=1000)
    for _ in range(20):
        slow.note(slow.size, 0.1 * slow.size)
    assert slow.size == 16
    assert Pace(7, limit=3).size == 7
    assert Pace(None, limit=3).size == 3


def test_effort_rises_without_progress_and_falls_with_it() -> None:
    effort = Effort(10)
    for _ in range(9):
        effort.note(-1.0)
    assert effort.steps == 40
    assert effort.patience == pytest.approx(Effort(10).patience / 4)
    effort.note(-0.5)
    assert effort.steps == 20
    for _ in range(100):
        effort.note(-0.5)
    assert effort.steps == 160


@given(st.floats(-1e30, 1e30, allow_nan=False))
def test_rounding_outward(value: float) -> None:
    exact = torch.tensor([value], dtype=torch.float64)
    low, high = (rounded_out(exact, up=up) for up in (False, True))
    assert float(low) <= value <= float(high)
    assert torch.equal(torch.nextafter(low, high), high)


@given(seeds)
@settings(max_examples=20)
def test_tightened_bounds_hold(seed: int) -> None:
    """Refined bounds hold every input of the domain, and are never wider."""
    generator = np.random.default_rng(seed)
    domain = Domain(mlp((3, 6, 6, 6, 2), seed=seed), random_box(generator, (3,), 2.0), generator)
    one = domain.whole(-1.0)
    refiner = Refiner(domain.layout, domain.bounder(), row_limit=7)
    refined = refiner.refine(one, Budget())
    assert float(refined.floor[0]) == -1.0
    assert bool((refined.lower[0] >= domain.lower).all())
    assert bool((refined.upper[0] <= domain.upper).all())
    assert bool((domain.values >= refined.lower[0].double()).all())
    assert bool((domain.values <= refined.upper[0].double()).all())


def test_children_share_the_point_and_nothing_else_changes() -> None:
    region = Box(-np.ones(3), np.ones(3))
    layout, bounder = layout_and_bounder(mlp((3, 8, 8, 2), seed=0), region)
    brancher = Brancher(layout, bounder, candidates=2, row_limit=64)
    values = torch.arange(layout.size)
    points = brancher.points(values, layout.lower, layout.upper)
    assert torch.equal(points, torch.zeros_like(points))
    parent = domains([0.0, -1.0])
    split = children_of(parent, torch.tensor([0, 2]), torch.tensor([0.0, 1.0]))
    assert split.depth.tolist() == [1, 1, 1, 1]
    assert split.upper[0].tolist() == [0.0, 0.0, 0.0]
    assert split.lower[3].tolist() == [1.0, 1.0, 1.0]
    assert split.floor.tolist() == [0.0, -1.0, 0.0, -1.0]


def test_values_are_ranked_among_those_whose_loss_is_known_as_well() -> None:
    """Both kinds share the values out, and each has the best of its own among the candidates."""
    region = Box(-np.ones(2), np.ones(2))
    layout, bounder = layout_and_bounder(beside_a_product(), region)
    known, guessed = layout.kinds
    owners = [(slot.part, type(slot.owner.operator)) for slot in layout.slots]
    assert {owner for _, owner in owners} == {Relu, Multiply}
    for part, owner in owners:
        assert known[part].all() == (owner is Relu)
        assert guessed[part].all() == (owner is Multiply)
    brancher = Brancher(layout, bounder, candidates=1, row_limit=64)
    terms = Terms(
        layout.lower.unsqueeze(0),
        layout.upper.unsqueeze(0),
        torch.ones(1, layout.size),
        torch.zeros(1, layout.size),
    )
    traces = Traces.like(terms)
    traces.pull -= 1.0  # all want what is above them
    traces.reach += torch.arange(layout.size) + 1.0
    traces.loss += torch.arange(layout.size) + 1.0
    (found,) = brancher.candidates(terms, traces)
    assert len(found) == brancher.width == 4
    chosen = [found[mask].tolist() for mask in (known[found], guessed[found])]
    assert [len(set(part)) for part in chosen] == [2, 2]
    assert chosen[1] == guessed.nonzero().squeeze(1).flip(0)[:2].tolist()
    loss, reach = losses(layout, terms, traces)
    for score, place in zip((loss[0], reach[0]), chosen[0], strict=True):
        rest = known.clone()
        rest[chosen[0]] = False
        assert score[place] >= score[rest].max()


def test_one_kind_of_values_has_one_list_of_candidates() -> None:
    """Nothing is decided of a network of ReLUs that was not before."""
    region = Box(-np.ones(3), np.ones(3))
    layout, bounder = layout_and_bounder(mlp((3, 8, 8, 2), seed=0), region)
    (mask,) = layout.kinds
    assert bool(mask.all()) and len(mask) == layout.size
    assert Brancher(layout, bounder, candidates=1, row_limit=64).width == 2
    settled, bounder = layout_and_bounder(mlp((3, 2), seed=0), region)
    assert [len(kind) for kind in settled.kinds] == [0]
    assert Brancher(settled, bounder, candidates=1, row_limit=64).width == 0


def test_neurons_are_split_beside_products_that_cost_little() -> None:
    """Widths times coefficients make products look far worse than they are."""
    network, region = beside_a_product(), Box(-np.ones(2), np.ones(2))
    share = torch.linspace(-1, 1, 201, dtype=torch.float64)
    x = torch.cartesian_prod(share, share)
    margins = network.to(torch.float64)(x)
    least, spread = float(margins.min()), float(margins.max() - margins.min())
    outcome, bracket = search(network, Case(region, below([1.0], least - 0.1 * spread)))
    assert bracket.proved
    assert 1 < outcome.domains < 60
    case = Case(region, below([1.0], least + 0.02 * spread))
    _, bracket = search(network, case, budget=Budget.of_seconds(0.5))
    assert not bracket.proved


class Kept:
    """Keeps leaves."""

    def __init__(self) -> None:
        self.leaves: list[Leaf] = []

    def record(self, leaf: Leaf) -> None:
        self.leaves.append(leaf)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_recorded_leaves_cover_the_region_and_prove_it(seed: int) -> None:
    network, region = mlp((2, 6, 6, 2), seed=seed), Box(-np.ones(2), np.ones(2))
    generator = np.random.default_rng(seed)
    wide = network.to(torch.float64)
    x = torch.from_numpy(generator.uniform(-1, 1, (2000, 2)))
    values = wide.graph.evaluate(x, wide.parameters)
    margins = (values[wide.graph.output] @ torch.tensor([1.0, -1.0], dtype=torch.float64)).flatten()
    spread = float(margins.max() - margins.min())
    offset = float(margins.min()) - 0.05 * spread
    kept = Kept()
    options = NeuronSearchOptions(recorder=kept, batch=2, iterations=3, root_iterations=2)
    _, bracket = search(network, Case(region, below([1.0, -1.0], offset)), options)
    assert bracket.proved
    covered = torch.zeros(len(x), dtype=torch.long)
    for leaf in kept.leaves:
        inside = torch.ones(len(x), dtype=torch.bool)
        for split in leaf.splits:
            z = values[split.node].flatten(1)[:, split.index]
            inside &= (z >= split.point) if split.upper else (z <= split.point)
        covered += inside
        assert leaf.floor > 0
        assert bool((margins[inside] - offset >= leaf.floor - 1e-9).all())
        assert leaf.alpha.shape == leaf.gamma.shape == (1, len(leaf.lower))
    assert bool((covered >= 1).all())
    assert any(leaf.splits for leaf in kept.leaves) or len(kept.leaves) == 1
    assert all(isinstance(split, Split) for leaf in kept.leaves for split in leaf.splits)


def test_corners_of_low_margin_are_offered() -> None:
    network, region = mlp((3, 8, 1), seed=2), Box(-np.ones(3), np.ones(3))
    wide = network.to(torch.float64)
    x = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (50, 3)))
    least = float(wide(x).min())
    bracket = Bracket(Case(region, below([1.0], least - 0.01)))
    falsifier = Falsifier(
        wide, boxes_to_interval([region], torch.float64), bracket, witness_of(network)
    )
    falsifier.try_corners(x, torch.zeros(50, dtype=torch.long), Budget())
    assert bracket.upper <= 0.01 + 1e-6
    falsifier.try_corners(x[:0], torch.zeros(0, dtype=torch.long), Budget())


@pytest.mark.parametrize(
    "wrong", [{"iterations": 0}, {"candidates": 0}, {"batch": 0}, {"memory_bytes": 0}]
)
def test_options_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(wrong))):
        NeuronSearchOptions(**wrong)
