"""What is kept of the leaves of a search, and which of two trees a proof begins with."""

from __future__ import annotations

import pytest
import torch

from solvers.proof.producing import trace
from solvers.proof.producing.trace import RecordedLeaves
from solvers.search.neurons import Leaf, Split


def leaf(*sides: bool, clause: int = 0, sharp: bool = False, gamma: float = 1.0) -> Leaf:
    splits = tuple(Split("node", depth, 0.0, side) for depth, side in enumerate(sides))
    row = torch.full((1, 4), gamma)
    return Leaf(clause, splits, 1.0, (), row[0], row[0], row.sigmoid(), row, sharp)


def recorded(*leaves: Leaf) -> RecordedLeaves:
    found = RecordedLeaves()
    for one in leaves:
        found.record(one)
    return found


@pytest.mark.parametrize(("plain", "sharp"), [(True, False), (False, True)])
def test_the_tree_that_covers_more_is_taken(plain: bool, sharp: bool) -> None:
    whole = [(False,), (True,)]
    leaves = [leaf(*sides) for sides in whole[: 2 if plain else 1]]
    leaves += [leaf(*sides, sharp=True) for sides in whole[: 2 if sharp else 1]]
    best = recorded(*leaves).best
    assert [one.splits[0].upper for one in best] == [False, True]
    assert {one.sharp for one in best} == {sharp}


def test_each_clause_has_a_tree_of_its_own() -> None:
    best = recorded(leaf(True, sharp=True), leaf(clause=1), leaf(False, True)).best
    assert [(one.clause, one.sharp) for one in best] == [(0, True), (1, False)]


def test_numbers_are_rounded_and_never_infinite() -> None:
    for gamma in (1 / 3, -1e9):
        (kept,) = recorded(leaf(gamma=gamma)).best
        assert kept.gamma.isfinite().all()
        assert kept.gamma.dtype == torch.float16
        assert (kept.gamma.sign() == torch.tensor(gamma).sign()).all()
        assert len(kept.lower) == 0


def test_leaves_beyond_the_memory_keep_their_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    one = recorded(leaf())._bytes
    monkeypatch.setattr(trace, "_MOST_BYTES", one)
    first, second = recorded(leaf(False), leaf(True)).best
    assert first.alpha.shape == (1, 4)
    assert len(second.alpha) == 0
    assert second.splits[0].upper
