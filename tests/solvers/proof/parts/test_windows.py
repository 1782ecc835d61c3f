"""Windows of a first layer: whatever slopes they get, nothing is below what is derived."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from solvers.problem import Box, Clause, Specification
from solvers.proof import (
    Ball,
    NeuronTree,
    ProofFormatError,
    UnsupportedProofError,
    Windows,
    check_proof,
    read_network,
    read_proof,
    write_proof,
)
from solvers.proof.parts.windows import window_inputs
from solvers.proof.rational import check_exactly
from solvers.proof.rooting import tree_bounds
from tests.helpers import networks
from tests.helpers.proofs import (
    TreeBuilder,
    exact_vectors,
    proof_of,
    random_layers,
    relu_net,
    whole,
)
from tests.helpers.rational import exact_margin_of

Array = NDArray[Any]
seeds = st.integers(0, 2**32 - 1)
SQUARE = np.array([-1.0, -1.0]), np.array([1.0, 1.0])


def windowed(slopes: Array, tensor: str = "z0", leaves: Sequence[int] = (0,)) -> NeuronTree:
    """Return a tree of one leaf, and windows for some leaves."""
    builder = TreeBuilder(())
    builder.leaf(0)
    return builder.tree(windows=Windows(tensor, np.array(leaves, np.int32), slopes))


def bound(content: bytes, box: tuple[Array, Array], tree: NeuronTree, row: Array) -> float:
    _, found = tree_bounds(read_network(content), *box, tree, (row[None], np.zeros(1, np.int64)))
    return float(found.min())


def convolutional(seed: int, *, edge: int, stride: int, channels: int = 3) -> bytes:
    """Return windows of 2 x 2 over 3 x 3, with ReLUs and two sums of these."""
    rng = np.random.default_rng(seed)
    side = (3 + 2 * edge - 2) // stride + 1
    weights = {
        "k": rng.normal(size=(channels, 1, 2, 2)).astype(np.float32),
        "c": rng.normal(size=channels).astype(np.float32),
        "w": rng.normal(size=(channels * side * side, 2)).astype(np.float32),
    }
    weights["k"][0, 0, 0, 1] = 0.0
    nodes = [
        networks.node("Conv", ["x", "k", "c"], ["z0"], pads=[edge] * 4, strides=[stride] * 2),
        networks.node("Relu", ["z0"], ["a0"]),
        networks.node("Flatten", ["a0"], ["f"]),
        networks.node("MatMul", ["f", "w"], ["y"]),
    ]
    return networks.model(nodes, shape=(1, 1, 3, 3), weights=weights)


@settings(max_examples=60, deadline=None)
@given(seeds, st.sampled_from([(2, 5, 2), (2, 4, 4, 2)]), st.sampled_from([0.0, 1.0, 30.0]))
def test_no_slopes_give_a_bound_above_the_true_least(
    seed: int, sizes: tuple[int, ...], size: float
) -> None:
    """Against full enumeration of a network of two inputs, in rational arithmetic."""
    layers, rng = random_layers(sizes, seed % 1000), np.random.default_rng(seed)
    lower = rng.normal(size=2)
    upper, row = lower + rng.choice([0.0, 1e-9, 0.5, 3.0], size=2), rng.normal(size=2)
    slopes = (size * rng.normal(size=(1, 2))).astype(rng.choice([np.float16, np.float32]))
    found = bound(relu_net(layers), (lower, upper), windowed(slopes), row)
    box = Box(lower.reshape(1, 2), upper.reshape(1, 2))
    clause = Clause(row[None], np.zeros(1))
    assert found <= exact_margin_of(layers, box, Specification((clause,)))


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(0, 1), st.integers(1, 2), st.sampled_from([0.0, 1e-6, 0.4, 1e3]))
def test_no_point_is_below_the_bounds_of_windows_that_overlap(
    seed: int, edge: int, stride: int, width: float
) -> None:
    content, rng = convolutional(seed % 100, edge=edge, stride=stride), np.random.default_rng(seed)
    network = read_network(content)
    slopes = rng.normal(size=(1, window_inputs(network, "z0").nnz)).astype(np.float32)
    center, row = rng.normal(size=9), rng.normal(size=2)
    box = center - width, center + width
    found = bound(content, box, windowed(slopes), row)
    corners = np.where(rng.random((10, 9)) < 0.5, *box)
    for x in [*rng.uniform(*box, (10, 9)), *corners]:
        values = exact_vectors(network, x)[network.output]
        assert found <= sum(Fraction(float(r)) * v for r, v in zip(row, values, strict=True))


def test_balls_are_bounded_soundly_and_no_worse_than_boxes() -> None:
    content, row = convolutional(3, edge=0, stride=1), np.array([1.0, -1.0])
    network, rng = read_network(content), np.random.default_rng(0)
    center, radius = rng.normal(size=9), np.full(9, 0.7)
    box, clauses = (center - radius, center + radius), (row[None], np.zeros(1, np.int64))
    tree = windowed(rng.normal(size=(1, window_inputs(network, "z0").nnz)).astype(np.float32))
    ball = Ball(2, center, radius)
    _, found = tree_bounds(network, *box, tree, clauses, ball=ball)
    assert found[0] > bound(content, box, tree, row)
    for direction in rng.normal(size=(100, 9)):
        x = center + 0.7 * direction / np.linalg.norm(direction)
        values = exact_vectors(network, x)[network.output]
        assert found[0] <= values[0] - values[1]


def bent() -> bytes:
    """Return max(0, x) + max(0, −x) − 2 max(0, x/2 + y/2), whose least value on a square is −1."""
    first = np.array([[1.0, 0.0], [-1.0, 0.0], [0.5, 0.5]]), np.zeros(3)
    return relu_net([first, (np.array([[1.0, 1.0, -2.0]]), np.zeros(1))])


def test_neurons_that_bend_together_are_bounded_better_than_by_lines() -> None:
    row = np.ones(1)
    builder = TreeBuilder(())
    builder.leaf(0)
    lines = bound(bent(), SQUARE, builder.tree(), row)
    assert lines <= -2.0
    found = bound(bent(), SQUARE, windowed(np.zeros((1, 2), np.float32)), row)
    assert -1.5 - 1e-9 <= found <= -1.0


def test_a_window_without_kinks_loses_nothing_but_rounding() -> None:
    """With the true slopes nothing is left to bound in any cell."""
    layers = random_layers((2, 4, 1), 3)
    layers[0] = layers[0][0], np.full(4, 9.0, np.float32)
    slopes = (layers[1][0] @ layers[0][0]).astype(np.float32)
    found = bound(relu_net(layers), SQUARE, windowed(slopes), np.ones(1))
    box = Box(SQUARE[0].reshape(1, 2), SQUARE[1].reshape(1, 2))
    least = exact_margin_of(layers, box, Specification((Clause(np.ones((1, 1)), np.zeros(1)),)))
    assert float(least) - 1e-6 <= found <= least


def test_windows_are_the_inputs_that_some_channel_reads() -> None:
    """At the edge there are fewer."""
    network = read_network(convolutional(1, edge=1, stride=1))
    reads = window_inputs(network, "z0").toarray()
    assert reads.shape == (16, 9)
    assert np.flatnonzero(reads[0]).tolist() == [0]
    assert np.flatnonzero(reads[5]).tolist() == [0, 1, 3, 4]


def test_leaves_without_windows_have_lines() -> None:
    row, slopes = np.ones(1), np.zeros((1, 2), np.float32)
    builder = TreeBuilder((("z0", 3),))
    builder.split(0)
    builder.leaf(0)
    builder.leaf(0)
    network, found = read_network(bent()), {}
    for leaves in ((), (0,), (1,), (0, 1)):
        held = Windows("z0", np.array(leaves, np.int32), slopes.repeat(len(leaves), 0))
        tree = builder.tree(windows=held)
        found[leaves] = tree_bounds(network, *SQUARE, tree, (row[None], np.zeros(1, np.int64)))[1]
    lines, both = found[()], found[0, 1]
    assert not np.array_equal(lines, both)
    assert found[(0,)] == pytest.approx([both[0], lines[1]])
    assert found[(1,)] == pytest.approx([lines[0], both[1]])


def written(folder: Path, content: bytes, tree: NeuronTree, size: int = 2) -> Path:
    path, far = folder / "proof", {"offset": np.array([-1e6]), "tree": whole([1])}
    write_proof(path, proof_of(content, -np.ones(size), np.ones(size), trees=(tree,), **far))
    return path


NONE = np.zeros((1, 2), np.float32)
STRANGE = {
    "windows have other inputs": windowed(np.zeros((1, 3), np.float32)),
    "no sum of inputs": windowed(NONE, "y"),
    "'nothing', which is no sum": windowed(NONE, "nothing"),
    "'x', which is no sum": windowed(NONE, "x"),
    "windows of leaves that": windowed(NONE, leaves=[1]),
    "that it does not have": windowed(NONE, leaves=[-1]),
    "out of order": windowed(np.zeros((2, 2), np.float16), leaves=[0, 0]),
    "not finite": windowed(np.full((1, 2), np.inf, np.float16)),
}


@pytest.mark.parametrize("reason", STRANGE)
def test_windows_that_fit_nothing_are_rejected(reason: str, tmp_path: Path) -> None:
    assert check_proof(written(tmp_path, bent(), windowed(NONE)), bent()).accepted
    result = check_proof(written(tmp_path, bent(), STRANGE[reason]), bent())
    assert not result.accepted
    assert reason in str(result.reason)


def test_windows_of_many_inputs_are_rejected(tmp_path: Path) -> None:
    for size in (9, 10):
        content = relu_net(random_layers((size, 2, 1), 0))
        tree = windowed(np.zeros((1, size), np.float32))
        result = check_proof(written(tmp_path, content, tree, size), content)
        assert result.accepted is (size == 9)
    assert "a window reads 10 inputs" in str(result.reason)


def test_exact_arithmetic_refuses_windows_by_name(tmp_path: Path) -> None:
    path = written(tmp_path, bent(), windowed(NONE))
    with pytest.raises(UnsupportedProofError, match="windows have no rule"):
        check_exactly(path, bent())


@pytest.mark.parametrize("tensor", [True, 1, ["z0"]])
def test_a_manifest_must_name_a_tensor(tensor: object, tmp_path: Path) -> None:
    path, after = written(tmp_path, bent(), windowed(NONE)), tmp_path / "after"
    for change in ({"windows": tensor}, {"windows": None}):
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(after, "w") as target:
            for name in source.namelist():
                data = source.read(name)
                if name == "manifest.json":
                    head = json.loads(data)
                    head["trees"][0] |= change
                    data = json.dumps(head).encode()
                target.writestr(name, data)
        with pytest.raises(ProofFormatError, match="window"):
            read_proof(after)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    tree = windowed(np.array([[0.5, -2.0]], np.float16))
    (read,) = read_proof(written(tmp_path, bent(), tree)).trees
    assert read.windows is not None
    assert tree.windows is not None
    assert read.windows.tensor == "z0"
    assert read.windows.slope.tolist() == [[0.5, -2.0]]
    assert read.windows.slope.dtype == np.float16
    (without,) = read_proof(written(tmp_path, bent(), replace(tree, windows=None))).trees
    assert without.windows is None


@pytest.mark.parametrize("high", [0.1, 1 / 3, 7.0])
def test_coefficients_that_are_only_near_what_is_held_count_as_what_they_are(high: float) -> None:
    """A mean of nine is at most the largest of them, but 1/9 is no float64 number."""
    nodes = [
        networks.node("AveragePool", ["x"], ["z0"], kernel_shape=[3, 3]),
        networks.node("Relu", ["z0"], ["a0"]),
        networks.node("Flatten", ["a0"], ["y"]),
    ]
    content = networks.model(nodes, shape=(1, 1, 3, 3), weights={})
    slopes = np.full((1, 9), -1 / 9, np.float32)
    found = bound(content, (np.zeros(9), np.full(9, high)), windowed(slopes), -np.ones(1))
    assert -high - 1e-6 <= found < -high
