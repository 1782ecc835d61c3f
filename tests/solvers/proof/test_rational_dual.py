"""Dual matrices in exact arithmetic: minors, and bounds that are neither wrong nor far off."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.onnx_import import load_network
from solvers.budget import Budget
from solvers.problem import Box, Problem
from solvers.proof import Duals, Proof, UnsupportedProofError, check_proof, read_proof, write_proof
from solvers.proof.producing.produce import Proven, Prover
from solvers.proof.rational import check_exactly
from solvers.proof.rational_dual import leading_minors
from tests.helpers.duals import Bounded, bounded
from tests.helpers.proofs import random_layers
from tests.helpers.rational import exact_margin_of


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.integers(1, 6))
def test_minors_are_those_of_their_definition(seed: int, size: int) -> None:
    matrix = np.random.default_rng(seed).integers(-6, 7, (size, size))
    matrix = matrix + matrix.T
    found = leading_minors(matrix.astype(object))
    wanted = [round(float(np.linalg.det(matrix[:k, :k]))) for k in range(1, size + 1)]
    assert found == wanted[: len(found)]
    assert len(found) == size or found[-1] == 0


def proved(folder: Path, seed: int) -> tuple[Bounded, Proof]:
    """Write a proof by dual matrices about a network of two inputs."""
    centre = np.random.default_rng(seed).normal(size=(1, 2))
    box = Box(centre - 0.5, centre + 0.5)
    given_ = bounded(random_layers((2, 5, 4, 2), seed), box, np.array([[1.0, 0.0], [0.3, -1.0]]))
    prover = Prover(load_network(given_.content), "cpu")
    problem, budget = Problem((given_.case,)), Budget.of_seconds(120)
    outcome = prover.prove(problem, budget, trace=given_.trace)
    assert isinstance(outcome, Proven)
    (folder / "proof").write_bytes(outcome.content)
    return given_, read_proof(folder / "proof")


@pytest.mark.parametrize("seed", [0, 2, 3, 4])
def test_exact_bounds_are_above_rounded_ones_and_below_the_truth(seed: int, tmp_path: Path) -> None:
    given_, _ = proved(tmp_path, seed)
    rounded = check_proof(tmp_path / "proof", given_.content)
    exact = check_exactly(tmp_path / "proof", given_.content)
    assert exact.accepted, exact.reason
    assert exact.margin is not None
    assert exact.leaves == rounded.leaves
    layers = random_layers((2, 5, 4, 2), seed)
    truth = exact_margin_of(layers, given_.case.region, given_.case.specification)
    assert Fraction(rounded.margin) <= exact.margin <= truth
    assert float(exact.margin) == pytest.approx(rounded.margin, abs=1e-6)


def changed(proof: Proof, duals: Duals) -> Proof:
    return replace(proof, trees=(replace(proof.trees[0], duals=duals),))


def test_what_proves_nothing_is_rejected(tmp_path: Path) -> None:
    given_, proof = proved(tmp_path, 2)
    duals, path = proof.trees[0].duals, tmp_path / "proof"
    assert duals is not None
    wrong = {
        "the exact bound is": replace(duals, bound=duals.bound + 1e3),
        "not positive": replace(duals, bound=duals.bound - 1e3),
        "overflows": replace(duals, product=np.full(len(duals.product), 1e308)),
        "is negative": replace(duals, diagonal=-duals.diagonal),
        "form that there is not": replace(duals, left=duals.left + 1000),
        "does not fit": replace(duals, diagonal=duals.diagonal[:, 1:]),
    }
    for words, other in wrong.items():
        write_proof(path, changed(proof, other))
        assert not check_proof(path, given_.content).accepted
        result = check_exactly(path, given_.content)
        assert words in str(result.reason), (words, result.reason)


def test_large_matrices_are_refused(tmp_path: Path) -> None:
    given_, _ = proved(tmp_path, 2)
    with pytest.raises(UnsupportedProofError, match="products"):
        check_exactly(tmp_path / "proof", given_.content, most=3_000)
