"""Cutting boxes: halves cover the box exactly, and what cannot be cut is said to be stuck."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from solvers.bounds import Interval
from solvers.search.boxes.boxes import Boxes, bisected

ends = st.floats(-1e300, 1e300, allow_nan=False)


def _boxes(lower: list[list[float]], upper: list[list[float]], scores: torch.Tensor) -> Boxes:
    low = torch.tensor(lower, dtype=torch.float64)
    count = len(lower)
    return Boxes(
        low,
        torch.tensor(upper, dtype=torch.float64),
        torch.arange(count),
        torch.full((count, 2), -1.0, dtype=torch.float64),
        torch.full((count,), torch.inf, dtype=torch.float64),
        scores,
        torch.zeros(count, dtype=torch.long),
        {"n": Interval(low - 1, low + 1)},
    )


@given(st.lists(st.tuples(ends, ends), min_size=1, max_size=4), st.randoms())
def test_halves_cover_a_box_exactly(pairs: list[tuple[float, float]], random: object) -> None:
    del random
    lower = [min(pair) for pair in pairs]
    upper = [max(pair) for pair in pairs]
    halves, stuck = bisected(_boxes([lower], [upper], torch.ones(1, len(pairs)).double()))
    if bool(stuck[0]):
        assert len(halves) == 0
        assert all(
            np.nextafter(low, np.inf) >= high for low, high in zip(lower, upper, strict=True)
        )
        return
    one, other = (
        [(Fraction(a), Fraction(b)) for a, b in zip(low.tolist(), high.tolist(), strict=True)]
        for low, high in zip(halves.lower, halves.upper, strict=True)
    )
    whole = [(Fraction(a), Fraction(b)) for a, b in zip(lower, upper, strict=True)]
    cut = [axis for axis in range(len(whole)) if one[axis] != other[axis]]
    assert len(cut) == 1
    (axis,) = cut
    assert one[axis][0] == whole[axis][0] < one[axis][1] == other[axis][0] < other[axis][1]
    assert other[axis][1] == whole[axis][1]
    assert all(one[i] == other[i] == whole[i] for i in range(len(whole)) if i != axis)


def test_cuts_the_input_that_promises_most_and_halves_its_score() -> None:
    boxes = _boxes([[0.0, 0.0]], [[1.0, 1.0]], torch.tensor([[1.0, 3.0]]).double())
    halves, _ = bisected(boxes)
    assert halves.upper.tolist() == [[1.0, 0.5], [1.0, 1.0]]
    assert halves.lower.tolist() == [[0.0, 0.0], [0.0, 0.5]]
    assert halves.scores.tolist() == [[1.0, 1.5]] * 2
    assert halves.depth.tolist() == [1, 1]


def test_never_cuts_an_input_that_does_not_vary_however_well_it_scores() -> None:
    scores = torch.tensor([[9.0, 0.0], [torch.nan, 0.0], [torch.inf, -1.0]]).double()
    halves, stuck = bisected(_boxes([[2.0, 0.0]] * 3, [[2.0, 1.0]] * 3, scores))
    assert not stuck.any()
    assert halves.lower[:, 0].tolist() == [2.0] * 6
    assert halves.upper[:3, 1].tolist() == [0.5] * 3


def test_adjacent_numbers_are_stuck_and_leave_the_others_to_be_cut() -> None:
    near = float(np.nextafter(1.0, 2.0))
    boxes = _boxes([[1.0], [1.0]], [[near], [2.0]], torch.ones(2, 1).double())
    halves, stuck = bisected(boxes)
    assert stuck.tolist() == [True, False]
    assert halves.case.tolist() == [1, 1]


def test_halves_inherit_bounds_of_nodes() -> None:
    boxes = _boxes([[0.0], [4.0]], [[1.0], [5.0]], torch.ones(2, 1).double())
    halves, _ = bisected(boxes)
    assert halves.bounds["n"].lower[:, 0].tolist() == [-1.0, 3.0, -1.0, 3.0]
    assert halves.without_bounds().row_bytes < halves.row_bytes


def test_boxes_that_lack_bounds_take_them_from_those_joined() -> None:
    boxes = _boxes([[0.0]], [[1.0]], torch.ones(1, 1).double())
    assert Boxes.joined([boxes, boxes.without_bounds()]).bounds == {}
    assert set(Boxes.joined([boxes, boxes]).bounds) == {"n"}


def test_picks_boxes_by_mask() -> None:
    boxes = _boxes([[0.0], [4.0]], [[1.0], [5.0]], torch.ones(2, 1).double())
    assert boxes[torch.tensor([False, True])].lower.tolist() == [[4.0]]
    assert boxes.worst.tolist() == [-1.0, -1.0]
