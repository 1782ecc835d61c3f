"""Dual matrices: whatever the multipliers, no bound is above what a network does."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from solvers.problem import Box, Clause, Specification
from solvers.proof import PARTS, Proof, ProofError, check_proof, checker, write_proof
from solvers.proof.network import dense
from solvers.proof.parts.lifted import Relaxation
from solvers.proof.parts.semidefinite import SEMIDEFINITE, Dual, dual_matrix, floor, proved_by
from tests.helpers.duals import Relaxed, random_dual, relaxed, stored
from tests.helpers.networks import model, node
from tests.helpers.proofs import TreeBuilder, exact_vectors, proof_of, random_layers, whole
from tests.helpers.rational import Layer, exact_margin_of

SIZES = [(2, 4, 2), (2, 5, 4, 2), (2, 3, 3, 3), (2, 1, 1, 1)]


def random_relaxed(
    seed: int, *, all_values: bool = False, width: float = 1.0, uneven: float = 1.0
) -> Relaxed:
    """Return a random network in a random box; uneven layers multiply what others divide by."""
    generator = np.random.default_rng(seed)
    (weight, bias), *later = random_layers(SIZES[seed % len(SIZES)], seed)
    (last, shift), *reversed_ = later[::-1]
    first = (weight * np.float32(uneven), bias * np.float32(uneven))
    layers = [first, *reversed_[::-1], (last / np.float32(uneven), shift)]
    centre = generator.normal(size=(1, 2))
    radius = width * generator.uniform(0, 1, (1, 2)) * (generator.random((1, 2)) > 0.1)
    return relaxed(layers, Box(centre - radius, centre + radius), all_values=all_values)


def true_least(layers: list[Layer], box: Box, row: np.ndarray) -> Fraction:
    return exact_margin_of(layers, box, Specification((Clause(row[None], np.zeros(1)),)))


def runs(given_: Relaxed, count: int, seed: int) -> list[list[list[Fraction]]]:
    """Return all vectors at inputs of the region, some of them corners, in exact arithmetic."""
    generator = np.random.default_rng(seed)
    low, high = given_.box.lower.ravel(), given_.box.upper.ravel()
    share = generator.random((count, len(low)))
    share[: count // 2] = np.round(share[: count // 2])
    inputs = np.where(share == 1, high, np.minimum(low + share * (high - low), high))
    return [exact_vectors(given_.network, x) for x in inputs]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6), every=st.booleans(), scale=st.sampled_from([1e-6, 1.0, 30.0]),
    uneven=st.sampled_from([1.0, 1e9, 1e-9]),
)  # fmt: skip
def test_no_multipliers_prove_more_than_is_true(
    seed: int, every: bool, scale: float, uneven: float
) -> None:
    given_ = random_relaxed(seed, all_values=every, width=scale, uneven=uneven)
    generator = np.random.default_rng(seed)
    row = generator.normal(size=len(given_.layers[-1][1]))
    truth = true_least(list(given_.layers), given_.box, row)
    dual = random_dual(given_, row, generator)
    bound = proved_by(given_.relaxation, row, dual)
    assert np.isfinite(bound)
    assert bound <= truth
    higher = dual._replace(bound=float(truth) + 1e-9 * (1 + abs(float(truth))))
    # Fractions compare with floats, infinite ones too, without rounding.
    assert proved_by(given_.relaxation, row, higher) <= truth


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), every=st.booleans())
def test_forms_hold_on_every_run(seed: int, every: bool) -> None:
    given_ = random_relaxed(seed, all_values=every)
    forms, relaxation = given_.relaxation.forms, given_.relaxation
    first, last = relaxation.heights
    for vectors in runs(given_, 6, seed):
        floats = [np.array(list(map(float, vector))) for vector in vectors]
        w = given_.columns_at(floats)
        assert (np.abs(w) <= 1 + 1e-9).all()
        values = forms.matrix @ w
        slack = 1e-9 * (1 + forms.reach)
        assert (values >= -forms.error - slack).all()
        assert (np.abs(values) <= forms.reach + slack).all()
        pairs = values[first:last] * values[last : 2 * last - first]
        assert (np.abs(pairs) <= 1e-9 * (1 + forms.reach[first:last].max(initial=0)) ** 2).all()
        output = floats[given_.network.output]
        lost = relaxation.output.error + 1e-9 * (1 + relaxation.output.reach)
        assert (np.abs(relaxation.output.matrix @ w - output) <= lost).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_matrix_is_what_the_identity_says(seed: int) -> None:
    given_, generator = random_relaxed(seed), np.random.default_rng(seed)
    row = generator.normal(size=len(given_.layers[-1][1]))
    dual = random_dual(given_, row, generator)
    matrix, missing = dual_matrix(given_.relaxation, row, dual)
    assert (dense(matrix) == dense(matrix).T).all()
    w = np.concatenate([[1.0], generator.uniform(-1, 1, given_.relaxation.columns)])
    forms = given_.relaxation.forms.matrix @ w
    stated = dual.bound + w @ (matrix @ w) + dual.diagonal @ (1 - w[1:] ** 2)
    stated += dual.product @ (forms[dual.left] * forms[dual.right])
    wanted = row @ (given_.relaxation.output.matrix @ w)
    scale = np.abs(dense(matrix)).sum() + np.abs(dual.product) @ np.ones(len(dual.product))
    assert stated == pytest.approx(wanted, abs=1e-10 * (1 + scale))
    assert 0 < missing < 1e-6 * (1 + scale)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), inputs=st.integers(0, 4), rest=st.integers(1, 5))
def test_floors_hold_with_and_without_elimination(seed: int, inputs: int, rest: int) -> None:
    """A matrix that is nearly singular is where a floor is close to being wrong."""
    generator = np.random.default_rng(seed)
    size = inputs + rest
    factor = generator.normal(size=(size, max(size - 1, 1)))
    block = slice(1, 1 + inputs)
    full = factor @ factor.T
    if inputs and seed % 2:
        full[block, block] = np.diag(np.diag(full)[block] * size)
    full = (full + full.T) / 2
    full += np.eye(size) * generator.choice([0.0, 1e-3, -1e-14, -1e-3])
    found = floor(sparse.csr_array(full), inputs)
    values = np.linalg.eigvalsh(full)
    if values[0] > 1e-9:
        assert found > -1e-9
    if values[0] < -1e-5:
        assert found == -np.inf
    vectors = np.linalg.eigh(full)[1].T
    points = [*generator.uniform(-1, 1, (20, size)), *(v / np.abs(v).max() for v in vectors)]
    for w in points:
        exact = [Fraction(float(part)) for part in w]
        value = sum(
            Fraction(float(full[i, j])) * exact[i] * exact[j]
            for i in range(size)
            for j in range(size)
        )
        assert value >= (Fraction(found) if np.isfinite(found) else -(10**9))


def test_a_row_of_zeros_needs_no_elimination() -> None:
    assert 0 >= floor(sparse.csr_array(np.zeros((4, 4))), 2) > -1e-100
    assert floor(sparse.csr_array(np.full((2, 2), np.nan)), 0) == -np.inf
    assert floor(sparse.csr_array(np.diag([1.0, -1.0])), 1) == -np.inf


def test_multipliers_that_do_not_fit_are_refused() -> None:
    given_ = random_relaxed(1)
    row, count = np.ones(2), len(given_.relaxation.forms.error)
    columns, first = given_.relaxation.columns, given_.relaxation.heights[0]
    none = np.zeros(0, dtype=np.intp)
    plain = Dual(-1e3, np.ones(columns), none, none, np.zeros(0))
    one = np.ones(1, dtype=np.intp)
    wrong = {
        "columns": plain._replace(diagonal=np.ones(columns + 1)),
        "negative": plain._replace(diagonal=-np.ones(columns)),
        "form that there is not": plain._replace(left=one * count, right=one, product=np.ones(1)),
        "form that": plain._replace(left=-one, right=one, product=np.ones(1)),
        "a multiplier": plain._replace(left=0 * one, right=first * one, product=-np.ones(1)),
    }
    assert proved_by(given_.relaxation, row, plain) > -1e4
    for words, dual in wrong.items():
        with pytest.raises(ProofError, match=words):
            proved_by(given_.relaxation, row, dual)
    assert proved_by(given_.relaxation, row, plain._replace(bound=1e300)) == -np.inf
    huge = plain._replace(left=one, right=one, product=np.full(1, 1e308))
    assert proved_by(given_.relaxation, row, huge) == -np.inf


def test_values_of_open_sign_have_to_be_listed() -> None:
    given_ = random_relaxed(1)
    assert given_.relaxation.columns > given_.relaxation.inputs
    with pytest.raises(ProofError, match="has no sign"):
        Relaxation(given_.enclosure, {})


def test_other_functions_are_refused() -> None:
    nodes = [node("Gemm", ["x", "w"], ["z"]), node("Sigmoid", ["z"], ["y"])]
    content = model(nodes, shape=(1, 2), weights={"w": np.eye(2, dtype=np.float32)})
    builder = TreeBuilder((("z", 2),))
    builder.leaf(0)
    dual = Dual(-1.0, np.ones(4), *(np.zeros(0, dtype=np.intp),) * 2, np.zeros(0))
    tree = builder.tree(leaf_alpha=np.array([-2], np.int32), duals=stored([dual]))
    proof = proof_of(content, np.zeros(2), np.ones(2), tree=whole([1]), trees=(tree,))
    path = Path("unused")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checker, "read_proof", lambda _: proof)
        result = check_proof(path, content)
    assert "is for ReLUs" in str(result.reason)


def first_row(given_: Relaxed) -> np.ndarray:
    row = np.zeros(len(given_.layers[-1][1]))
    row[0] = 1.0
    return row


def split_proof(given_: Relaxed, seed: int) -> Proof:
    """Return a proof whose only split leaves a dual in either half, each with room to spare."""
    generator, row = np.random.default_rng(seed), first_row(given_)
    duals = []
    for _ in range(2):
        dual = random_dual(given_, row, generator)
        matrix, _ = dual_matrix(given_.relaxation, row, dual)
        room = 3 * np.abs(dense(matrix)).sum(axis=1).max()
        lower = dual.bound - 4 * room * given_.relaxation.columns
        duals.append(dual._replace(diagonal=dual.diagonal + room, bound=lower))
    builder = TreeBuilder(given_.values)
    builder.split(0, 0.0)
    builder.leaf(0)
    builder.leaf(0)
    tree = builder.tree(
        index=given_.index, leaf_alpha=np.array([-2, -3], np.int32), duals=stored(duals)
    )
    least = min(dual.bound for dual in duals)
    corners = given_.box.lower.ravel(), given_.box.upper.ravel()
    offset = np.array([least - 1e-3 * (1 + abs(least))])
    return proof_of(given_.content, *corners, tree=whole([1]), trees=(tree,), offset=offset)


@pytest.mark.parametrize("seed", [1, 2, 5, 9])
def test_leaves_of_split_domains_may_name_duals(seed: int, tmp_path: Path) -> None:
    """In a part of the region bounds are closer, and multipliers still prove something true."""
    given_ = random_relaxed(seed, all_values=True)
    proof, path = split_proof(given_, seed), tmp_path / "proof"
    write_proof(path, proof)
    result = check_proof(path, given_.content)
    assert result.accepted, result.reason
    assert SEMIDEFINITE.name in result.parts
    truth = true_least(list(given_.layers), given_.box, first_row(given_))
    assert result.margin <= truth - Fraction(float(proof.offset[0]))
    fewer = [part for part in PARTS if part.name != SEMIDEFINITE.name]
    without = checker.check_proof(path, given_.content, fewer)
    assert without.reason == "the proof relies on duals, which the core does not know"
    write_proof(path, replace(proof, offset=np.array([float(truth) + 1e-9])))
    assert "proves nothing" in str(check_proof(path, given_.content).reason)


def test_damaged_duals_are_refused(tmp_path: Path) -> None:
    given_ = random_relaxed(1, all_values=True)
    proof, path = split_proof(given_, 1), tmp_path / "proof"
    (tree,) = proof.trees
    duals = tree.duals
    assert duals is not None
    wrong = {
        "a leaf out of range": replace(tree, leaf_alpha=np.array([-2, -4], np.int32)),
        "offsets": replace(tree, duals=replace(duals, start=duals.start[::-1].copy())),
        "not finite": replace(tree, duals=replace(duals, bound=duals.bound * np.nan)),
        "out of range": replace(tree, duals=None),
    }
    for words, changed in wrong.items():
        write_proof(path, replace(proof, trees=(changed,)))
        assert words in str(check_proof(path, given_.content).reason), words
