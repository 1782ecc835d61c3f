"""A search that begins where another has been comes to the same answer, with less work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.network import Network
from solvers.bracket import Bracket
from solvers.budget import Budget
from solvers.problem import Case
from solvers.search.contract import SearchOutcome
from solvers.search.neurons import Leaf, NeuronSearchOptions, Split
from solvers.search.neurons.layout import Layout
from solvers.search.neurons.starting import Starts
from tests.helpers.graphs import mlp
from tests.solvers.search.neurons.support import below, layout_and_bounder, random_box, search

seeds = st.integers(0, 2**32 - 1)


class Leaves:
    def __init__(self) -> None:
        self.found: list[Leaf] = []

    def record(self, leaf: Leaf) -> None:
        self.found.append(leaf)


def question(seed: int, missing: float = 0.05) -> tuple[Case, Network]:
    """Return a network and a case that takes splits, and mostly holds."""
    generator = np.random.default_rng(seed)
    network = mlp((3, 8, 8, 1), seed=seed)
    region = random_box(generator, (3,), 1.5)
    inputs = torch.from_numpy(
        generator.uniform(region.lower, region.upper, size=(4000, *region.lower.shape))
    )
    least = float(network.to(torch.float64)(inputs).min())
    return Case(region, below([1.0], least - missing)), network


def resumed(
    seed: int, start: Sequence[Leaf] | None, budget: Budget | None = None
) -> tuple[SearchOutcome, Bracket, list[Leaf]]:
    case, network = question(seed)
    leaves = Leaves()
    options = NeuronSearchOptions(sharpen=False, recorder=leaves, start=start)
    outcome, bracket = search(network, case, options, budget=budget or Budget())
    return outcome, bracket, leaves.found


def covered(leaves: Sequence[Leaf]) -> float:
    return float(sum(0.5 ** len(leaf.splits) for leaf in leaves))


@given(seeds, st.floats(0, 1))
@settings(max_examples=15)
def test_leaves_of_a_search_close_it_again_whatever_is_lost_of_them(
    seed: int, share: float
) -> None:
    """Without some of the leaves, or with useless multipliers, the verdict is the same."""
    _, bracket, leaves = resumed(seed, None)
    generator = np.random.default_rng(seed)
    kept = [leaf for leaf in leaves if generator.random() < share]
    spoilt = [replace(leaf, gamma=-5.0 * leaf.gamma, alpha=1 - leaf.alpha) for leaf in kept]
    for start in (kept, spoilt, []):
        _, again, found = resumed(seed, start)
        assert again.proved == bracket.proved
        assert again.contradiction is None  # `upper` is what float32 made of an input
        if again.proved and found:
            assert covered(found) == pytest.approx(1.0)


def bare(leaf: Leaf) -> tuple[Split, ...]:
    return tuple(replace(split, tightened=()) for split in leaf.splits)


def test_domains_of_all_leaves_are_taken_over() -> None:
    fewer = 0
    for seed in range(12):
        outcome, bracket, leaves = resumed(seed, None)
        if not bracket.proved or len(leaves) < 3:
            continue
        again, second, found = resumed(seed, leaves)
        assert second.proved
        paths = {bare(leaf) for leaf in leaves}
        for path in map(bare, found):
            assert any(path[:length] in paths for length in range(len(path) + 1))
        fewer += again.domains < outcome.domains
    assert fewer > 0


def test_time_that_is_up_proves_nothing() -> None:
    seed = next(s for s in range(20) if len(resumed(s, None)[2]) > 2)
    leaves = resumed(seed, None)[2]
    outcome, bracket, _ = resumed(seed, leaves, Budget(cancelled=lambda: True))
    assert not bracket.proved
    assert outcome.status.value == "cancelled"


def starts_of(seed: int) -> tuple[Starts, Layout]:
    case, network = question(seed)
    layout, _ = layout_and_bounder(network, case.region)
    return Starts(layout, {}, rows=1, width=2, moves=False), layout


def leaf(layout: Layout, *splits: Split) -> Leaf:
    values = tuple((slot.node.name, slot.indices) for slot in layout.slots)
    row = torch.arange(layout.size, dtype=torch.float32).unsqueeze(0)
    return Leaf(0, splits, 1.0, values, row[0], row[0], row, -row)


def test_gaps_become_domains_without_multipliers() -> None:
    starts, layout = starts_of(3)
    slot = layout.slots[0]
    cut = slot.node.name, int(slot.indices[0]), 0.0
    known = leaf(layout, Split(*cut, upper=True))
    ((domains, splits),) = starts.parts(0, -1.0, [known], 10)
    assert [[split.upper for split in path] for path in splits] == [[False], [True]]
    assert domains.upper[0, 0] == 0.0
    assert domains.lower[1, 0] == 0.0
    assert not domains.gamma[0].any()
    assert torch.equal(domains.gamma[1], known.gamma)
    assert torch.equal(domains.alpha[1], known.alpha)
    assert domains.floor.tolist() == [-1.0, -1.0]
    assert domains.depth.tolist() == [1, 1]
    assert [len(part) for part, _ in starts.parts(0, -1.0, [known], 1)] == [1, 1]


def test_cuts_that_bounds_have_settled_are_left_out() -> None:
    starts, layout = starts_of(3)
    slot = layout.slots[0]
    low, high = float(layout.lower[0]), float(layout.upper[0])
    for point, upper in ((low - 1.0, True), (high + 1.0, False)):
        outside = Split(slot.node.name, int(slot.indices[0]), point, upper)
        known = leaf(layout, outside)
        ((domains, splits),) = starts.parts(0, -1.0, [known], 10)
        assert splits == [()]
        assert torch.equal(domains.gamma[0], known.gamma)
        assert torch.equal(domains.lower[0], layout.lower)
        lost = leaf(layout, replace(outside, upper=not upper))
        ((domains, _),) = starts.parts(0, -1.0, [lost], 10)
        assert not domains.gamma.any()
