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
from solvers.proof import UnsupportedProofError, check_proof, read_proof, write_proof
from solvers.proof.producing import produce
from solvers.proof.rational import check_exactly
from tests.helpers.adversarial import Trap
from tests.helpers.networks import model, node
from tests.solvers.proof.test_mutations import layers_of, problem_of


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


def test_other_networks_are_refused_with_a_reason(tmp_path: Path) -> None:
    path, trap, _ = proved(0, tmp_path, by_boxes=True)
    weights = {"w": np.ones((2, 3), np.float32)}
    nodes = [node("MatMul", ["x", "w"], ["z"]), node("Sigmoid", ["z"], ["y"])]
    other = model(nodes, shape=(1, 2), weights=weights)
    with pytest.raises(UnsupportedProofError, match="covers ReLUs"):
        check_exactly(path, other)
    assert check_exactly(path, trap.network).accepted
