"""Trees of boxes: rebuilt from their leaves as they were, or with what is missing left open."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.proof.producing.box_tree import BoxLeaves, BoxTree


def grown(seed: int, inputs: int, rounds: int) -> BoxTree:
    """Return a tree of random cuts; the last input never varies."""
    generator = np.random.default_rng(seed)
    lower = generator.normal(size=inputs)
    upper = lower + np.r_[generator.random(inputs - 1), 0.0]
    tree = BoxTree.whole(lower, upper)
    for _ in range(rounds):
        leaves = tree.leaves
        chosen = leaves[generator.random(len(leaves)) < 0.5]
        tree.split(chosen, generator.integers(0, inputs - 1, len(chosen)))
    return tree


def corners(tree: BoxTree) -> set[tuple[bytes, bytes]]:
    return {(tree.lower[leaf].tobytes(), tree.upper[leaf].tobytes()) for leaf in tree.leaves}


@given(st.integers(0, 2**31), st.integers(2, 4), st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_trees_are_rebuilt_from_leaves_in_any_order(seed: int, inputs: int, rounds: int) -> None:
    tree = grown(seed, inputs, rounds)
    order = np.random.default_rng(seed).permutation(tree.leaves)
    region = tree.lower[0], tree.upper[0]
    again = BoxTree.rebuilt(region, (tree.lower[order], tree.upper[order]))
    assert corners(again) == corners(tree)
    assert len(again) == len(tree)


@given(st.integers(0, 2**31), st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_a_box_that_no_leaf_covers_is_a_leaf_of_its_own(seed: int, rounds: int) -> None:
    """Halves always cover the whole, whatever is missing."""
    tree = grown(seed, 3, rounds)
    kept = tree.leaves[1:]
    region = tree.lower[0], tree.upper[0]
    again = BoxTree.rebuilt(region, (tree.lower[kept], tree.upper[kept]))
    x = np.random.default_rng(seed).uniform(*region, size=(200, 3))
    leaves = again.leaves
    low, high = again.lower[leaves], again.upper[leaves]
    inside = (low[:, None] <= x).all(2) & (x <= high[:, None]).all(2)
    assert inside.any(0).all()


def test_boxes_from_other_cuts_end_the_tree() -> None:
    """Where no middle parts the leaves, nothing is claimed."""
    region = np.zeros(2), np.ones(2)
    low = np.array([[0.0, 0.0], [0.3, 0.0]])
    high = np.array([[0.3, 1.0], [1.0, 1.0]])
    tree = BoxTree.rebuilt(region, (low, high))
    assert len(tree) == 1


def test_halves_follow_their_box_in_order() -> None:
    tree = grown(3, 3, 5)
    order = tree.preorder().tolist()
    assert sorted(order) == list(range(len(tree)))
    place = {node: position for position, node in enumerate(order)}
    for node in np.flatnonzero(tree.child >= 0):
        low = int(tree.child[node])
        assert place[int(node)] + 1 == place[low]
        assert place[low + 1] > place[low]
        dim, point = tree.dim[node], tree.point[node]
        assert tree.upper[low, dim] == point == tree.lower[low + 1, dim]


def test_points_in_the_middle_need_no_number() -> None:
    tree = BoxTree.whole(np.array([0.0]), np.array([1.0]))
    tree.split(np.array([0]), np.array([0]))
    assert np.isnan(tree.points(np.array([0]))).all()
    tree.point[0] = 0.25
    assert tree.points(np.array([0])).tolist() == [0.25]


def test_copies_grow_on_their_own() -> None:
    tree = BoxTree.whole(np.zeros(1), np.ones(1))
    other = tree.copy()
    other.split(np.array([0]), np.array([0]))
    assert (len(tree), len(other), tree.dim.tolist()) == (1, 3, [-1])


@pytest.mark.parametrize("case", [0, 4])
def test_leaves_are_kept_by_case(case: int) -> None:
    kept = BoxLeaves()
    lower = np.arange(6.0).reshape(3, 1, 2)
    kept.leaves(np.array([0, 4, 0]), lower, lower + 1)
    kept.leaves(np.array([4]), lower[:1], lower[:1] + 1)
    found = kept.of(case)
    assert found is not None
    wanted = lower[[0, 2]] if case == 0 else lower[[1, 0]]
    assert np.array_equal(found[0], wanted.reshape(-1, 2))
    assert np.array_equal(found[1], found[0] + 1)
    assert kept.of(1) is None
