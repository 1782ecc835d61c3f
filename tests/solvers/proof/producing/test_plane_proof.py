"""What passes with cuts decide is proved by planes, without any search."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from models import load_network
from models.data import Dataset
from models.fold import fold_affine
from models.network import Network, Normalization
from solvers.bounds import BoundOptions
from solvers.certification import CertifyOptions, ItemResult, certify_items
from solvers.ladder import CaseBatch, LadderStep
from solvers.methods import Method
from solvers.problem import Box, Case, Clause, Problem, Specification, linf_ball
from solvers.proof.container import NeuronTree, read_proof
from solvers.proof.producing import produce
from solvers.proof.producing.ground import Ground
from solvers.proof.producing.plane_proof import PlaneCloser
from solvers.proof.producing.produce import Proven, Prover, Unproven
from solvers.proof.producing.trace import Trace
from solvers.proof.rational import check_exactly
from solvers.results import Evidence, Verdict
from tests.helpers import networks
from tests.solvers.proof.producing.support import dense, seconds, tight_case

ROW = np.array([[1.0, -1.0, 0.0]])


def no_search(*_: object, **__: object) -> None:
    raise AssertionError("a search was begun")


def bounded(network: Network, case: Case, method: Method, start: LadderStep | None) -> LadderStep:
    known = None if start is None else start.intermediate
    batch = CaseBatch(fold_affine(network.to(torch.float64)), [case])
    return batch.bound(method, options=BoundOptions(), known=known)


def between(network: Network, region: Box, share: float) -> Case:
    """Return a case whose margin CROWN leaves negative and cuts make positive.

    Args:
        network: It is about.
        region: Of the case.
        share: How far the offset lies on the way from CROWN's bound to that of cuts.
    """
    case = Case(region, Specification((Clause(ROW, np.zeros(1)),)))
    crown = bounded(network, case, Method.CROWN, None)
    cuts = bounded(network, case, Method.FASTC2V, crown)
    low, high = float(crown.clause_lower[0][0]), float(cuts.clause_lower[0][0])
    assert low < high - 1e-6
    offset = low + share * (high - low)
    return Case(region, Specification((Clause(ROW, np.array([offset])),)))


def proved(network: Network, case: Case, scaling: Normalization | None = None) -> NeuronTree:
    """Return the tree of a proof that is found without a search."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(produce, "NeuronCloser", no_search)
        prover = Prover(network, "cpu", scaling)
        outcome = prover.prove(Problem((case,)), seconds(), trace=Trace(by_cuts={0}))
    assert isinstance(outcome, Proven), outcome
    (tree,) = read_proof(io.BytesIO(outcome.content)).trees
    assert (tree.kind == 0).all()
    return tree


@pytest.mark.parametrize("seed", [0, 1, 3, 6])
def test_what_cuts_decide_is_proved_without_a_search(seed: int) -> None:
    network = dense(seed)
    center = np.random.default_rng(seed).normal(size=(1, 30))
    tree = proved(network, between(network, linf_ball(center, 0.3, valid_range=None), 0.6))
    assert tree.planes is not None
    assert len(tree.planes.user)


def test_clauses_that_lines_prove_get_no_planes() -> None:
    network = dense(3)
    region = linf_ball(np.random.default_rng(3).normal(size=(1, 30)), 0.3, valid_range=None)
    case = between(network, region, 0.6)
    far = Clause(-ROW, np.array([-1e3]))
    both = Case(region, Specification((far, *case.specification.clauses)))
    tree = proved(network, both)
    assert tree.planes is not None
    leaves = tree.planes.user - sum(len(group.index) for group in tree.groups)
    assert set(leaves[leaves >= 0].tolist()) == {1}


@pytest.mark.parametrize("build", [networks.cnn, networks.resnet])
def test_maps_sums_and_normalisations_are_proved(build: Callable[..., bytes]) -> None:
    """Windows of convolutions, and values that are made of two vectors."""
    network = load_network(build(seed=3, side=6), name="maps")
    center, scaling = (
        np.random.default_rng(0).random(network.input_shape),
        Normalization((0.4,), (0.3,)),
    )
    scaled = network.to(torch.float64).with_normalization(scaling)
    tree = proved(network, between(scaled, linf_ball(center, 0.1), 0.6), scaling)
    assert tree.planes is not None


def test_planes_are_checked_exactly_where_coefficients_are_only_near_what_is_held(
    tmp_path: Path,
) -> None:
    """Factors of a normalisation and averages are no float64 numbers."""
    network = load_network(networks.resnet(seed=3), name="maps")
    center = np.random.default_rng(0).random(network.input_shape)
    case = between(network, linf_ball(center, 0.1), 0.6)
    prover = Prover(network, "cpu")
    outcome = prover.prove(Problem((case,)), seconds(), trace=Trace(by_cuts={0}))
    assert isinstance(outcome, Proven), outcome
    path = tmp_path / "proof"
    path.write_bytes(outcome.content)
    assert read_proof(path).trees[0].planes is not None
    exact = check_exactly(path, network.source)
    assert exact.accepted, exact.reason
    assert exact.margin is not None
    assert outcome.check.margin <= exact.margin <= outcome.check.margin + 1e-9


def test_bounds_inside_get_planes_where_margins_alone_do_not_suffice() -> None:
    """Cuts in the passes of the margins gain nothing here."""
    network = dense(2)
    center = np.random.default_rng(2).normal(size=(1, 30))
    region = linf_ball(center, 0.3, valid_range=None)
    case = Case(region, Specification((Clause(ROW, np.array([-3.05])),)))
    assert bounded(network, case, Method.CROWN, None).clause_lower[0][0] < 0
    tree = proved(network, case)
    assert tree.groups
    assert tree.planes is not None
    assert (tree.planes.user < len(tree.groups[0].index)).any()


def test_what_cuts_do_not_prove_is_left_to_others() -> None:
    network = dense(1)
    case = tight_case(network, Box(-np.ones((1, 30)), np.ones((1, 30))), list(ROW[0]), share=0.01)
    ground = Ground.of(network, torch.device("cpu"))
    assert PlaneCloser(ground, case, 0, seconds()).close() is None
    false = tight_case(network, Box(-np.ones((1, 30)), np.ones((1, 30))), list(ROW[0]), share=-0.1)
    outcome = Prover(network, "cpu").prove(Problem((false,)), seconds(5), trace=Trace(by_cuts={0}))
    assert isinstance(outcome, Unproven)


def test_clauses_of_several_rows_and_cases_are_proved_together() -> None:
    network = dense(2)
    cases = []
    for seed in range(2):
        center = np.random.default_rng(seed).normal(size=(1, 30))
        case = between(network, linf_ball(center, 0.3, valid_range=None), 0.5)
        (first,) = case.specification.clauses
        both = Clause(np.concatenate([ROW, -ROW]), np.array([first.offset[0], 1e3]))
        cases.append(Case(case.region, Specification((first, both))))
    trace = Trace(by_cuts={0, 1})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(produce, "NeuronCloser", no_search)
        outcome = Prover(network, "cpu").prove(Problem(tuple(cases)), seconds(), trace=trace)
    assert isinstance(outcome, Proven), outcome
    proof = read_proof(io.BytesIO(outcome.content))
    assert [tree.leaf_row.tolist() for tree in proof.trees] == [[0, 1], [3, 4]]


def certified(method: Method) -> list[ItemResult]:
    """Return the inputs that a method verifies and CROWN does not."""
    network = dense(5)
    x = np.random.default_rng(5).random((40, 30)).astype(np.float32)
    labels = network(torch.from_numpy(x).unsqueeze(1)).reshape(40, -1).argmax(1).numpy()
    options = CertifyOptions(
        0.15, methods=(Method.CROWN, method), device="cpu", proof_timeout_seconds=60.0
    )
    items = certify_items(network, Dataset(x, labels), options)
    verified = [item for item in items if item.verdict is Verdict.VERIFIED]
    assert all(item.evidence is Evidence.CHECKED for item in verified)
    return [item for item in verified if item.lower["crown"] <= 0]


def planes_in(item: ItemResult) -> bool:
    assert item.proof_file is not None
    (tree,) = read_proof(io.BytesIO(item.proof_file)).trees
    return tree.planes is not None


def test_certifying_by_fastc2v_takes_no_search() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(produce, "NeuronCloser", no_search)
        items = certified(Method.FASTC2V)
    assert len(items) > 1
    assert all(planes_in(item) for item in items)


@pytest.mark.parametrize("method", [Method.ALPHA_FASTC2V, Method.OPTC2V])
def test_what_stronger_methods_verify_is_proved_by_planes_or_else_by_a_search(
    method: Method,
) -> None:
    items = certified(method)
    assert len(items) > 1
    assert any(planes_in(item) for item in items)
