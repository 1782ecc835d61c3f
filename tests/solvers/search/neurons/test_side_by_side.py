"""Several threads in one tree: as right as one, whatever the order of their turns."""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from models.fold import fold_affine
from models.network import Network
from solvers.bracket import Bracket
from solvers.budget import Budget
from solvers.portfolio import DecideOptions, decide
from solvers.problem import Box, Case, Clause, Problem, Specification, linf_ball
from solvers.proof.producing.produce import Proven, Prover
from solvers.proof.producing.trace import NeuronLeaves, Trace
from solvers.results import Verdict
from solvers.search.contract import SearchProgress, SearchStatus
from solvers.search.crew import Monitor
from solvers.search.neurons import NeuronSearchOptions, search_neurons
from solvers.search.neurons.split_tree import SplitTree
from tests.helpers.graphs import mlp
from tests.solvers.proof.producing.support import dense, tight_case
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
crews = st.sampled_from([2, 3, 5])


@contextmanager
def shaken(seed: int) -> Iterator[None]:
    """Let threads dawdle outside the monitor, before and after what they compute."""
    chance, left = random.Random(seed), Monitor.left  # noqa: S311  orders, not secrets

    @contextmanager
    def slowly(self: Monitor) -> Iterator[None]:
        with left(self):
            time.sleep(chance.choice((0.0, 0.0, 1e-3)))
            yield
            time.sleep(chance.choice((0.0, 0.0, 1e-3)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Monitor, "left", slowly)
        yield


def sampled_least(network: Network, region: Box, row: list[float], count: int = 2000) -> float:
    generator = np.random.default_rng(1)
    share = generator.integers(0, 9, (count, *region.shape)) / 8  # corners among them
    x = region.lower + share * (region.upper - region.lower)
    y = network.to(torch.float64)(torch.from_numpy(x)).flatten(1)
    return float((y @ torch.tensor(row, dtype=torch.float64)).min())


@given(seeds, crews, st.integers(1, 3), st.sampled_from([1e-5, 1e-2]), st.booleans())
@settings(max_examples=25)
def test_thin_margins_against_rational_arithmetic(
    seed: int, workers: int, batch: int, gap: float, sharp: bool
) -> None:
    """A margin of `gap` is proved, one of −`gap` never, nor anything above the least value."""
    generator = np.random.default_rng(seed)
    network, lower = mlp((2, 6, 6, 1), seed=seed), generator.normal(size=2)
    upper = lower.copy()
    upper[int(generator.integers(2))] += 3.0
    region = Box(lower, upper)
    least = float(least_on_segment(network, region, [1.0]))
    options = NeuronSearchOptions(workers=workers, batch=batch)
    with always_sharp() if sharp else nullcontext(), shaken(seed):
        outcome, bracket = search(network, Case(region, below([1.0], least - gap)), options)
        assert outcome.status is SearchStatus.DECIDED
        assert bracket.proved
        assert bracket.lower <= gap * (1 + 1e-6)
        _, bracket = search(network, Case(region, below([1.0], least + gap)), options)
    assert bracket.counterexample is not None
    assert bracket.lower <= -gap * (1 - 1e-6)


@given(seeds, crews)
@settings(max_examples=8)
def test_leaves_cover_the_region_once(seed: int, workers: int) -> None:
    """The tree of each clause is whole, and every input of a leaf has the margin it says."""
    network, region = mlp((3, 6, 6, 2), seed=seed), Box(-np.ones(3), np.ones(3))
    clauses, generator = [], np.random.default_rng(seed)
    for _ in range(2):
        row = generator.normal(size=2)
        least = sampled_least(network, region, row.tolist())
        clauses.append(Clause(row[None], np.array([least - 0.15 * (1 + abs(least))])))
    leaves = NeuronLeaves()
    options = NeuronSearchOptions(workers=workers, batch=2, sharpen=False, recorder=leaves)
    case = Case(region, Specification(tuple(clauses)))
    with shaken(seed):
        outcome, bracket = search(network, case, options, budget=Budget.of_seconds(60))
    assume(bracket.counterexample is None)  # samples miss some that there are
    assert bracket.proved, outcome
    values = network.graph.evaluate(
        torch.from_numpy(generator.uniform(-1, 1, (300, 3))), network.to(torch.float64).parameters
    )
    outputs = values[network.graph.output].flatten(1).numpy()
    for number, clause in enumerate(clauses):
        own = [leaf for leaf in leaves.leaves if leaf.clause == number]
        if not own:
            continue  # the root's bounds were enough
        assert SplitTree.of(own) is not None
        hits = np.zeros(len(outputs), dtype=int)
        for leaf in own:
            inside = np.ones(len(outputs), dtype=bool)
            for split in leaf.splits:
                value = values[split.node].flatten(1)[:, split.index].numpy()
                inside &= value > split.point if split.upper else value <= split.point
            assert (clause.margin(outputs[inside]) >= leaf.floor - 1e-9).all()
            hits += inside
        assert (hits == 1).all()


@given(seeds, crews, st.integers(0, 60), st.booleans())
@settings(max_examples=40)
def test_interrupted_anywhere_the_bracket_holds(
    seed: int, workers: int, asked: int, sharp: bool
) -> None:
    generator = np.random.default_rng(seed)
    network, region = mlp((3, 8, 8, 2), seed=seed), random_box(generator, (3,), 3.0)
    least = sampled_least(network, region, [1.0, -1.0])
    calls, seen = itertools.count(), list[SearchProgress]()
    bracket = Bracket(Case(region, below([1.0, -1.0], least - 1e-3)))
    folded = fold_affine(network.to(torch.float64))
    with always_sharp() if sharp else nullcontext(), shaken(seed):
        outcome = search_neurons(
            folded,
            bracket,
            witness_of(network),
            options=NeuronSearchOptions(workers=workers, batch=2),
            budget=Budget(math.inf, lambda: next(calls) >= asked),
            known=crown_bounds(folded, region),
            progress=seen.append,
        )
    assert outcome.status in {SearchStatus.CANCELLED, SearchStatus.DECIDED}
    assert bracket.contradiction is None
    lowers = [step.lower for step in seen]
    assert lowers == sorted(lowers)
    assert max([*lowers, bracket.lower]) <= 1e-3 + 1e-9


def test_a_deadline_ends_all_threads() -> None:
    network, region = mlp((6, 60, 60, 60, 2), seed=0), Box(-np.ones(6), np.ones(6))
    case = Case(region, below([1.0, -1.0], sampled_least(network, region, [1.0, -1.0]) - 1e-3))
    options = NeuronSearchOptions(workers=3, falsify=False)
    outcome, bracket = search(network, case, options, budget=Budget.of_seconds(1.0))
    assert outcome.status is SearchStatus.TIMEOUT
    assert outcome.domains > 3
    assert -math.inf < bracket.lower <= 1e-3


@pytest.mark.parametrize("memory_bytes", [1 << 30, 60_000])
def test_a_small_pool_gives_the_same_verdict(memory_bytes: int) -> None:
    """What is worked on keeps room for what comes back."""
    network, region = mlp((3, 10, 10, 2), seed=6), Box(-np.ones(3), np.ones(3))
    offset = sampled_least(network, region, [1.0, -1.0], 20_000) - 0.05
    options = NeuronSearchOptions(memory_bytes=memory_bytes, batch=2, workers=3)
    with shaken(6):
        outcome, bracket = search(network, Case(region, below([1.0, -1.0], offset)), options)
    assert bracket.proved, outcome


def test_little_memory_ends_the_search_with_what_is_proved() -> None:
    network, region = mlp((4, 30, 30, 2), seed=3), Box(-np.ones(4), np.ones(4))
    options = NeuronSearchOptions(memory_bytes=10_000, falsify=False, workers=3)
    with shaken(0):
        outcome, bracket = search(network, Case(region, below([1.0, -1.0], -0.5)), options)
    assert outcome.status is SearchStatus.MEMORY
    assert np.isfinite(bracket.lower)
    assert not bracket.decided


def test_errors_of_progress_end_the_search() -> None:
    network, region = mlp((3, 12, 12, 2), seed=5), Box(-np.ones(3), np.ones(3))

    def broken(_: SearchProgress) -> None:
        raise OSError("nobody listens")

    folded = fold_affine(network.to(torch.float64))
    with pytest.raises(OSError, match="nobody"):
        search_neurons(
            folded,
            Bracket(Case(region, below([1.0, -1.0], sampled_least(network, region, [1.0, -1.0])))),
            witness_of(network),
            options=NeuronSearchOptions(workers=2, batch=1),
            budget=Budget.of_seconds(60),
            progress=broken,
        )


@pytest.mark.parametrize("seed", range(3))
def test_proofs_of_concurrent_trees_are_accepted(seed: int) -> None:
    """What torch may use is what the search uses, and the checker follows its leaves."""
    network, center = dense(seed), np.random.default_rng(seed).normal(size=(1, 30))
    region = linf_ball(center, 0.3, valid_range=None)
    problem = Problem((tight_case(network, region, [1.0, -1.0, 0.0]),))
    trace, before = Trace(), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with shaken(seed):
            options = DecideOptions(timeout_seconds=60, device="cpu")
            decision = decide(network, problem, options, trace=trace)
    finally:
        torch.set_num_threads(before)
    assert decision.verdict is Verdict.VERIFIED
    assert len(trace.neurons[0].best) > 1
    proven = Prover(network, "cpu").prove(problem, Budget.of_seconds(60), trace=trace)
    assert isinstance(proven, Proven)
    assert proven.check.accepted
