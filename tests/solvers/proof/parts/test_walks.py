"""Trees that all clauses share: no clause is left out, and slopes of tightenings are any."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.problem import Box, Clause, Specification
from solvers.proof import CheckResult, Common, NeuronTree, check_proof, read_proof, write_proof
from solvers.proof.rational import check_exactly
from tests.helpers.proofs import TreeBuilder, proof_of, random_layers, relu_net, whole
from tests.helpers.rational import exact_margin_of
from tests.solvers.proof.support import BY_COMMON_TREE, layers_of, proved_by_common_tree
from tests.solvers.proof.test_mutations import problem_of

LOW, HIGH = -np.ones(2), np.ones(2)
# y = (|x0| + 1/2, |x1| + 1/2) with |z| = 2·max(z, 0) − z: one split each.
CORNERS = relu_net(
    [
        (np.array([[1, 0], [0, 1], [1, 0], [0, 1]]), np.array([0, 0, 2, 2])),
        (np.array([[2, 0, -1, 0], [0, 2, 0, -1]]), np.array([2.5, 2.5])),
    ]
)
TWO = {
    "matrix": np.eye(2),
    "offset": np.zeros(2),
    "row_case": np.zeros(2, np.int32),
    "row_clause": np.arange(2, dtype=np.int32),
}


def checked(folder: Path, tree: NeuronTree) -> CheckResult:
    """Return what the checker says of a tree that closes [−1, 1]² for both outputs."""
    proof = proof_of(CORNERS, LOW, HIGH, tree=whole([1]), trees=(tree,), **TWO)
    write_proof(folder / "proof", proof)
    return check_proof(folder / "proof", CORNERS)


def shared() -> TreeBuilder:
    """Return a tree that proves the first output after one split, the second after another."""
    builder = TreeBuilder((("z0", 4),))
    builder.split(0)
    for sign in (1.0, -1.0):
        builder.close(0, gamma={0: sign}, alpha=[0] * 4)
        builder.split(1)
        builder.leaf(1, gamma={1: 1.0})
        builder.leaf(1, gamma={1: -1.0})
    return builder


def test_one_tree_proves_all_clauses(tmp_path: Path) -> None:
    result = checked(tmp_path, shared().common())
    assert (result.accepted, result.leaves) == (True, 6), result.reason
    assert result.margin == pytest.approx(0.5, abs=1e-6)
    exact = check_exactly(tmp_path / "proof", CORNERS)
    assert (exact.accepted, exact.leaves) == (True, 6)
    assert exact.margin == Fraction(1, 2)


def test_a_clause_that_is_left_out_is_missed(tmp_path: Path) -> None:
    """In one half alone, too; and what one half proves says nothing of the other."""
    good = shared().common()
    row = good.leaf_row.copy()
    row[3] = 1  # the first clause, in the upper half
    for rows in (np.ones_like(row), np.zeros_like(row), row):
        bad = replace(good, leaf_row=rows)
        assert not checked(tmp_path, bad).accepted
    alone = TreeBuilder((("z0", 4),))
    alone.split(0)
    alone.leaf(0, gamma={0: 1.0})
    alone.leaf(0, gamma={0: -1.0})
    assert "leaves a clause open" in str(checked(tmp_path, alone.common()).reason)
    assert "leaves a clause open" in str(check_exactly(tmp_path / "proof", CORNERS).reason)


def test_a_domain_without_inputs_needs_no_clause(tmp_path: Path) -> None:
    """Nowhere is x0 above 3; where it is below, both outputs have to be proved."""
    inner = shared()
    inner.kind = [1, *inner.kind, 0]
    inner.splits = [(0, 3.0), *inner.splits]
    inner.leaves.append((-1, -1))
    inner.gamma.append({})
    result = checked(tmp_path, inner.common())
    assert (result.accepted, result.leaves) == (True, 7), result.reason
    assert check_exactly(tmp_path / "proof", CORNERS).accepted


def test_only_common_trees_go_on_behind_a_proved_clause(tmp_path: Path) -> None:
    tree = shared().tree()
    assert "unknown kind" in str(checked(tmp_path, tree).reason)
    tuned = shared()
    tuned.kind.insert(0, 2)
    tuned.tightens.append([(0, 0)])
    for slopes in (-2, 2):
        bad = tuned.tree(common=Common(np.array([slopes], np.int32)))
        assert "slopes that it does not hold" in str(checked(tmp_path, bad).reason)
    assert checked(tmp_path, tuned.tree(common=Common(np.array([1], np.int32)))).accepted


def test_slopes_of_tightenings_count(tmp_path: Path) -> None:
    """z = max(x0 + 1/2, 0) + max(−x0, 0) − 0.4 ≥ 0.1, if both ReLUs lie above lines of slope 1."""
    layers = [
        (np.array([[1.0, 0], [-1, 0]]), np.array([0.5, 0.0])),
        (np.ones((1, 2)), np.array([-0.4])),
        (np.ones((1, 1)), np.zeros(1)),
    ]
    content, margins = relu_net(layers), []
    for alpha in ([[255, 255, 0]], []):
        builder = TreeBuilder((("z0", 2), ("z1", 1)))
        builder.tighten((2, 0), alpha=alpha)
        builder.leaf(0, gamma={2: -1.0})
        tree = builder.common()
        proof = proof_of(content, LOW, HIGH, tree=whole([1]), trees=(tree,))
        write_proof(tmp_path / "proof", proof)
        exact, rounded = (
            check(tmp_path / "proof", content) for check in (check_exactly, check_proof)
        )
        assert exact.accepted == rounded.accepted == bool(alpha)
        margins.append(rounded.margin)
    assert margins[0] == pytest.approx(0.1, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_an_accepted_margin_is_never_above_the_truth(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    """All activation patterns, with slopes at random in tightenings and leaves, in two clauses."""
    layers, generator = random_layers((2, 3, 3, 2), seed), np.random.default_rng(seed)
    box, path = Box(LOW, HIGH), tmp_path_factory.mktemp("p") / "proof"
    least = [
        exact_margin_of(layers, box, Specification((Clause(row[None], np.zeros(1)),)))
        for row in np.eye(2)
    ]
    gaps = generator.choice([-1e-3, 1e-3, 0.3], size=2)
    builder = TreeBuilder((("z0", 3), ("z1", 3)))

    def grow(depth: int) -> None:
        some = {int(v): float(generator.normal()) for v in range(6) if generator.random() < 0.2}
        if depth == 6:
            builder.close(0, gamma=some)
            builder.leaf(1, alpha=generator.integers(0, 256, 6).tolist(), gamma=some)
            return
        builder.split(depth)
        for _ in range(2):
            if depth == 2:
                bounds = [(value, side) for value in (3, 4, 5) for side in (0, 1)]
                builder.tighten(*bounds, alpha=generator.integers(0, 256, (6, 6)).tolist())
            grow(depth + 1)

    grow(0)
    offset = np.array([float(m) for m in least]) - gaps
    more = {**TWO, "offset": offset}
    content = relu_net(layers)
    write_proof(
        path, proof_of(content, LOW, HIGH, tree=whole([1]), trees=(builder.common(),), **more)
    )
    result, exact = check_proof(path, content), check_exactly(path, content)
    truth = min(m - Fraction(float(d)) for m, d in zip(least, offset, strict=True))
    assert not result.accepted or Fraction(result.margin) <= truth
    assert not exact.accepted or (exact.margin is not None and exact.margin <= truth)
    assert exact.accepted or not result.accepted


@pytest.mark.parametrize("seed", BY_COMMON_TREE)
def test_common_trees_are_produced_and_checked_exactly(seed: int, tmp_path: Path) -> None:
    generator = np.random.default_rng(seed)
    layers = layers_of(generator)
    trap, content = proved_by_common_tree(layers, problem_of(layers, generator))
    path = tmp_path / "proof"
    path.write_bytes(content)
    (tree,) = read_proof(path).trees
    assert tree.common is not None
    rounded, exact = check_proof(path, trap.network), check_exactly(path, trap.network)
    assert exact.accepted, exact.reason
    assert exact.leaves == rounded.leaves == len(tree.leaf_row)
    assert exact.margin is not None
    assert Fraction(rounded.margin) <= exact.margin + Fraction(1, 10**9)
    assert exact.margin <= trap.margin
