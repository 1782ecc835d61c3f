"""The tree that all clauses share, and bounds inside the network computed afresh in domains."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.fold import fold_affine
from models.network import Network
from models.operators import Sigmoid
from solvers.bracket import Bracket
from solvers.budget import Budget
from solvers.problem import Box, Case, Clause, Specification
from solvers.search.contract import SearchProgress, SearchStatus
from solvers.search.neurons import Leaf, NeuronSearchOptions
from solvers.search.neurons import trunk as trunks
from solvers.search.neurons.ascent import Ascent
from solvers.search.neurons.crossing import Traces
from solvers.search.neurons.influence import Sensitivity, influences
from solvers.search.neurons.prospect import Prospect
from solvers.search.neurons.rebounding import Rebounder
from solvers.search.neurons.recording import CommonTree, Passed
from solvers.search.neurons.refining import tightened
from solvers.search.neurons.shrinking import shrink
from solvers.search.neurons.split_tree import SplitTree
from solvers.search.neurons.stems import Stems, Waiting
from solvers.search.neurons.trunk import Trunk
from tests.helpers.graphs import mlp
from tests.solvers.search.neurons.support import (
    Domain,
    below,
    crown_bounds,
    least_on_segment,
    random_box,
    witness_of,
)

seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(autouse=True)
def grown() -> Iterator[None]:
    """Grow the tree wherever it can be grown, to its end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Prospect, "good", lambda *_, **__: True)
        patch.setattr(trunks, "_BEHIND", -1.0)
        yield


class Leaves:
    """Keeps leaves."""

    def __init__(self) -> None:
        self.leaves: list[Leaf] = []

    def record(self, leaf: Leaf) -> None:
        self.leaves.append(leaf)


def trunk_of(
    network: Network,
    case: Case,
    *,
    budget: Budget | None = None,
    recorder: Leaves | None = None,
    common: CommonTree | None = None,
) -> tuple[Trunk, Bracket]:
    """Return the tree over a case, from CROWN's bounds on."""
    folded, bracket = fold_affine(network.to(torch.float64)), Bracket(case)
    bracket.prove(np.full(len(case.specification.clauses), -1e6))
    rows = torch.eye(folded.output_size)
    shrunk = shrink(folded, crown_bounds(folded, case.region), rows)
    options = NeuronSearchOptions(recorder=recorder)
    limit = Budget.of_seconds(20.0) if budget is None else budget
    witness = witness_of(network)
    trunk = Trunk(shrunk, bracket, witness, options=options, budget=limit, common=common)
    return trunk, bracket


def segment(generator: np.random.Generator) -> Box:
    """Return a box along which one of two inputs varies."""
    lower = generator.normal(size=2)
    return Box(lower, lower + np.array([0.0, 3.0]))


@given(seeds, st.integers(1, 8), st.sampled_from([3, 1000]))
@settings(max_examples=40)
def test_no_input_of_a_domain_lies_beyond_its_bounds(seed: int, steps: int, limit: int) -> None:
    generator = np.random.default_rng(seed)
    domain = Domain(mlp((3, 6, 6, 6, 2), seed=seed), random_box(generator, (3,), 2.0), generator)
    rebounder = Rebounder(
        domain.layout, domain.bounder(torch.float32, moves=False), row_limit=limit
    )
    start = domain.lower.unsqueeze(0), domain.upper.unsqueeze(0)
    lower, upper, _ = rebounder.tighten(*start, steps=steps, budget=Budget())
    assert bool((lower >= start[0]).all())
    assert bool((upper <= start[1]).all())
    assert bool((domain.values >= lower.double()).all())
    assert bool((domain.values <= upper.double()).all())


@pytest.mark.parametrize("limit", [2, 1000])
def test_timing_takes_no_more_rows_than_a_pass_may_have(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On large networks hundreds of rows at once would fill the memory."""
    generator = np.random.default_rng(0)
    domain = Domain(mlp((3, 6, 6, 6, 2)), random_box(generator, (3,), 2.0), generator)
    bounder, counts = domain.bounder(torch.float32, moves=False), list[int]()
    monkeypatch.setattr(bounder, "estimate", lambda start, _: counts.append(start.count))
    assert Rebounder(domain.layout, bounder, row_limit=limit).seconds(4) >= 0
    assert counts
    assert max(counts) <= limit


def test_a_split_tightens_what_lies_behind() -> None:
    generator = np.random.default_rng(3)
    region = Box(np.zeros(3), np.full(3, 1.5))
    domain = Domain(mlp((3, 8, 8, 8, 2), seed=5), region, generator)
    layout = domain.layout
    rebounder = Rebounder(layout, domain.bounder(torch.float32, moves=False), row_limit=1000)
    whole = layout.lower.unsqueeze(0), layout.upper.unsqueeze(0)
    half = whole[0].clone(), whole[1].clone()
    half[1][0, : layout.slots[0].part.stop] = half[1][0, : layout.slots[0].part.stop].clamp(max=0)
    behind = slice(layout.slots[1].part.start, None)
    widths = [
        float((upper - lower)[0, behind].sum())
        for lower, upper, _ in (
            rebounder.tighten(*bounds, steps=4, budget=Budget()) for bounds in (whole, half)
        )
    ]
    assert widths[1] < 0.9 * widths[0]


@given(seeds)
@settings(max_examples=30)
def test_sensitivities_are_derivatives(seed: int) -> None:
    """Moving a bound a little changes what a pass proves by its derivative; costs are not below."""
    generator = np.random.default_rng(seed)
    domain = Domain(mlp((3, 6, 6, 2), seed=seed), random_box(generator, (3,), 2.0), generator)
    layout, bounder = domain.layout, domain.bounder(moves=False)
    zero = torch.zeros(1, layout.size, dtype=torch.float64)
    terms = domain.terms(zero + 0.5, zero).to(torch.float64)
    traces, row = Traces.like(terms), torch.from_numpy(generator.normal(size=(1, 2)))
    functions = domain.functions(row)
    passed = bounder.passed(functions, Ascent(terms, layout, 0.1), traces)
    found = Sensitivity.of(layout, terms, traces, before=layout.size)
    assert bool((found.cost >= 0).all())
    step = 1e-7
    for place in range(layout.size):
        low, high = terms.lower[0, place], terms.upper[0, place]
        inside = bool(low < traces.place[0, place] < high)
        if not (inside and low < -1e-3 and high > 1e-3):
            continue  # intervals that do not bind have no say
        for side, gained in (("lower", found.lower), ("upper", found.upper)):
            bounds = terms.lower.clone(), terms.upper.clone()
            bounds[side == "upper"][0, place] += step if side == "lower" else -step
            moved = type(terms)(*bounds, terms.alpha, terms.gamma)
            change = bounder.estimate(functions, moved)[0] - passed.value[0]
            expected = float(gained[0, place])
            assert expected >= 0
            assert float(change) / step == pytest.approx(expected, rel=0.05, abs=1e-2)


def test_influence_goes_through_the_bounds_behind() -> None:
    """A margin feels value 1 by 3, and value 0 by 2 itself and by 5 for each unit of value 1."""
    margin = Sensitivity(*(torch.tensor([row]) for row in ([2.0, 3.0], [0.0, 0.5], [0.0, 0.25])))
    places = torch.tensor([[0, 1, 0], [0, 1, 1]])
    inner = Sensitivity(torch.tensor([[5.0], [7.0]]), torch.zeros(2, 1), torch.zeros(2, 1))
    rows = torch.zeros(1, dtype=torch.long)
    whole, own = influences(2, (rows, margin), [(places, inner)], 2)
    assert own.tolist() == [[2.0, 3.0], [0.0, 0.0]]
    assert whole.tolist() == [[2.0 + 0.5 * 5.0 + 0.25 * 7.0, 3.0], [0.0, 0.0]]


@given(seeds, st.sampled_from([1e-6, 1e-2]))
@settings(max_examples=15)
def test_thin_margins_against_rational_arithmetic(seed: int, gap: float) -> None:
    """A margin of `gap` is proved or left open, one of −`gap` is never proved."""
    generator = np.random.default_rng(seed)
    network, region = mlp((2, 5, 5, 5, 1), seed=seed), segment(generator)
    least = float(least_on_segment(network, region, [1.0]))
    trunk, bracket = trunk_of(network, Case(region, below([1.0], least - gap)))
    ended = trunk.run()
    assert ended in {SearchStatus.DECIDED, None}
    assert bracket.lower <= gap * (1 + 1e-6)
    trunk, bracket = trunk_of(network, Case(region, below([1.0], least + gap)))
    trunk.run()
    assert not bracket.proved
    assert bracket.lower <= -gap + 1e-9


@given(seeds)
@settings(max_examples=15)
def test_shared_domains_prove_no_clause_too_much(seed: int) -> None:
    """Three clauses at once, one of two rows, with margins known from rational arithmetic."""
    generator = np.random.default_rng(seed)
    network, region = mlp((2, 5, 5, 3), seed=seed), segment(generator)
    rows = np.eye(3)
    least = [float(least_on_segment(network, region, row.tolist())) for row in rows]
    gaps = generator.uniform(-0.05, 0.3, size=3)
    clauses = [Clause(rows[i : i + 1], np.array([least[i] - gaps[i]])) for i in (0, 1)]
    # its first row is never positive, so that the second is its margin
    both = np.array([1e6, least[2] - gaps[2]])
    clauses.append(Clause(rows[[0, 2]], both))
    trunk, bracket = trunk_of(network, Case(region, Specification(tuple(clauses))))
    trunk.run()
    assert bool((bracket.clause_lower <= gaps + 1e-9).all())
    assert bracket.contradiction is None
    assert bracket.counterexample is None or bool((gaps < 1e-5).any())


def hard_case() -> tuple[Network, Case]:
    """Return a case of positive margins that bounds alone leave open."""
    network = mlp((3, 8, 8, 8, 2), seed=5)
    region = Box(np.zeros(3), np.full(3, 1.5))
    grid = np.array(list(itertools.product(np.linspace(0, 1.5, 13), repeat=3)))
    y = network.to(torch.float64)(torch.from_numpy(grid)).numpy()
    signs = [np.array([1.0, 0.0]), np.array([0.0, 1.0])]
    parts = [Clause(s[None], np.array([float((y @ s).min()) - 0.3])) for s in signs]
    return network, Case(region, Specification(tuple(parts)))


def test_leaves_of_proved_clauses_cover_the_region() -> None:
    network, case = hard_case()
    kept = Leaves()
    trunk, bracket = trunk_of(network, case, recorder=kept)
    told: list[SearchProgress] = []
    assert trunk.run(told.append) is SearchStatus.DECIDED
    assert bracket.proved
    assert told
    assert trunk.bounded >= told[-1].domains > 0
    for clause in (0, 1):
        tree = SplitTree.of([leaf for leaf in kept.leaves if leaf.clause == clause])
        assert tree is not None
    assert all(leaf.sharp and leaf.common and leaf.floor > 0 for leaf in kept.leaves)
    assert max(len(leaf.splits) for leaf in kept.leaves) > 0


def bounded_by(trunk: Trunk, passed: Passed, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """Return bounds of a domain after passes with the slopes kept of them, and no multipliers."""
    rebounder, values = trunk._rebounder, places_of(trunk)
    slot = next(s for s in rebounder._slots if s.node.name == passed.bounds[0][0])
    rows = torch.tensor([[0, values.index((n, i)), int(up)] for n, i, up in passed.bounds])
    terms = rebounder._terms(lower, upper, rows).to(torch.float64)
    terms.alpha.zero_()
    terms.alpha[:, : passed.slopes.shape[1]] = passed.slopes.double() / 255
    found = trunk._bounder.lower(rebounder._start(slot, rows), terms)
    return tightened(lower, upper, rows, found)


def places_of(trunk: Trunk) -> list[tuple[str, int]]:
    """Return node and flat index of every value; the network is as it was kept."""
    assert trunk._log is not None
    return [(name, index) for name, own in trunk._log._values for index in own.tolist()]


def test_a_tree_that_is_kept_can_be_followed_from_its_slopes_alone() -> None:
    network, case = hard_case()
    kept = CommonTree()
    trunk, bracket = trunk_of(network, case, common=kept)
    assert trunk.run() is SearchStatus.DECIDED
    assert bracket.proved
    waiting = [(0, trunk._layout.lower.unsqueeze(0), trunk._layout.upper.unsqueeze(0))]
    leaves = 0
    while waiting:
        number, lower, upper = waiting.pop()
        for passed in kept.passed.get(number, []):
            lower, upper = bounded_by(trunk, passed, lower, upper)
        empty = bool((lower > upper).any())
        for leaf in kept.leaves.get(number, []):
            leaves += 1
            assert math.isinf(leaf.floor) == empty
            assert empty or bool((leaf.lower <= lower[0] + 1e-5).all())
            assert empty or bool((leaf.upper >= upper[0] - 1e-5).all())
        if number in kept.halves:
            node, index, point = kept.cuts[number]
            at = places_of(trunk).index((node, index))
            below, above = upper.clone(), lower.clone()
            below[0, at] = above[0, at] = point
            first, second = kept.halves[number]
            waiting += [(first, lower, below), (second, above, upper)]
    assert leaves == sum(map(len, kept.leaves.values())) > 2


@pytest.mark.parametrize("cancelled", [False, True])
def test_what_is_interrupted_records_nothing(cancelled: bool) -> None:
    network, case = hard_case()
    calls = itertools.count()
    budget = Budget(math.inf, lambda: next(calls) > 40) if cancelled else Budget.of_seconds(0.0)
    kept = Leaves()
    trunk, bracket = trunk_of(network, case, budget=budget, recorder=kept)
    ended = trunk.run()
    assert ended is (SearchStatus.CANCELLED if cancelled else None)
    assert not bracket.proved
    assert kept.leaves == []


def test_curves_are_left_to_the_other_trees() -> None:
    network = mlp((2, 5, 5, 1), seed=1, activation=Sigmoid())
    trunk, _ = trunk_of(network, Case(Box(np.zeros(2), np.ones(2)), below([1.0], -10.0)))
    assert trunk.run() is None
    assert trunk.bounded == 0


def test_it_ends_where_splits_gain_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trunks, "_BEHIND", 2.0)
    network, case = hard_case()
    trunk, bracket = trunk_of(network, case)
    assert trunk.run() is None
    assert trunk.bounded == 1
    assert bracket.lower > -1e6


def stems(floors: list[list[float]]) -> Stems:
    count = len(floors)
    number = torch.arange(count)
    values = torch.ones(count, 2)
    slopes = torch.zeros(count, len(floors[0]), 1, 2)
    floor = torch.tensor(floors, dtype=torch.float64)
    none = torch.full((count, 1), -1)
    return Stems(floor, number, number, -values, values, slopes, slopes, none)


def test_the_least_bounds_come_first() -> None:
    waiting, three = Waiting(), stems([[-1.0, 2.0], [-3.0, 1.0], [0.5, -2.0]])
    waiting.add(three)
    assert waiting.bytes == 3 * three.bytes_each
    assert waiting.least(2).tolist() == [-3.0, -2.0]
    missing, depth = waiting.missing()
    assert sorted(zip(missing.tolist(), depth.tolist(), strict=True)) == [
        (1.0, 0),
        (2.0, 2),
        (3.0, 1),
    ]
    assert waiting.take(2).number.tolist() == [1, 2]
    assert waiting.least(2).tolist() == [-1.0, math.inf]
    assert len(waiting) == 1
    assert waiting.bytes == three.bytes_each


def test_halves_share_a_domain_at_zero() -> None:
    halves = stems([[-1.0], [-2.0]]).halves(torch.tensor([0, 1]), 7)
    assert halves.number.tolist() == [7, 8, 9, 10]
    assert halves.depth.tolist() == [1, 2, 1, 2]
    assert halves.upper.tolist() == [[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [1.0, 1.0]]
    assert halves.lower.tolist() == [[-1.0, -1.0], [-1.0, -1.0], [0.0, -1.0], [-1.0, 0.0]]
