"""Proofs in exact arithmetic: what they bound, and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from models.onnx_import import load_network
from solvers.budget import Budget
from solvers.problem import Problem
from solvers.proof import (
    Balls,
    UnsupportedProofError,
    check_proof,
    read_network,
    read_proof,
    write_proof,
)
from solvers.proof.bounds import Enclosure, Region
from solvers.proof.exact_bounds import Exact, Meter
from solvers.proof.producing import produce
from solvers.proof.rational import check_exactly
from tests.helpers.adversarial import Trap
from tests.helpers.networks import model, node
from tests.helpers.proofs import TreeBuilder, proof_of, whole
from tests.solvers.proof.parts.test_steps import NETWORKS, outputs
from tests.solvers.proof.support import BY_PLANES, layers_of, proved_by_planes
from tests.solvers.proof.test_mutations import problem_of


def proved(seed: int, folder: Path, *, by_boxes: bool) -> tuple[Path, Trap, Problem]:
    """Write a proof of a random network of two inputs."""
    generator = np.random.default_rng(seed)
    layers = layers_of(generator)
    problem = problem_of(layers, generator)
    trap = Trap(layers, problem, np.zeros(2, np.float32))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(produce, "suits_boxes", lambda *_: by_boxes)
        prover = produce.Prover(load_network(trap.network), "cpu")
        outcome = prover.prove(problem, Budget.of_seconds(300.0))
    assert isinstance(outcome, produce.Proven), outcome
    path = folder / "proof"
    path.write_bytes(outcome.content)
    return path, trap, problem


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("by_boxes", [True, False])
def test_accepted_proofs_are_accepted_exactly(seed: int, by_boxes: bool, tmp_path: Path) -> None:
    """The exact margin is above the rigorous one of float64, and below the truth."""
    path, trap, _ = proved(seed, tmp_path, by_boxes=by_boxes)
    rounded = check_proof(path, trap.network)
    exact = check_exactly(path, trap.network)
    assert rounded.accepted
    assert exact.accepted, exact.reason
    assert exact.leaves == rounded.leaves
    assert exact.margin is not None
    assert Fraction(rounded.margin) <= exact.margin + Fraction(1, 10**9)
    assert exact.margin <= trap.margin


@pytest.mark.parametrize("seed", BY_PLANES)
def test_planes_are_accepted_exactly_and_bound_almost_the_same(seed: int, tmp_path: Path) -> None:
    trap, _, content = proved_by_planes(seed)
    path = tmp_path / "proof"
    path.write_bytes(content)
    rounded, exact = check_proof(path, trap.network), check_exactly(path, trap.network)
    assert exact.accepted, exact.reason
    assert exact.margin is not None
    assert Fraction(rounded.margin) <= exact.margin <= Fraction(rounded.margin) + Fraction(1, 10**9)
    assert exact.margin <= trap.margin
    proof = read_proof(path)
    write_proof(path, replace(proof, offset=proof.offset + rounded.margin + 1e-9))
    assert "not positive" in str(check_exactly(path, trap.network).reason)


@pytest.mark.parametrize("by_boxes", [True, False])
def test_what_is_false_is_rejected(by_boxes: bool, tmp_path: Path) -> None:
    """Asked for more than the least margin, no tree proves it."""
    path, trap, _ = proved(3, tmp_path, by_boxes=by_boxes)
    proof = read_proof(path)
    write_proof(path, replace(proof, offset=proof.offset + float(trap.margin) + 1e-12))
    exact = check_exactly(path, trap.network)
    assert not exact.accepted
    assert exact.reason is not None
    assert "not positive" in exact.reason


def test_large_proofs_are_refused_with_a_reason(tmp_path: Path) -> None:
    path, trap, _ = proved(0, tmp_path, by_boxes=True)
    with pytest.raises(UnsupportedProofError, match="more than 100 products"):
        check_exactly(path, trap.network, most=100)


def layered(operator: str, generator: np.random.Generator, **attributes: object) -> bytes:
    """Return two products with a function between them; 4 inputs, 2 outputs."""
    weights = {
        name: generator.normal(size=size).astype(np.float32)
        for name, size in (("w", (4, 6)), ("v", (6, 2)))
    }
    nodes = [
        node("MatMul", ["x", "w"], ["z"]),
        node(operator, ["z"], ["s"], **attributes),
        node("MatMul", ["s", "v"], ["y"]),
    ]
    return model(nodes, shape=(1, 4), weights=weights)


def pooled(generator: np.random.Generator) -> bytes:
    """Return a normalisation, a maximum and a mean of thirds, none of which float64 holds."""
    weights = {name: generator.normal(size=1).astype(np.float32) for name in "gsm"}
    nodes = [
        node("BatchNormalization", ["x", *"gsmv"], ["b"]),
        node("MaxPool", ["b"], ["z"], kernel_shape=[2, 2]),
        node("Relu", ["z"], ["r"]),
        node("AveragePool", ["r"], ["y"], kernel_shape=[3, 1]),
    ]
    weights["v"] = np.array([0.3], np.float32)
    return model(nodes, shape=(1, 1, 4, 2), weights=weights)


FUNCTIONS: dict[str, dict[str, object]] = {
    "Abs": {}, "Exp": {}, "LeakyRelu": {"alpha": 0.1}, "Sigmoid": {}, "Sign": {}, "Sin": {},
    "Tanh": {},
}  # fmt: skip


def network_of(name: str, generator: np.random.Generator) -> bytes:
    if name == "pooled":
        return pooled(generator)
    if name in FUNCTIONS:
        return layered(name, generator, **FUNCTIONS[name])
    return NETWORKS[name][0]


@pytest.mark.parametrize("name", [*FUNCTIONS, *NETWORKS, "pooled"])
def test_bounds_of_every_function_are_found_again(name: str, tmp_path: Path) -> None:
    """They are as close as those of float64, and no sample is below them."""
    generator = np.random.default_rng(5)
    content = network_of(name, generator)
    network = read_network(content)
    size = network.sizes[0]
    lower = generator.normal(size=(1, size))
    upper = lower + 0.4
    row = np.zeros((1, network.sizes[network.output]))
    row[0, 0] = 1.0
    bound = Enclosure.of(network, Region(lower, upper)).rows(row).item()
    spare = 1e-3 * abs(bound) + 1e-3
    path = tmp_path / "proof"
    write_proof(path, proof_of(content, lower, upper, offset=np.array([bound - spare])))
    exact = check_exactly(path, content)
    assert exact.accepted, exact.reason
    assert exact.margin is not None
    assert float(exact.margin) >= spare * (1 - 1e-2)
    x = lower + generator.random((200, size)) * (upper - lower)
    least = outputs(content, x)[:, 0].min()
    assert bound - spare + float(exact.margin) <= least + 1e-4 * (1 + abs(least))


@pytest.mark.parametrize("norm", [1, 2])
def test_balls_are_bounded_by_dual_norms(norm: int, tmp_path: Path) -> None:
    """3 x + 4 y falls by 4 or 5 times the radius, in the norms 1 and 2."""
    content = model(
        [node("MatMul", ["x", "w"], ["y"])], shape=(1, 2), weights={"w": np.array([[3], [4]], "f")}
    )
    balls = Balls(norm, np.zeros((1, 2)), np.full((1, 2), 0.5))
    ends = np.full(2, -0.5), np.full(2, 0.5)
    path = tmp_path / "proof"
    write_proof(path, proof_of(content, *ends, balls=balls, offset=np.array([-4.0])))
    exact = check_exactly(path, content)
    assert exact.accepted
    assert exact.margin == pytest.approx({1: 2.0, 2: 1.5}[norm], abs=1e-12)
    assert exact.margin <= Fraction({1: 2.0, 2: 1.5}[norm])
    write_proof(path, proof_of(content, *ends, balls=balls, offset=np.array([-1.5])))
    assert not check_exactly(path, content).accepted


def test_what_has_no_value_proves_nothing(tmp_path: Path) -> None:
    """An inverse around 0 has no bound; that is a rejection, not an error."""
    content = model([node("Reciprocal", ["x"], ["y"])], shape=(1, 1))
    path = tmp_path / "proof"
    write_proof(path, proof_of(content, -np.ones(1), np.ones(1)))
    exact = check_exactly(path, content)
    assert not exact.accepted
    assert "inverse of 0" in str(exact.reason)


def test_splits_of_curves_are_walked_through(tmp_path: Path) -> None:
    """The halves of a split have lines of their own: |z| is −z or z there, next to 0."""
    content = model([node("Abs", ["x"], ["y"])], shape=(1, 1))
    builder = TreeBuilder((("x", 1),))
    builder.split(0)
    builder.leaf(0, gamma={0: 1.0})
    builder.leaf(0, gamma={0: -1.0})
    below = proof_of(
        content, -np.ones(1), np.ones(1), offset=np.array([-1e-9]), tree=whole([1]),
        trees=(builder.tree(),),
    )  # fmt: skip
    write_proof(tmp_path / "proof", below)
    assert check_proof(tmp_path / "proof", content).accepted
    exact = check_exactly(tmp_path / "proof", content)
    assert (exact.accepted, exact.leaves) == (True, 2)
    assert exact.margin == Fraction(1e-9)


def test_dual_matrices_are_checked_exactly_for_relus_alone() -> None:
    """They know no other lines, and no coefficients that are only near."""
    for content in (layered("Tanh", np.random.default_rng(0)), pooled(np.random.default_rng(0))):
        exact = Exact(read_network(content), Meter(1_000_000))
        with pytest.raises(UnsupportedProofError, match="dual matrices of networks of ReLUs"):
            exact.exact_layers()
