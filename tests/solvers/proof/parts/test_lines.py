"""Lines of curves whose slopes a proof states hold, whatever the slopes are."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models import load_network
from solvers.proof import (
    BoundGroup,
    NeuronTree,
    check_proof,
    read_network,
    read_proof,
    write_proof,
)
from solvers.proof.parts.curves import SIGMOID, TANH
from solvers.proof.rational import check_exactly
from solvers.proof.rooting import tree_bounds
from tests.helpers import networks
from tests.helpers.proof_mutations import flipped, mutated
from tests.helpers.proofs import TreeBuilder, proof_of, whole
from tests.solvers.proof.test_functions import sigmoid, tanh

Array = NDArray[np.float64]
LISTED = (("z1", 4), ("z2", 4))
LOWER, UPPER = np.array([-1.5, -1.0]), np.array([0.5, 1.5])
CHANGES = 80
TINY = Fraction(10) ** -40
"""What 60 digits leave in doubt, and more."""
CURVES = {"Sigmoid": (SIGMOID, sigmoid), "Tanh": (TANH, tanh)}
seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("kind", CURVES)
@settings(max_examples=80, deadline=None)
@given(
    first=st.floats(-30, 30) | st.floats(-1e-6, 1e-6) | st.just(0.0),
    second=st.floats(-30, 30) | st.floats(-1e-6, 1e-6),
    share=st.floats(0, 1),
    places=st.lists(st.floats(0, 1), min_size=6, max_size=6),
)
def test_no_point_crosses_a_line_of_any_slope(
    kind: str, first: float, second: float, share: float, places: list[float]
) -> None:
    function, exact = CURVES[kind]
    low, high = min(first, second), max(first, second)
    ends = [(np.array([[low]]), np.array([[high]]))]
    least, most = function.slopes(ends)
    slope = least + share * (most - least)
    assert function.intercepts is not None
    below, above = (Fraction(part.item()) for part in function.intercepts(ends, slope))
    for place in (0.0, *places, 1.0):
        z = min(Fraction(high), Fraction(low) + Fraction(place) * (Fraction(high) - Fraction(low)))
        moved = exact(z) - Fraction(slope.item()) * z
        assert below <= moved + TINY
        assert moved <= above + TINY


@pytest.mark.parametrize("kind", CURVES)
@pytest.mark.parametrize("place", [-2.0, -0.3, 0.0, 0.7, 3.0])
def test_tangents_are_close(kind: str, place: float) -> None:
    """A slope that the curve has where it bends away from its line touches the curve there."""
    function, _ = CURVES[kind]
    ends = [(np.array([[place - 0.1]]), np.array([[place + 0.1]]))]
    least, most = function.slopes(ends)
    slope = (least + most) / 2
    assert function.intercepts is not None
    below, above = function.intercepts(ends, slope)
    assert 0 <= (above - below).item() < 5e-3


def curved(kind: str, seed: int) -> bytes:
    return networks.mlp((2, 4, 4, 2), seed=seed % 1000, activation=kind)


def tree_of(seed: int, splits: int = 0, *, lines: bool = True) -> NeuronTree:
    """Return a tree with slopes at random, in passes for bounds inside and in its leaves."""
    rng, builder = np.random.default_rng(seed), TreeBuilder(LISTED)
    for _ in range(splits):
        builder.split(int(rng.integers(8)), float(rng.normal()))
        builder.leaf(
            0, rng.integers(0, 256, 8).tolist(), {int(rng.integers(8)): float(rng.normal())}
        )
    builder.leaf(0, rng.choice([0, 255, 128, 30], 8).tolist())
    index, side = np.tile(np.arange(4, dtype=np.int32), 2), np.repeat([0, 1], 4).astype(np.uint8)
    alpha = rng.integers(0, 65536, (8 if seed % 2 else 1, 8)).astype(np.uint16)
    return builder.tree(groups=(BoundGroup("z2", index, side, alpha, lines),), lines=lines)


def outputs(content: bytes, points: Array) -> Array:
    wide = load_network(content, name="curved").to(torch.float64)
    with torch.no_grad():
        return wide(torch.from_numpy(points)[:, None]).reshape(len(points), -1).numpy()


@pytest.mark.parametrize("kind", CURVES)
@settings(max_examples=25, deadline=None)
@given(seed=seeds, splits=st.integers(0, 3))
def test_no_slopes_give_a_bound_that_a_point_crosses(kind: str, seed: int, splits: int) -> None:
    content, tree = curved(kind, seed), tree_of(seed, splits)
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(1, 2))
    network = read_network(content)
    _, found = tree_bounds(network, LOWER, UPPER, tree, (matrix, np.zeros(1, np.int64)))
    points = rng.uniform(LOWER, UPPER, (400, 2))
    assert found.min(initial=np.inf) <= (outputs(content, points) @ matrix[0]).min() + 1e-12


@pytest.mark.parametrize("kind", CURVES)
def test_slopes_are_those_of_curves_only_where_the_file_says_so(kind: str) -> None:
    network, builder = read_network(curved(kind, 3)), TreeBuilder(LISTED)
    builder.leaf(0)
    rows = np.array([[1.0, -1.0]]), np.zeros(1, np.int64)

    def bound(tree: NeuronTree) -> float:
        return float(tree_bounds(network, LOWER, UPPER, tree, rows)[1].min())

    assert bound(tree_of(4, lines=False)) == pytest.approx(bound(builder.tree()), abs=1e-12)
    assert len({bound(tree_of(seed)) for seed in range(20)}) > 10


@pytest.mark.parametrize("kind", CURVES)
@pytest.mark.parametrize("seed", [1, 2])
def test_exact_arithmetic_takes_the_same_lines(kind: str, seed: int, tmp_path: Path) -> None:
    content, tree = curved(kind, seed), tree_of(seed, 1)
    found = tree_bounds(
        read_network(content), LOWER, UPPER, tree, (np.array([[1.0, 0.0]]), np.zeros(1, np.int64))
    )[1].min()
    proof = proof_of(content, LOWER, UPPER, tree=whole([1]), trees=(tree,))
    path = tmp_path / "proof"
    write_proof(path, replace(proof, offset=np.array([found - 1e-6])))
    rounded, exact = check_proof(path, content), check_exactly(path, content)
    assert rounded.accepted, rounded.reason
    assert exact.accepted, exact.reason
    assert exact.margin is not None
    assert abs(float(exact.margin) - rounded.margin) < 1e-9
    write_proof(path, replace(proof, offset=np.array([found + 1e-6])))
    assert "not positive" in str(check_exactly(path, content).reason)
    assert not check_proof(path, content).accepted


def test_changed_proofs_are_accepted_only_if_no_point_contradicts_them(tmp_path: Path) -> None:
    original, changed = tmp_path / "original", tmp_path / "changed"
    generator, counts = np.random.default_rng(3), {True: 0, False: 0}
    rows = np.array([[1.0, 0.0]]), np.zeros(1, np.int64)
    for number in range(4 * CHANGES):
        kind = "Sigmoid" if number % 2 else "Tanh"
        content, tree = curved(kind, number), tree_of(number, number % 3)
        found = tree_bounds(read_network(content), LOWER, UPPER, tree, rows)[1].min()
        proof = proof_of(content, LOWER, UPPER, tree=whole([1]), trees=(tree,))
        write_proof(original, replace(proof, offset=np.array([found - 1e-9])))
        assert check_proof(original, content).accepted
        if generator.random() < 0.2:
            changed.write_bytes(flipped(original.read_bytes(), generator))
        elif mutated(read_proof(original), generator, changed) is None:
            continue
        accepted = check_proof(changed, content).accepted
        counts[accepted] += 1
        assert not accepted or holds(changed, content)
        if sum(counts.values()) == CHANGES:
            break
    assert min(counts.values()) > CHANGES / 10


def holds(path: Path, content: bytes) -> bool:
    """Return whether what a proof of one case and row states holds at many points."""
    proof = read_proof(path)
    low, high = proof.lower[0], proof.upper[0]
    points = np.random.default_rng(0).uniform(low, high, (3000, 2))
    points = np.concatenate([points, [low, high, [low[0], high[1]], [high[0], low[1]]]])
    rows = outputs(content, points) @ proof.matrix.T - proof.offset
    return bool((rows > -1e-12).all())
