"""What is verified gets a proof that the checker accepts, whatever decided it."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from models import load_network
from models.network import Network, Normalization
from solvers.balls import Norm
from solvers.portfolio import DecideOptions, decide
from solvers.problem import Box, Case, Clause, Problem, Specification, linf_ball, norm_ball
from solvers.proof.container import Proof, read_proof
from solvers.proof.producing import produce
from solvers.proof.producing.evidence import proof_report, survives_float32, with_proof
from solvers.proof.producing.produce import Proven, Prover, Unproven
from solvers.proof.producing.trace import Trace
from solvers.proof.stated import CheckResult
from solvers.results import Decision, Evidence, Verdict
from tests.helpers import networks
from tests.solvers.proof.producing.support import dense, seconds, tight_case

ROW = [1.0, -1.0, 0.0]


def proven(network: Network, problem: Problem, trace: Trace | None = None) -> tuple[Proven, Proof]:
    outcome = Prover(network, "cpu").prove(problem, seconds(), trace=trace)
    assert isinstance(outcome, Proven), outcome
    assert outcome.check.accepted
    assert outcome.check.margin > 0
    return outcome, read_proof(io.BytesIO(outcome.content))


def decided(network: Network, problem: Problem) -> Trace:
    trace = Trace()
    options = DecideOptions(timeout_seconds=60, device="cpu")
    assert decide(network, problem, options, trace=trace).verdict is Verdict.VERIFIED
    return trace


@pytest.mark.parametrize("seed", range(4))
def test_splits_inside_the_network_are_proved(seed: int) -> None:
    network = dense(seed)
    center = np.random.default_rng(seed).normal(size=(1, 30))
    case = tight_case(network, linf_ball(center, 0.3, valid_range=None), ROW)
    problem = Problem((case,))
    trace = decided(network, problem)
    outcome, proof = proven(network, problem, trace)
    assert len(outcome.content) < 1_000_000
    if proof.trees:
        (tree,) = proof.trees
        assert (tree.leaf_row <= 0).all()
        assert outcome.check.leaves == len(tree.leaf_row)


@pytest.mark.parametrize("seed", range(3))
def test_boxes_are_proved_from_the_leaves_of_the_search(seed: int) -> None:
    network = dense(seed, inputs=3)
    case = tight_case(network, Box(-np.ones((1, 3)), np.ones((1, 3))), ROW)
    problem = Problem((case,))
    trace = decided(network, problem)
    assert trace.by_boxes == {0}
    leaves = trace.boxes.of(0)
    assert leaves is not None
    _, proof = proven(network, problem, trace)
    assert len(proof.trees) == 0
    # Bounds differ a little from those of the search, so that a few boxes are cut again.
    assert len(proof.tree.kind) >= len(leaves[0])
    _, alone = proven(network, problem)
    assert len(alone.trees) == 0


@pytest.mark.parametrize("norm", [Norm.ONE, Norm.TWO])
def test_balls_are_proved(norm: Norm) -> None:
    network = dense(1, inputs=6)
    center = np.random.default_rng(1).normal(size=(1, 6))
    region = norm_ball(center, 0.5, norm, valid_range=None)
    wide = network.to(torch.float64)
    middle = float(wide(torch.from_numpy(center)[None]).flatten() @ torch.tensor(ROW).double())
    clause = Clause(np.array([ROW]), np.array([middle - 3.0]))
    problem = Problem((Case(region, Specification((clause,))),))
    _, proof = proven(network, problem)
    assert proof.balls is not None
    assert proof.balls.norm == int(norm.value)


def test_many_cases_clauses_and_rows_are_proved_together() -> None:
    network = dense(2, inputs=3)
    cases = []
    for seed in range(4):
        low = np.random.default_rng(seed).normal(size=(1, 3))
        case = tight_case(network, Box(low, low + 0.6), ROW)
        (first,) = case.specification.clauses
        # An AND with a row that never holds, and one that may.
        both = Clause(np.array([ROW, [0.0, 0.0, 1.0]]), np.array([first.offset[0], 1e3]))
        cases.append(Case(case.region, Specification((first, both))))
    problem = Problem(tuple(cases))
    _, proof = proven(network, problem, decided(network, problem))
    assert proof.row_case.tolist() == [case for case in range(4) for _ in range(3)]
    assert proof.row_clause.tolist() == [0, 1, 1] * 4


@pytest.mark.parametrize("build", [networks.cnn, networks.resnet])
def test_maps_and_a_normalisation_are_proved(build: object) -> None:
    network = load_network(build(seed=3), name="maps")  # type: ignore[operator]
    center = np.random.default_rng(0).random(network.input_shape)
    scaling = Normalization((0.4,), (0.3,))
    scaled = network.to(torch.float64).with_normalization(scaling)
    case = tight_case(scaled, linf_ball(center, 0.04), ROW, share=0.05)
    outcome = Prover(network, "cpu", scaling).prove(Problem((case,)), seconds())
    assert isinstance(outcome, Proven), outcome
    assert read_proof(io.BytesIO(outcome.content)).normalization == ((0.4,), (0.3,))


@pytest.mark.parametrize("activation", ["Sigmoid", "Tanh"])
def test_curves_are_proved(activation: str) -> None:
    network = load_network(networks.mlp((30, 8, 8, 3), seed=1, activation=activation), name="c")
    center = np.random.default_rng(1).normal(size=(1, 30))
    case = tight_case(network, linf_ball(center, 0.1, valid_range=None), ROW, share=0.1)
    proven(network, Problem((case,)))


def test_curves_beyond_adaptive_slopes_are_proved() -> None:
    """Slopes of inner bounds are optimised, and lines of curves stay where the checker has them."""
    network = load_network(networks.mlp((30, 8, 8, 8, 3), seed=1, activation="Sigmoid"), name="c")
    center = np.random.default_rng(1).normal(size=(1, 30))
    case = tight_case(network, linf_ball(center, 0.3, valid_range=None), ROW, share=0.02)
    proven(network, Problem((case,)), Trace(hard={0}))


def test_what_does_not_hold_is_not_proved() -> None:
    network = dense(0)
    case = tight_case(network, Box(-np.ones((1, 30)), np.ones((1, 30))), ROW, share=-0.1)
    outcome = Prover(network, "cpu").prove(Problem((case,)), seconds(5))
    assert isinstance(outcome, Unproven)
    assert outcome.reason


def test_time_that_is_up_leaves_a_reason() -> None:
    network = dense(1)
    case = tight_case(network, Box(-np.ones((1, 30)), np.ones((1, 30))), ROW, share=0.01)
    outcome = Prover(network, "cpu").prove(Problem((case,)), seconds(0.0))
    assert isinstance(outcome, Unproven)
    assert "timeout" in outcome.reason


def test_a_network_that_the_checker_cannot_read_leaves_a_reason() -> None:
    gelu = networks.model(
        [networks.node("Softplus", ["x"], ["h"]), networks.node("Neg", ["h"], ["y"])], shape=(1, 2)
    )
    network = load_network(gelu, name="gelu")
    clause = Clause(np.array([[1.0, 0.0]]), np.array([-100.0]))
    problem = Problem((Case(Box(np.zeros((1, 2)), np.ones((1, 2))), Specification((clause,))),))
    outcome = Prover(network, "cpu").prove(problem, seconds())
    assert isinstance(outcome, Unproven)
    assert "Softplus" in outcome.reason


def test_bounds_that_overflow_leave_a_reason() -> None:
    nodes = [networks.node("Exp", ["x"], ["e"]), networks.node("Exp", ["e"], ["y"])]
    network = load_network(networks.model(nodes, shape=(1, 2)), check=False)
    region = Box(np.zeros((1, 2)), np.full((1, 2), 9.0))
    case = Case(region, Specification((Clause(np.array([[1.0, 0.0]]), np.array([0.5])),)))
    outcome = Prover(network, "cpu").prove(Problem((case,)), seconds())
    assert isinstance(outcome, Unproven)
    assert "overflow" in outcome.reason


def test_a_rejected_proof_is_no_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checker that says no leaves the verdict to be taken on trust, with its reason."""

    def reject(*_arguments: object, **_named: object) -> CheckResult:
        return CheckResult(False, "a leaf proves nothing")

    monkeypatch.setattr(produce, "check_proof", reject)
    network = dense(0)
    case = tight_case(network, linf_ball(np.zeros((1, 30)), 0.01, valid_range=None), ROW)
    outcome = Prover(network, "cpu").prove(Problem((case,)), seconds())
    assert isinstance(outcome, Unproven)
    verified = Decision(Verdict.VERIFIED, Evidence.SOLVER, 1.0)
    after = with_proof(verified, outcome)
    assert (after.verdict, after.evidence) == (Verdict.VERIFIED, Evidence.SOLVER)
    assert after.deployment_sound is None
    assert after.proof is not None
    assert "a leaf proves nothing" in str(after.proof.reason)


def test_an_accepted_proof_is_evidence() -> None:
    network = dense(0)
    case = tight_case(network, linf_ball(np.zeros((1, 30)), 0.01, valid_range=None), ROW)
    outcome, _ = proven(network, Problem((case,)))
    after = with_proof(Decision(Verdict.VERIFIED, Evidence.SOLVER, 1.0), outcome)
    assert after.evidence is Evidence.CHECKED
    assert after.deployment_sound is survives_float32(outcome) is True
    report = proof_report(outcome).to_json()
    assert report["bytes"] == len(outcome.content)
    assert report["reason"] is None
    assert 0 < report["deployment_margin"] < report["margin"]
