"""Trees of splits are rebuilt from leaves, or not at all."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from solvers.search.neurons import Leaf, Split
from solvers.search.neurons.split_tree import SplitTree


def leaf(*splits: Split) -> Leaf:
    empty = torch.zeros(0)
    return Leaf(0, splits, 1.0, (), empty, empty, empty, empty)


def grown(seed: int, rounds: int) -> list[Leaf]:
    """Return the leaves of random splits."""
    generator = np.random.default_rng(seed)
    paths: list[tuple[Split, ...]] = [()]
    for number in range(rounds):
        path = paths.pop(int(generator.integers(len(paths))))
        point = float(generator.normal())
        tightened = (("later", number, True),) if generator.random() < 0.3 else ()
        paths.append((*path, Split("node", number, point, upper=False, tightened=tightened)))
        paths.append((*path, Split("node", number, point, upper=True)))
    return [leaf(*path) for path in paths]


@pytest.mark.parametrize("seed", range(8))
def test_every_leaf_is_found_on_its_path(seed: int) -> None:
    leaves = grown(seed, 3 * seed)
    order = np.random.default_rng(seed).permutation(len(leaves))
    tree = SplitTree.of([leaves[place] for place in order])
    assert tree is not None
    domains = list(tree.preorder())
    assert len(domains) == 2 * len(leaves) - 1
    assert {id(domain.leaf) for domain in domains if domain.cut is None} == set(map(id, leaves))
    for one in leaves:
        place: SplitTree | None = tree
        for split in one.splits:
            assert place is not None
            assert place.cut == (split.node, split.index, split.point)
            place = place.halves[split.upper]
            assert place is not None
            assert place.tightened == split.tightened
        assert place is not None
        assert place.leaf is one


def test_lower_halves_come_first() -> None:
    below, above = (leaf(Split("node", 1, 0.0, upper)) for upper in (False, True))
    tree = SplitTree.of([above, below])
    assert tree is not None
    assert [domain.leaf for domain in tree.preorder()] == [None, below, above]


@pytest.mark.parametrize("seed", range(1, 6))
def test_a_missing_leaf_leaves_no_tree(seed: int) -> None:
    leaves = grown(seed, 4)
    assert SplitTree.of(leaves[1:]) is None
    assert SplitTree.of([]) is None
