"""What is known of one case only improves, and nothing is believed twice over."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from models import OnnxRuntime, load_network
from models.network import Network
from solvers.bracket import Bracket, Witness
from solvers.problem import Box, Case, Clause, Specification
from solvers.results import Evidence, Verdict
from tests.helpers.networks import mlp, model, node


class _SkewedRuntime:
    """A runtime that disagrees with the network: every output is the same number."""

    def __init__(self, value: float, outputs: int = 3) -> None:
        self._value, self._outputs = value, outputs

    def run(self, x: np.ndarray) -> np.ndarray:
        return np.full((len(x), self._outputs), self._value, dtype=np.float32)


@pytest.fixture(scope="module")
def network() -> Network:
    return load_network(mlp((4, 8, 8, 3), seed=1))


@pytest.fixture
def witness(network: Network) -> Witness:
    return Witness(network.to(torch.float64), OnnxRuntime(network))


def _case(network: Network, offset: float) -> Case:
    """The first output is at most `offset`, or the second at most `offset` − 1."""
    shape = network.input_shape
    box = Box(np.full(shape, -1.0), np.full(shape, 1.0))
    clauses = (
        Clause(np.array([[1.0, 0.0, 0.0]]), np.array([offset])),
        Clause(np.array([[0.0, 1.0, 0.0]]), np.array([offset - 1])),
    )
    return Case(box, Specification(clauses))


def test_starts_with_no_verdict(network: Network) -> None:
    bracket = Bracket(_case(network, 0.0))
    assert bracket.verdict == (Verdict.UNKNOWN, Evidence.NONE)
    assert bracket.lower == -np.inf
    assert bracket.upper == np.inf
    assert not bracket.decided


def test_clause_bounds_never_get_worse(network: Network) -> None:
    bracket = Bracket(_case(network, 0.0))
    bracket.prove(np.array([1.0, -2.0]))
    bracket.prove(np.array([-1.0, -1.0]))
    assert bracket.clause_lower.tolist() == [1.0, -1.0]
    assert bracket.lower == -1.0
    assert not bracket.proved


def test_not_a_number_proves_nothing(network: Network) -> None:
    bracket = Bracket(_case(network, 0.0))
    bracket.prove(np.array([np.nan, 1.0]))
    assert bracket.lower == -np.inf


def test_every_clause_must_be_proved(network: Network) -> None:
    bracket = Bracket(_case(network, 0.0))
    bracket.prove(np.array([0.0, 1.0]))
    assert not bracket.proved, "a bound of exactly 0 leaves a tie, which is a counterexample"
    bracket.prove(np.array([1e-9, 1.0]))
    assert bracket.verdict == (Verdict.VERIFIED, Evidence.SOLVER)


def test_a_candidate_lowers_the_upper_bound_without_being_a_counterexample(
    network: Network, witness: Witness
) -> None:
    bracket = Bracket(_case(network, -1e3))
    bracket.offer(witness, np.zeros(network.input_shape))
    assert np.isfinite(bracket.upper)
    assert bracket.upper > 0
    assert bracket.counterexample is None


def test_a_confirmed_counterexample_outranks_a_proof(network: Network, witness: Witness) -> None:
    bracket = Bracket(_case(network, 1e3))
    bracket.offer(witness, np.zeros(network.input_shape))
    assert bracket.verdict == (Verdict.FALSIFIED, Evidence.CHECKED)
    assert bracket.counterexample is not None
    assert bracket.upper <= 0


def test_a_candidate_outside_the_region_is_moved_inside(network: Network, witness: Witness) -> None:
    bracket = Bracket(_case(network, 1e3))
    bracket.offer(witness, np.full(network.input_shape, 7.0))
    assert bracket.counterexample is not None
    assert np.abs(bracket.counterexample.x).max() <= 1.0


def test_no_candidate_changes_nothing(network: Network, witness: Witness) -> None:
    bracket = Bracket(_case(network, 1e3))
    bracket.offer(witness, None)
    assert bracket.upper == np.inf


def test_only_the_runtime_confirms(network: Network) -> None:
    """The float64 network sees a counterexample, the deployed one does not."""
    bracket = Bracket(_case(network, 10.0))
    skewed = Witness(network.to(torch.float64), _SkewedRuntime(1e6))
    bracket.offer(skewed, np.zeros(network.input_shape))
    assert bracket.upper <= 0
    assert bracket.counterexample is None
    assert bracket.verdict[0] is Verdict.UNKNOWN


@pytest.mark.parametrize("proof_first", [True, False])
def test_a_margin_below_a_proved_bound_withdraws_the_proof(
    network: Network, witness: Witness, caplog: pytest.LogCaptureFixture, proof_first: bool
) -> None:
    bracket = Bracket(_case(network, -1e3))
    reached = witness.margin(bracket.case, np.zeros(network.input_shape, dtype=np.float32))
    overstated = np.full(2, reached + 1.0)
    with caplog.at_level(logging.ERROR):
        if proof_first:
            bracket.prove(overstated)
            assert bracket.proved
            bracket.offer(witness, np.zeros(network.input_shape))
        else:
            bracket.offer(witness, np.zeros(network.input_shape))
            bracket.prove(overstated)
    assert bracket.contradiction is not None
    assert not bracket.proved
    assert bracket.verdict == (Verdict.UNKNOWN, Evidence.NONE)
    assert "contradict" in caplog.text


def test_a_fixed_input_that_float32_does_not_hold_contradicts_nothing() -> None:
    """What is run is the number nearest to it; what is proved is about the number itself."""
    weights = {"w": np.array([[-1e6, 0.0]], np.float32), "b": np.array([100001.0], np.float32)}
    gemm = node("Gemm", ["x", "w", "b"], ["y"], transB=1)
    network = load_network(model([gemm], shape=(1, 2), weights=weights))
    region = Box(np.array([[0.1, 0.0]]), np.array([[0.1, 1.0]]))
    clause = Clause(np.array([[1.0]]), np.array([0.0]))
    bracket = Bracket(Case(region, Specification((clause,))))
    bracket.prove(np.array([1.0 - 1e-9]))
    bracket.offer(Witness(network.to(torch.float64), OnnxRuntime(network)), np.full((1, 2), 0.1))
    assert bracket.proved
    assert bracket.upper == pytest.approx(1.0, abs=1e-9)  # 0.9985 at float32(0.1)
