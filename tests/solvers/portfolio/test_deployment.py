"""Whether verdicts survive float32: the same answer in little time, or none."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from models import load_network
from models.network import Network, Normalization
from solvers.bracket import Bracket
from solvers.budget import Budget
from solvers.portfolio import DecideOptions, Run, decide, deployment, members
from solvers.problem import Box, Case, Clause, Problem, Specification
from solvers.proof.bounds import Enclosure
from solvers.proof.producing.trace import Trace
from solvers.results import Verdict
from tests.helpers.networks import cnn, mlp


def _case(network: Network, margin: float, width: float = 0.1) -> Case:
    """A case with several clauses whose margins are about `margin` times the outputs."""
    center = np.full(network.input_shape, 0.4)
    rows = np.eye(network.output_size)
    clauses = tuple(Clause(row[np.newaxis], np.array([-margin])) for row in (*rows, -rows[0]))
    return Case(Box(center - width, center + width), Specification(clauses))


def _run(network: Network, case: Case, budget: Budget) -> Run:
    run = Run.of(network, [Bracket(case)], device=torch.device("cpu"), budget=budget)
    members.crown(run, run.budget)
    assert not run.open
    return run


@pytest.fixture(scope="module")
def network() -> Network:
    return load_network(cnn())


def test_margins_far_above_rounding_survive_it(network: Network) -> None:
    run = _run(network, _case(network, 1e3), Budget())
    assert deployment.survives_float32(network, run) is True


def test_rounding_of_a_normalization_counts(network: Network) -> None:
    """Divided by a small number, inputs are large, and so is what float32 loses of them."""
    front = Normalization((0.0,), (1e-6,))
    large = Run.of(
        network.with_normalization(front),
        [Bracket(_case(network, 1e3))],
        device=torch.device("cpu"),
        budget=Budget(),
    )
    large.brackets[0].clause_lower[:] = 1e-2
    assert deployment.survives_float32(network.with_normalization(front), large) is False
    plain = _run(network, _case(network, 1e3), Budget())
    plain.brackets[0].clause_lower[:] = 1e-2
    assert deployment.survives_float32(network, plain) is True


def test_margins_below_rounding_do_not(network: Network) -> None:
    run = _run(network, _case(network, 1e3), Budget())
    run.brackets[0].clause_lower[:] = 1e-12
    assert deployment.survives_float32(network, run) is False


def test_without_time_nothing_is_said_but_what_is_plain(network: Network) -> None:
    over = Budget(math.inf, lambda: True)
    run = _run(network, _case(network, 1e3), Budget())
    run.budget = over
    assert deployment.survives_float32(network, run) is None


def test_an_analysis_that_is_cut_short_never_says_that_rounding_is_too_large(
    network: Network,
) -> None:
    """Errors are then larger than with all the time, so that only a yes is worth something."""
    run = _run(network, _case(network, 1e3, width=0.5), Budget())
    answers = set()
    for after in range(12):
        asked = iter(range(after))
        run.budget = Budget(math.inf, lambda asked=asked: next(asked, None) is None)
        answers.add(deployment.survives_float32(network, run))
    assert answers == {None, True}
    run.brackets[0].clause_lower[:] = 1e-12
    for after in range(1, 12):
        asked = iter(range(after))
        run.budget = Budget(math.inf, lambda asked=asked: next(asked, None) is None)
        assert deployment.survives_float32(network, run) is not True


def test_all_clauses_are_looked_at_in_one_analysis(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = []
    real = deployment.float32_error

    def counted(enclosure: Enclosure, matrix: np.ndarray) -> np.ndarray:
        shapes.append(matrix.shape)
        return real(enclosure, matrix)

    monkeypatch.setattr(deployment, "float32_error", counted)
    run = _run(network, _case(network, 1e3), Budget())
    assert deployment.survives_float32(network, run) is True
    assert shapes == [(network.output_size + 1, network.output_size)]


@pytest.mark.parametrize("proving", [False, True])
def test_where_a_proof_follows_float32_is_left_to_it(proving: bool) -> None:
    network = load_network(mlp((3, 8, 8, 2), seed=3))
    problem = Problem((_case(network, 1e3),))
    trace = Trace() if proving else None
    decision = decide(network, problem, DecideOptions(device="cpu"), trace=trace)
    assert decision.verdict is Verdict.VERIFIED
    assert decision.deployment_sound is (None if proving else True)
    if trace is not None:
        assert trace.assess() is True
