"""The pool loses no box, keeps its memory, and knows the least bounds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from solvers.bounds import Interval
from solvers.search.boxes.boxes import Boxes
from solvers.search.boxes.pool import Pool


def _boxes(names: list[int], *, cases: int = 3, nodes: int = 50) -> Boxes:
    """Return boxes that are told apart by their lower corner."""
    generator = np.random.default_rng(names)
    count = len(names)
    lower = torch.tensor(names, dtype=torch.float64).reshape(count, 1)
    wide = torch.from_numpy(generator.normal(size=(count, nodes)))
    return Boxes(
        lower,
        lower + 1,
        torch.tensor(names, dtype=torch.long) % cases,
        torch.from_numpy(generator.normal(size=(count, 2)) - 2),
        torch.from_numpy(generator.normal(size=count)),
        torch.ones_like(lower),
        torch.tensor(names, dtype=torch.long),
        {"n": Interval(wide, wide + lower.abs())},
    )


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 40)), min_size=1, max_size=20))
def test_returns_every_box_once(steps: list[tuple[bool, int]]) -> None:
    pool = Pool(1 << 40)
    there: dict[float, torch.Tensor] = {}
    following = 0
    for puts, count in steps:
        if puts or not len(pool):
            boxes = _boxes(list(range(following, following + count)))
            following += count
            pool.put(boxes)
            there |= dict(zip(boxes.lower[:, 0].tolist(), boxes.bounds["n"].lower, strict=True))
            continue
        taken = pool.take(count)
        assert len(taken) == min(count, len(there))
        for name, bound in zip(taken.lower[:, 0].tolist(), taken.bounds["n"].lower, strict=True):
            assert torch.equal(there.pop(name), bound)
    assert len(pool) == len(there)


def test_half_of_what_comes_is_likeliest_to_be_falsified_and_half_loosest() -> None:
    boxes = _boxes(list(range(6)))
    boxes = replace(
        boxes,
        reached=torch.tensor([5.0, 0.0, 4.0, 3.0, 2.0, 1.0]).double(),
        clause_lower=torch.tensor([[-9.0], [-8.0], [-6.0], [-1.0], [-1.0], [-7.0]]).double(),
    )
    pool = Pool(1 << 40)
    pool.put(boxes)
    assert sorted(pool.take(2).lower[:, 0].tolist()) == [0.0, 1.0]
    assert sorted(pool.take(2).lower[:, 0].tolist()) == [2.0, 5.0]


def test_near_the_limit_the_deepest_come_first() -> None:
    boxes = _boxes(list(range(6)))
    pool = Pool(6 * boxes.row_bytes)
    pool.put(boxes)
    assert sorted(pool.take(2).depth.tolist()) == [4, 5]


def test_drops_bounds_of_nodes_rather_than_boxes() -> None:
    boxes = _boxes(list(range(10)))
    pool = Pool(11 * boxes.row_bytes)
    pool.put(boxes)
    pool.put(_boxes(list(range(10, 20))))
    assert len(pool) == 20
    assert not pool.full
    taken = pool.take(20)
    assert taken.bounds == {}
    assert sorted(taken.lower[:, 0].tolist()) == list(range(20))


def test_is_full_when_nothing_is_left_to_drop() -> None:
    boxes = _boxes(list(range(10)))
    pool = Pool(5 * boxes.without_bounds().row_bytes)
    pool.put(boxes)
    assert pool.full
    pool.take(6)
    assert not pool.full


def test_a_box_without_bounds_gets_infinite_ones() -> None:
    pool = Pool(1 << 40)
    pool.put(_boxes([1]))
    pool.put(_boxes([2]).without_bounds())
    taken = pool.take(2)
    bare = taken.bounds["n"][taken.lower[:, 0] == 2.0]
    assert bool((bare.lower == -torch.inf).all())
    assert bool((bare.upper == torch.inf).all())


def test_least_bounds_are_over_waiting_boxes_and_those_that_left() -> None:
    boxes = _boxes(list(range(7)))
    pool = Pool(1 << 40)
    floor = torch.tensor([[-9.0, torch.inf], [torch.inf] * 2, [torch.inf] * 2]).double()
    assert torch.equal(pool.least(floor), floor)
    pool.put(boxes)
    gone = pool.take(2)
    least = pool.least(floor)
    for case in range(3):
        own = (boxes.case == case) & ~torch.isin(boxes.lower, gone.lower)[:, 0]
        expected = torch.cat([boxes.clause_lower[own], floor[case : case + 1]]).amin(0)
        assert torch.equal(least[case], expected)
