"""What windows of a first layer decide is proved by them, without any search."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch

from models import load_network
from models.network import Network
from solvers.bounds import BoundOptions
from solvers.ladder import CaseBatch
from solvers.methods import Method
from solvers.portfolio import DecideOptions, decide
from solvers.problem import Box, Case, Clause, Problem, Specification
from solvers.proof.container import NeuronTree, read_proof
from solvers.proof.producing import produce
from solvers.proof.producing.ground import Ground
from solvers.proof.producing.produce import Proven, Prover
from solvers.proof.producing.trace import Trace
from solvers.proof.producing.window_proof import WindowCloser
from solvers.results import Verdict
from solvers.vnnlib import fit_problem, read_vnnlib
from tests.helpers import networks
from tests.solvers.proof.producing.support import dense, seconds

BENCHMARK = Path(__file__).parents[5] / "shared/benchmarks/verivital"
ROW = np.array([[1.0, -1.0, 0.0]])


def no_search(*_: object, **__: object) -> None:
    raise AssertionError("a search was begun")


def proved(network: Network, problem: Problem, trace: Trace) -> list[NeuronTree]:
    """Return the trees of a proof that is found without a search."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(produce, "NeuronCloser", no_search)
        patch.setattr(produce, "suits_boxes", lambda *_: False)
        outcome = Prover(network, "cpu").prove(problem, seconds(), trace=trace)
    assert isinstance(outcome, Proven), outcome
    assert "windows of a first layer" in outcome.check.parts
    return list(read_proof(io.BytesIO(outcome.content)).trees)


def between(network: Network, share: float) -> Case:
    """Return a case whose margin CROWN leaves negative and windows make positive.

    Args:
        network: It is about.
        share: How far the offset lies on the way from CROWN's bound to that of windows.
    """
    center = np.random.default_rng(0).random(network.input_shape)
    region = Box(center - 0.4, center + 0.4)

    def bounds(offset: float) -> tuple[float, float]:
        case = Case(region, Specification((Clause(ROW, np.array([offset])),)))
        batch = CaseBatch(network.to(torch.float64), [case])
        crown = batch.bound(Method.CROWN, options=BoundOptions())
        lower = crown.clause_lower[0]
        found = batch.by_windows(crown.intermediate, np.full(1, -np.inf), seconds())
        return float(lower[0]) + offset, float(found[0]) + offset

    # Asked for too much, windows climb as far as they can.
    low, high = bounds(1e3)
    assert low < high - 1e-2
    offset = low + share * (high - low)
    return Case(region, Specification((Clause(ROW, np.array([offset])),)))


@pytest.mark.parametrize("seed", range(3))
def test_what_windows_decide_is_proved_without_a_search(seed: int) -> None:
    """The kernel reaches beyond the edge, so that some windows have fewer inputs."""
    network = load_network(networks.cnn(seed=seed), name="maps")
    case = between(network, 0.6)
    far = Clause(-ROW, np.array([-1e3]))
    both = Case(case.region, Specification((far, *case.specification.clauses)))
    problem = Problem((both, case))
    first, second = proved(network, problem, Trace(by_windows={0, 1}))
    assert first.leaf_row.tolist() == [0, 1]
    assert second.leaf_row.tolist() == [2]
    assert first.windows is not None
    assert second.windows is not None
    assert first.windows.leaf.tolist() == [1]
    assert first.windows.slope.dtype == np.float16


def test_slopes_that_must_be_right_are_held_in_more_bits() -> None:
    """The climb ends where nothing can be spared for rounding."""
    network = load_network(networks.cnn(seed=1), name="maps")
    kinds = set()
    for share in (0.9, 0.99, 0.9999, 0.999999):
        (tree,) = proved(network, Problem((between(network, share),)), Trace(by_windows={0}))
        assert tree.windows is not None
        kinds.add(tree.windows.slope.dtype.name)
    assert "float32" in kinds


def test_what_windows_do_not_prove_is_left_to_others() -> None:
    network = load_network(networks.cnn(seed=1), name="maps")
    ground = Ground.of(network, torch.device("cpu"))
    assert WindowCloser(ground, between(network, 1.1), 0, seconds()).close() is None
    assert WindowCloser(ground, between(network, 0.5), 0, seconds()).close() is not None
    other = dense(0)
    region = Box(-np.ones(other.input_shape), np.ones(other.input_shape))
    case = Case(region, Specification((Clause(ROW, np.array([-1e3])),)))
    ground = Ground.of(other, torch.device("cpu"))
    assert WindowCloser(ground, case, 0, seconds()).close() is None


def test_a_benchmark_that_windows_decide_gets_a_proof() -> None:
    if not BENCHMARK.exists():
        pytest.skip("the benchmark folder is not beside the repository")
    network = load_network(BENCHMARK / "onnx/Convnet_avgpool.onnx")
    problem = read_vnnlib(BENCHMARK / "vnnlib/prop_7_0.04.vnnlib")
    fitted = fit_problem(problem, network.input_shape, network.output_size)
    trace = Trace()
    decision = decide(network, fitted, DecideOptions(timeout_seconds=60.0), trace=trace)
    assert decision.verdict is Verdict.VERIFIED
    assert trace.by_windows == {0}
    (tree,) = proved(network, fitted, trace)
    assert tree.windows is not None
    assert (tree.kind == 0).all()
