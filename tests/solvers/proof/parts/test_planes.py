"""Planes above ReLUs: whatever their slopes are, nothing crosses what is derived from them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from solvers.problem import Box, Clause, Specification
from solvers.proof import (
    BoundGroup,
    CheckedNetwork,
    NeuronTree,
    Planes,
    ProofFormatError,
    check_proof,
    read_network,
    read_proof,
    root_bounds,
    write_proof,
)
from solvers.proof.parts.planes import support
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
Listed = Sequence[tuple[str, int]]
seeds = st.integers(0, 2**32 - 1)


def planes_of(
    network: CheckedNetwork, listed: Listed, passes: Sequence[int], rng: np.random.Generator
) -> Planes:
    """Return planes above about two thirds of all values in each pass, of shares at random."""
    start = np.cumsum([0, *(count for _, count in listed)])
    user, value, share = [], [], []
    for number, upto in enumerate(passes):
        for first, (name, count) in zip(start[:upto], listed[:upto], strict=True):
            for index in np.flatnonzero(rng.random(count) < 0.7):
                _, pattern = support(network, network.names[name], np.array([index]))
                user.append(number)
                value.append(first + index)
                share.append(rng.choice([0, 255, rng.integers(256)], pattern.nnz))
    sizes = [len(part) for part in share]
    return Planes(
        np.array(user, np.int32),
        np.array(value, np.int32),
        rng.choice(np.array([255, 255, 90, 0], np.uint8), len(user)),
        np.cumsum([0, *sizes], dtype=np.int64),
        np.concatenate([np.zeros(0), *share]).astype(rng.choice([np.uint8, np.uint16])),
    )


def case_of(
    content: bytes, listed: Listed, seed: int, splits: int = 0
) -> tuple[CheckedNetwork, NeuronTree]:
    """Return a network, and a tree with planes in passes for bounds inside and in its leaves."""
    network, rng, builder = read_network(content), np.random.default_rng(seed), TreeBuilder(listed)
    for _ in range(splits):
        builder.split(int(rng.integers(sum(count for _, count in listed))), float(rng.normal()))
        builder.leaf(0)
    builder.leaf(0)
    groups = []
    for name, count in listed[1:]:
        index = np.tile(np.arange(count, dtype=np.int32), 2)
        side = np.repeat(np.array([0, 1], np.uint8), count)
        groups.append(BoundGroup(name, index, side))
    upto = [k for k, group in enumerate(groups, 1) for _ in group.index]
    upto += [len(listed)] * (splits + 1)
    tree = builder.tree(groups=tuple(groups))
    return network, replace(tree, planes=planes_of(network, listed, upto, rng))


@settings(max_examples=25, deadline=None)
@given(seeds, st.integers(0, 3))
def test_no_slopes_give_a_bound_above_the_true_least(seed: int, splits: int) -> None:
    """Against full enumeration of a network of two inputs, in rational arithmetic."""
    layers = random_layers((2, 4, 4, 2), seed % 1000)
    network, tree = case_of(relu_net(layers), (("z0", 4), ("z1", 4)), seed, splits)
    lower, upper = np.array([-1.0, -0.5]), np.array([0.5, 1.0])
    matrix = np.random.default_rng(seed).normal(size=(1, 2))
    _, found = tree_bounds(network, lower, upper, tree, (matrix, np.zeros(1, np.int64)))
    box = Box(lower.reshape(1, 2), upper.reshape(1, 2))
    least = exact_margin_of(layers, box, Specification((Clause(matrix, np.zeros(1)),)))
    assert found.min(initial=np.inf) <= least


def held_vectors(network: CheckedNetwork, tree: NeuronTree, radius: float) -> Iterator[bool]:
    """Yield whether bounds inside hold at points of a box."""
    size = network.sizes[0]
    center = np.random.default_rng(0).normal(size=size)
    lower, upper = center - radius, center + radius
    bounds = root_bounds(
        network, lower, upper, tree.groups, (tree.values, tree.index), planes=tree.planes
    )
    for x in np.random.default_rng(1).uniform(lower, upper, (3, size)):
        values = exact_vectors(network, x)
        for name, (low, high) in bounds.items():
            for a, value, b in zip(low, values[network.names[name]], high, strict=True):
                yield Fraction(float(a)) <= value <= Fraction(float(b))


@settings(max_examples=10, deadline=None)
@given(seeds, st.sampled_from([1e-3, 0.3, 30.0]))
def test_bounds_inside_hold_at_every_point(seed: int, radius: float) -> None:
    content = relu_net(random_layers((3, 5, 5, 5, 1), seed % 1000))
    listed = tuple((f"z{k}", 5) for k in range(3))
    assert all(held_vectors(*case_of(content, listed, seed), radius))


@pytest.mark.parametrize("build", [networks.cnn, networks.resnet])
def test_convolutions_and_sums_of_several_ways_are_bounded_soundly(build: Any) -> None:  # noqa: ANN401
    """Values are made of results of several functions, through normalisations and sums."""
    content = build(seed=2)
    network = read_network(content)
    names = {network.names[name]: name for name in network.names}
    read = sorted(network.read_vectors)
    listed = tuple((names[vector], network.sizes[vector]) for vector in read)
    before = root_bounds(network, np.zeros(network.sizes[0]), np.ones(network.sizes[0]))
    rng = np.random.default_rng(3)
    assert set(before) >= {name for name, _ in listed}
    for vector in read:
        _, pattern = support(network, vector, np.arange(network.sizes[vector]))
        assert (pattern.sum(axis=1) > 0).all()
    groups = []
    for name, count in listed[1:]:
        some = rng.choice(count, min(count, 4), replace=False).astype(np.int32)
        groups.append(BoundGroup(name, some, rng.integers(0, 2, len(some)).astype(np.uint8)))
    upto = [k for k, group in enumerate(groups, 1) for _ in group.index]
    builder = TreeBuilder(listed)
    builder.leaf(0)
    tree = builder.tree(groups=tuple(groups))
    tree = replace(tree, planes=planes_of(network, listed, [*upto, len(listed)], rng))
    assert all(held_vectors(network, tree, 0.2))


def one_neuron(weight: Sequence[float], bias: float) -> list[tuple[Array, Array]]:
    """Return y = −max(0, w·x + b)."""
    first = np.array([weight], np.float32), np.array([bias], np.float32)
    return [first, (np.array([[-1.0]], np.float32), np.zeros(1, np.float32))]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(-8, 8).filter(bool), min_size=1, max_size=4),
    st.integers(-8, 8),
    seeds,
)
def test_constants_are_the_least_that_hold(weight: list[int], bias: int, seed: int) -> None:
    """Of a single neuron, the plane's least value over the corners is the bound."""
    network = read_network(relu_net(one_neuron(weight, bias)))
    builder = TreeBuilder((("z0", 1),))
    builder.leaf(0)
    share = np.random.default_rng(seed).choice([0, 255], len(weight)).astype(np.uint8)
    zero = np.zeros(1, np.int32)
    all_of_it = np.full(1, 255, np.uint8)
    planes = Planes(zero, zero, all_of_it, np.array([0, len(share)], np.int64), share)
    ones = np.ones(len(weight))
    rows = np.ones((1, 1)), np.zeros(1, np.int64)
    tree = replace(builder.tree(), planes=planes)
    _, (found,) = tree_bounds(network, -ones, ones, tree, rows)
    slope = np.array(weight) * (share / 255)
    corners = np.array(list(product((-1.0, 1.0), repeat=len(weight))))
    constant = (np.maximum(corners @ weight + bias, 0) - corners @ slope).max()
    wanted = -(corners @ slope).max() - constant
    assert wanted - 1e-12 <= found <= wanted


def test_planes_prove_what_no_line_does(tmp_path: Path) -> None:
    """max(0, x₁ + x₂) ≤ (x₁ + 1) + max(0, x₂ − 1) on a box: no line in x₁ + x₂ alone is as low."""
    hidden = np.array([[1.0, 1.0], [1.0, 0.0]], np.float32)
    layers = [
        (hidden, np.array([0.0, 1.0], np.float32)),
        (np.array([[-1.0, 1.0]], np.float32), np.array([0.001], np.float32)),
    ]
    content, builder = relu_net(layers), TreeBuilder((("z0", 2),))
    builder.leaf(0)
    ends = -np.ones(2), np.ones(2)
    held = {"tree": whole([1]), "trees": (builder.tree(),)}
    proof, path = proof_of(content, *ends, **held), tmp_path / "proof"
    write_proof(path, proof)
    assert "proves nothing" in str(check_proof(path, content).reason)
    zero = np.zeros(1, np.int32)
    all_of_it = np.full(1, 255, np.uint8)
    planes = Planes(zero, zero, all_of_it, np.array([0, 2]), np.array([255, 0], np.uint8))
    write_proof(path, replace(proof, trees=(replace(builder.tree(), planes=planes),)))
    result, exact = check_proof(path, content), check_exactly(path, content)
    assert result.accepted, result.reason
    assert exact.accepted, exact.reason
    assert result.margin == pytest.approx(0.001, rel=1e-6)
    read = read_proof(path).trees[0].planes
    assert read is not None
    assert read.share.tolist() == [255, 0]


def test_boxes_of_leaves_count_where_planes_are_made_of_what_is_split() -> None:
    """y = −max(0, x₁ + x₂ + 1), where x is read by a ReLU of its own, and so can be split."""
    weights = {
        "w": np.ones((2, 1), np.float32),
        "b": np.ones(1, np.float32),
        "v": -np.ones((1, 1), np.float32),
        "none": np.zeros((2, 1), np.float32),
    }
    nodes = [
        networks.node("Gemm", ["x", "w", "b"], ["z0"]),
        networks.node("Relu", ["z0"], ["a0"]),
        networks.node("MatMul", ["a0", "v"], ["left"]),
        networks.node("Relu", ["x"], ["a1"]),
        networks.node("MatMul", ["a1", "none"], ["right"]),
        networks.node("Add", ["left", "right"], ["y"]),
    ]
    network = read_network(networks.model(nodes, shape=(1, 2), weights=weights))
    builder = TreeBuilder((("x", 2), ("z0", 1)))
    builder.split(0)
    builder.leaf(0)
    builder.leaf(0)
    planes = Planes(
        np.array([0, 1], np.int32), np.array([2, 2], np.int32), np.full(2, 255, np.uint8),
        np.array([0, 2, 4], np.int64), np.zeros(4, np.uint8),
    )  # fmt: skip
    tree, rows = replace(builder.tree(), planes=planes), (np.ones((1, 1)), np.zeros(1, np.int64))
    _, found = tree_bounds(network, -np.ones(2), np.ones(2), tree, rows)
    assert found == pytest.approx([-2.0, -3.0], abs=1e-9)
    assert (found <= [-2.0, -3.0]).all()


def small(**changes: Array) -> Planes:
    parts = {
        "user": np.zeros(1, np.int32),
        "value": np.zeros(1, np.int32),
        "part": np.full(len(changes.get("user", [0])), 200, np.uint8),
        "start": np.array([0, 2], np.int64),
        "share": np.array([255, 0], np.uint8),
    }
    return Planes(**{**parts, **changes})


STRANGE = {
    "a pass or value": small(user=np.array([1], np.int32)),
    "a plane of a pass": small(user=np.array([-1], np.int32)),
    "value that it does not have": small(value=np.array([3], np.int32)),
    "planes whose offsets do not": small(start=np.array([0, 1], np.int64)),
    "whose offsets": small(start=np.array([1, 2], np.int64)),
    "too many or too few shares": small(
        start=np.array([0, 3], np.int64), share=np.zeros(3, np.uint8)
    ),
    "out of order": small(
        user=np.zeros(2, np.int32),
        value=np.array([1, 0], np.int32),
        start=np.array([0, 2, 4], np.int64),
        share=np.zeros(4, np.uint8),
    ),
    "two of one value": small(
        user=np.zeros(2, np.int32),
        value=np.zeros(2, np.int32),
        start=np.array([0, 2, 4], np.int64),
        share=np.zeros(4, np.uint8),
    ),
}


@pytest.mark.parametrize("reason", STRANGE)
def test_planes_that_fit_nothing_are_rejected(reason: str, tmp_path: Path) -> None:
    content, builder = relu_net(random_layers((2, 3, 1), 0)), TreeBuilder((("z0", 3),))
    builder.leaf(0)
    far = {"offset": np.array([-1e6]), "tree": whole([1])}
    for planes, accepted in ((small(), True), (STRANGE[reason], False)):
        trees = (replace(builder.tree(), planes=planes),)
        write_proof(
            tmp_path / "proof", proof_of(content, np.zeros(2), np.ones(2), trees=trees, **far)
        )
        result = check_proof(tmp_path / "proof", content)
        assert result.accepted is accepted
    assert reason in str(result.reason)


@pytest.mark.parametrize("operator", ["Sigmoid", "LeakyRelu"])
def test_planes_above_other_functions_are_rejected(operator: str, tmp_path: Path) -> None:
    weights = {"w": np.ones((2, 3), np.float32)}
    nodes = [networks.node("MatMul", ["x", "w"], ["z0"]), networks.node(operator, ["z0"], ["y"])]
    content = networks.model(nodes, shape=(1, 2), weights=weights)
    builder = TreeBuilder((("z0", 3),))
    builder.leaf(0)
    trees = (replace(builder.tree(), planes=small()),)
    far = {"offset": np.array([-1e6]), "tree": whole([1])}
    write_proof(tmp_path / "proof", proof_of(content, np.zeros(2), np.ones(2), trees=trees, **far))
    assert "no ReLU of a sum" in str(check_proof(tmp_path / "proof", content).reason)


def test_planes_above_what_is_no_sum_are_rejected(tmp_path: Path) -> None:
    """Of the input alone no plane is lower than a line."""
    nodes = [networks.node("Relu", ["x"], ["y"])]
    content = networks.model(nodes, shape=(1, 2), weights={})
    builder = TreeBuilder((("x", 2),))
    builder.leaf(0)
    planes = small(start=np.array([0, 1], np.int64), share=np.array([255], np.uint8))
    trees = (replace(builder.tree(), planes=planes),)
    far = {"offset": np.array([-1e6]), "tree": whole([1])}
    write_proof(tmp_path / "proof", proof_of(content, np.zeros(2), np.ones(2), trees=trees, **far))
    assert "no ReLU of a sum" in str(check_proof(tmp_path / "proof", content).reason)


def edited(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Write a proof with one plane, and change its tree's entry in the manifest."""
    content, builder = relu_net(random_layers((2, 3, 1), 0)), TreeBuilder((("z0", 3),))
    builder.leaf(0)
    trees = (replace(builder.tree(), planes=small()),)
    proof = proof_of(content, np.zeros(2), np.ones(2), tree=whole([1]), trees=trees)
    before, after = folder / "before", folder / "after"
    write_proof(before, proof)
    with zipfile.ZipFile(before) as source, zipfile.ZipFile(after, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name == "manifest.json":
                head = json.loads(data)
                change(head["trees"][0])
                data = json.dumps(head).encode()
            target.writestr(name, data)
    return after


@pytest.mark.parametrize("count", [0, 2, True, "1"])
def test_a_manifest_must_count_planes_as_they_are(count: object, tmp_path: Path) -> None:
    path = edited(tmp_path, lambda tree: tree.update(planes=count))
    with pytest.raises(ProofFormatError, match="plane"):
        read_proof(path)


def test_planes_that_the_manifest_does_not_name_are_left_over(tmp_path: Path) -> None:
    path = edited(tmp_path, lambda tree: tree.pop("planes"))
    with pytest.raises(ProofFormatError, match="unknown member 'n0/plane_"):
        read_proof(path)
