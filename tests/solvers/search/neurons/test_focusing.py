"""Bounds where a clause can still hold, and trees that grow on them."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.budget import Budget
from solvers.problem import Box, Case, Clause, Specification
from solvers.search.contract import SearchStatus
from solvers.search.crew import Monitor
from solvers.search.neurons import Leaf, NeuronSearchOptions
from solvers.search.neurons.domains import Domains
from solvers.search.neurons.focusing import Focuser
from solvers.search.neurons.functions import Functions, Limited, Start
from solvers.search.neurons.pace import Choice
from solvers.search.neurons.sharpening import Sharpener
from tests.helpers.graphs import mlp
from tests.solvers.search.neurons.support import (
    Domain,
    always_sharp,
    below,
    least_on_segment,
    random_box,
    search,
)

seeds = st.integers(0, 2**32 - 1)


def one_domain(domain: Domain, floor: float, rows: int) -> Domains:
    size = domain.layout.size
    zero = torch.zeros(1, dtype=torch.long)
    return Domains(
        zero,
        torch.full((1,), floor, dtype=torch.float64),
        zero,
        zero,
        domain.lower.unsqueeze(0),
        domain.upper.unsqueeze(0),
        torch.full((1, rows, size), 0.5),
        torch.zeros(1, rows, size),
        torch.zeros(1, 1, dtype=torch.long),
    )


@given(seeds, st.floats(0.0, 1.0), st.integers(1, 2), st.sampled_from([3, 1000]))
@settings(max_examples=30)
def test_focused_bounds_hold_where_the_clause_does(
    seed: int, share: float, rows: int, most: int
) -> None:
    """Nothing within the cutoff is lost, and no bound is wider than before."""
    generator = np.random.default_rng(seed)
    domain = Domain(mlp((3, 6, 6, 6, 2), seed=seed), random_box(generator, (3,), 2.0), generator)
    matrix = torch.from_numpy(generator.normal(size=(rows, 2)))
    margins = (domain.outputs @ matrix.T).amax(1)
    offset = torch.quantile(margins, share).repeat(rows)
    cutoff = torch.tensor([0.05 * float(margins.max() - margins.min()) + 1e-6], dtype=torch.float64)
    functions = Functions(domain.functions(matrix).coefficients, offset)
    focuser = Focuser(domain.layout, domain.bounder(torch.float32), row_limit=7)
    one = one_domain(domain, -1.0, rows)
    focused, looked_at = focuser.focus(one, functions, cutoff, Budget(), most)
    assert looked_at <= min(most, domain.layout.size)
    inside = margins - offset[0] <= cutoff
    assert bool((focused.lower >= one.lower).all())
    assert bool((focused.upper <= one.upper).all())
    assert bool((domain.values[inside] >= focused.lower[0].double()).all())
    assert bool((domain.values[inside] <= focused.upper[0].double()).all())
    # An empty domain is proved up to the cutoff, and then no input lies within it.
    assert float(focused.floor[0]) in {-1.0, float(cutoff[0])}
    assert float(focused.floor[0]) == -1.0 or not bool(inside.any())


@given(seeds)
def test_weighted_limits_are_what_they_say(seed: int) -> None:
    """Bounds lie below z plus the weighted rows; pressures are the rows' values."""
    generator = np.random.default_rng(seed)
    domain = Domain(mlp((3, 6, 6, 2), seed=seed), random_box(generator, (3,)), generator)
    if domain.layout.size == 0:
        return
    slot = domain.layout.slots[0]
    count = len(slot.indices)
    matrix = torch.from_numpy(generator.normal(size=(2 * count, 2)))
    offset = torch.from_numpy(generator.normal(size=2 * count))
    limits = Functions(domain.functions(matrix).coefficients, offset)
    weights = torch.from_numpy(generator.exponential(size=(count, 2)))
    limited = Limited(Start(slot.node, slot.indices, torch.ones(count)), limits, weights)
    zeros = torch.zeros(count, domain.layout.size)
    lower = domain.bounder().lower(limited, domain.terms(zeros, zeros))
    rows = (domain.outputs @ matrix.T - offset).reshape(-1, count, 2)
    reached = domain.values[:, slot.part] + (rows * weights).sum(-1)
    assert bool((lower <= reached.amin(0)).all())
    pressure = limited.pressure(domain.outputs[:1].expand(count, -1))
    assert torch.allclose(pressure, rows[0])
    last = torch.tensor([count - 1])
    part = domain.bounder().lower(limited[last], domain.terms(zeros[:1], zeros[:1]))
    assert float(part[0]) == pytest.approx(float(lower[-1]), rel=1e-9, abs=1e-9)


@given(seeds, st.sampled_from([1e-6, 1e-2]))
@settings(max_examples=12)
def test_thin_margins_against_rational_arithmetic(seed: int, gap: float) -> None:
    """On tightened bounds too, a margin of `gap` is proved and one of −`gap` never."""
    generator = np.random.default_rng(seed)
    network = mlp((2, 5, 5, 1), seed=seed)
    lower = generator.normal(size=2)
    region = Box(lower, lower + np.array([0.0, 3.0]))
    least = float(least_on_segment(network, region, [1.0]))
    with always_sharp():
        outcome, bracket = search(network, Case(region, below([1.0], least - gap)))
        assert outcome.status is SearchStatus.DECIDED
        assert bracket.proved or (bracket.counterexample is not None and gap < 1e-5)
        assert bracket.lower <= gap * (1 + 1e-6)
        _, bracket = search(network, Case(region, below([1.0], least + gap)))
    assert not bracket.proved
    assert bracket.lower <= -gap * (1 - 1e-6)


@given(seeds)
@settings(max_examples=10)
def test_clauses_of_several_rows_are_decided_alike(seed: int) -> None:
    """Both trees come to the same answer, for clauses whose rows limit each other."""
    generator = np.random.default_rng(seed)
    network = mlp((3, 6, 6, 3), seed=seed)
    region = random_box(generator, (3,), 1.5)
    clauses = tuple(
        Clause(generator.normal(size=(2, 3)), generator.normal(size=2)) for _ in range(2)
    )
    case = Case(region, Specification(clauses))
    plain = search(network, case, NeuronSearchOptions(sharpen=False))[1]
    with always_sharp():
        sharp = search(network, case)[1]
    # Splitting alone bounds each row by itself, and stalls where only a sum of rows is positive.
    assert plain.verdict == sharp.verdict or not plain.decided
    assert sharp.contradiction is None  # `upper` is what float32 made of an input


@given(seeds, st.integers(0, 40))
@settings(max_examples=12)
def test_interrupted_anywhere_the_bracket_holds(seed: int, asked: int) -> None:
    generator = np.random.default_rng(seed)
    network = mlp((2, 8, 8, 1), seed=seed)
    lower = generator.normal(size=2)
    region = Box(lower, lower + np.array([3.0, 0.0]))
    least = float(least_on_segment(network, region, [1.0]))
    left = iter(range(asked))
    budget = Budget(cancelled=lambda: next(left, None) is None)
    with always_sharp():
        _, bracket = search(network, Case(region, below([1.0], least - 1e-3)), budget=budget)
    assert bracket.lower <= 1e-3 + 1e-9
    assert bracket.upper >= 1e-3 - 1e-6


class Leaves:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.found: list[Leaf] = []

    def record(self, leaf: Leaf) -> None:
        self.found.append(leaf)


@pytest.mark.parametrize("sharpen", [False, True])
def test_leaves_say_whether_splits_alone_prove_them(sharpen: bool) -> None:
    """Those of either tree cover no part of the region twice, and of one of them the whole."""
    network = mlp((3, 8, 8, 1), seed=5)
    region = Box(-np.ones(3), np.ones(3))
    value = network.to(torch.float64)(torch.zeros(1, 3, dtype=torch.float64))
    case = Case(region, below([1.0], float(value) - 3.0))
    leaves = Leaves()
    options = NeuronSearchOptions(recorder=leaves, sharpen=sharpen)
    with always_sharp() if sharpen else nullcontext():
        _, bracket = search(network, case, options)
    shares = {
        sharp: sum(0.5 ** len(leaf.splits) for leaf in leaves.found if leaf.sharp is sharp)
        for sharp in (False, True)
    }
    assert max(shares.values()) <= 1.0
    assert sharpen or not shares[True]
    if bracket.proved:
        assert max(shares.values()) == pytest.approx(1.0)


def test_the_tree_that_ends_sooner_is_grown() -> None:
    choice = Choice(10.0, roots=1)
    assert not choice.second
    for _ in range(100):
        second = choice.second
        choice.note(second=second, closed=0.02 if second else 0.001, seconds=0.1)
    spent = [0, 0]
    for _ in range(100):
        spent[choice.second] += 1
        choice.note(second=choice.second, closed=0.0, seconds=0.1)
    assert spent[1] > spent[0] > 0


def test_what_is_proved_is_capped_by_the_cutoff() -> None:
    domain = Domain(
        mlp((3, 6, 6, 2), seed=3), Box(-np.ones(3), np.ones(3)), np.random.default_rng(1)
    )
    focuser = Focuser(domain.layout, domain.bounder(torch.float32), row_limit=100)
    monitor = Monitor()
    sharpener = Sharpener(focuser, 2, domain.layout.size, monitor)
    clause = torch.tensor([0, 1])
    floors = torch.tensor([math.inf, 5.0], dtype=torch.float64)
    assert torch.equal(sharpener.capped(floors, clause), floors)
    functions = domain.functions(torch.tensor([[1.0, -1.0]], dtype=torch.float64))
    sharpener.timed(1, 1e-6)
    with monitor:
        sharpener.sharpen(one_domain(domain, -2.0, 1), functions, Budget())
    first = float(sharpener.ceiling[0])
    assert 0.0 < first < 0.1
    assert sharpener.capped(floors, clause).tolist() == [first, 5.0]
    # The cutoff stays: what earlier bounds rest on must hold for later ones.
    later = replace(one_domain(domain, -1.0, 1), depth=torch.ones(1, dtype=torch.long))
    with monitor:
        sharpener.sharpen(later, functions, Budget())
    assert float(sharpener.ceiling[0]) == first
