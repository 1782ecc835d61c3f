"""Interrupts at any moment: the bracket holds, and little is done after them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models import load_network
from models.network import Network
from solvers.bounds import BoundOptions
from solvers.bracket import Bracket
from solvers.budget import Budget
from solvers.errors import StoppedError
from solvers.exact import ExactMode, ExactOptions, ExactStatus, exact_margin
from solvers.ladder import CaseBatch
from solvers.methods import Method
from solvers.portfolio import DecideOptions, Run, decide, members, searches
from solvers.problem import Box, Case, Clause, Problem, Specification
from solvers.results import Verdict
from tests.helpers.networks import cnn

_GAP = 2e-4
_ASKED_AFTERWARDS = 60
"""How often members look at the clock on their way out. They look before every layer of a pass, so
that this is about the work that an interrupt has to wait for."""


def _case(network: Network, offset: float) -> Case:
    center = np.full(network.input_shape, 0.4)
    clause = Clause(np.array([[1.0, -1.0, 0.0]]), np.array([offset]))
    return Case(Box(center - 0.5, center + 0.5), Specification((clause,)))


@pytest.fixture(scope="module")
def solved() -> tuple[Network, float]:
    """A convolutional network, and the exact margin over a region, up to `_GAP`."""
    network = load_network(cnn())
    wide, case = network.to(torch.float64), _case(network, 0.0)
    bounds = CaseBatch(wide, [case]).bound(Method.CROWN, options=BoundOptions()).node_bounds(0)
    options = ExactOptions(mode=ExactMode.OPTIMIZE)
    found = exact_margin(wide, case, bounds, options=options, budget=Budget())
    assert found.status is ExactStatus.OPTIMAL
    assert found.upper - found.lower < _GAP
    return network, found.lower


class Interrupt:
    """Cancels after it was asked a number of times, and counts."""

    def __init__(self, after: int) -> None:
        self.after, self.asked = after, 0

    def __call__(self) -> bool:
        self.asked += 1
        return self.asked > self.after


@settings(max_examples=20)
@given(after=st.integers(0, 800), side=st.sampled_from([1e-3, 0.05, -1e-3]))
def test_decisions_that_are_interrupted_anywhere_keep_a_valid_bracket(
    solved: tuple[Network, float], after: int, side: float
) -> None:
    network, exact = solved
    interrupt = Interrupt(after)
    decision = decide(
        network,
        Problem((_case(network, exact - side),)),
        DecideOptions(timeout_seconds=60.0, device="cpu"),
        cancelled=interrupt,
    )
    if decision.lower is not None:
        assert decision.lower <= side + _GAP
    if decision.upper is not None:
        assert decision.upper >= side - 1e-5
    if decision.verdict is Verdict.UNKNOWN:
        assert decision.reason == "cancelled"
        assert interrupt.asked - after <= _ASKED_AFTERWARDS
    assert decision.verdict is not (Verdict.VERIFIED if side < 0 else Verdict.FALSIFIED)


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_batch_that_is_watched_stops_in_the_middle_of_a_pass(
    after: int, solved: tuple[Network, float]
) -> None:
    network = solved[0].to(torch.float64)
    interrupt = Interrupt(after)
    watch = Budget(math.inf, interrupt)
    batch = CaseBatch(network, [_case(network, 0.0)], watch=watch)
    with pytest.raises(StoppedError, match="cancelled"):
        batch.bound(Method.CROWN, options=BoundOptions())
    assert interrupt.asked == after + 1
    finished = CaseBatch(network, [_case(network, 0.0)], watch=Budget())
    assert math.isfinite(finished.bound(Method.CROWN, options=BoundOptions()).lower(0))


@pytest.mark.parametrize("member", [members.crown, members.alpha_crown, searches.split_neurons])
def test_members_that_are_stopped_in_the_middle_say_so_and_prove_nothing_more(
    member: object, solved: tuple[Network, float]
) -> None:
    network, exact = solved
    bracket, interrupt = Bracket(_case(network, exact - 1e-4)), Interrupt(10**9)
    budget = Budget(math.inf, interrupt)
    run = Run.of(network, [bracket], device=torch.device("cpu"), budget=budget)
    if member is searches.split_neurons:
        members.crown(run, run.budget)
    known, ladder = bracket.lower, run.ladder
    interrupt.after = interrupt.asked + 3
    member(run, run.budget)  # type: ignore[operator]
    assert run.stages[-1].detail is not None
    assert "cancelled" in run.stages[-1].detail
    assert bracket.lower == known
    assert run.ladder is ladder
    assert run.decision().reason == "cancelled"
