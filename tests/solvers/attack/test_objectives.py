"""Margins of clauses as tensors, and plans of descents."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InvalidInputError
from solvers.attack.descent import clearly_falsified
from solvers.attack.objectives import ClauseBatch, clause_margins
from solvers.attack.options import AttackOptions
from solvers.attack.starts import landmarks, make_plan, random_points
from solvers.float32_region import runnable_box
from solvers.problem import Box, Case, Clause, Specification
from tests.helpers.problems import specifications


@given(specifications(3), st.integers(0, 1000))
def test_margins_of_clauses_are_those_of_each(specification: Specification, seed: int) -> None:
    y = np.random.default_rng(seed).normal(size=(7, 3))
    margins = clause_margins(specification, y)
    expected = np.stack([clause.margin(y) for clause in specification.clauses], axis=1)
    np.testing.assert_allclose(margins, expected, rtol=1e-12, atol=1e-6)
    np.testing.assert_allclose(margins.min(axis=1), specification.margin(y), atol=1e-6)


def test_outputs_that_are_not_numbers_have_no_margin() -> None:
    specification = Specification((Clause(np.eye(2), np.zeros(2)),))
    margins = clause_margins(specification, np.array([[0.0, np.nan], [1.0, 2.0]]))
    np.testing.assert_array_equal(margins, [[np.inf], [2.0]])


@given(specifications(3), specifications(3), st.integers(0, 1000))
def test_padding_changes_no_margin(left: Specification, right: Specification, seed: int) -> None:
    y = np.random.default_rng(seed).normal(size=(2, 4, 3))
    batch = ClauseBatch.of([left.clauses, right.clauses], torch.device("cpu"))
    margins = batch.margins(torch.from_numpy(y).float()).numpy()
    for case, specification in enumerate((left, right)):
        expected = specification.margin(y[case])
        # float32, relative to coefficients of up to a million.
        np.testing.assert_allclose(margins[case].min(axis=-1), expected, rtol=1e-5, atol=2.0)
        alone = batch.select(torch.tensor([case]))
        again = alone.margins(torch.from_numpy(y[case : case + 1]).float())
        np.testing.assert_allclose(again[0].numpy(), margins[case], rtol=1e-5, atol=2.0)


def box(*corners: tuple[float, float]) -> Box:
    return Box(np.array([low for low, _ in corners]), np.array([up for _, up in corners]))


def test_landmarks_are_centre_and_corners() -> None:
    region = box((0.0, 1.0), (-2.0, 4.0))
    case = Case(region, Specification((Clause(np.eye(2), np.zeros(2)),)))
    points = landmarks([case, case], [runnable_box(region)] * 2)
    assert points.shape == (2, 3, 2)
    assert points[0].tolist() == [[0.5, 1.0], [0.0, -2.0], [1.0, 4.0]]


def test_random_points_fill_the_box_and_every_fourth_is_a_corner() -> None:
    region = runnable_box(box((0.0, 1.0), (5.0, 5.0), (-3.0, 7.0)))
    points = random_points(region, 100, torch.Generator().manual_seed(0))
    assert all(region.contains(point) for point in points.numpy())
    corners = (
        (points == torch.tensor([0.0, 5.0, -3.0])) | (points == torch.tensor([1.0, 5.0, 7.0]))
    ).all(dim=1)
    assert corners[3::4].all()
    assert not corners[0::4].any()
    assert len(set(points[:, 0].tolist())) > 70


def test_descents_start_at_different_winners_and_take_clauses_in_turn() -> None:
    # The outputs are the inputs: clause 0 wants x small, clause 1 wants x large.
    clauses = (Clause(np.array([[1.0]]), np.zeros(1)), Clause(np.array([[-1.0]]), np.array([5.0])))
    case = Case(box((0.0, 1.0)), Specification(clauses))
    points = torch.tensor([[0.5], [0.1], [0.9], [0.2], [0.7]])
    fresh = torch.full((8, 1), 0.33)
    plan = make_plan(case, points, points.numpy(), clauses=2, fresh=fresh)
    assert plan.clauses == (clauses[1], clauses[0])  # the lower margin first
    assert plan.target.tolist() == [0, 1] * 4
    assert plan.wander.tolist() == [False, False, True, True] * 2
    # First the best of all five; then the best of points 1 and 3, dealt to the second heat.
    expected = [0.9, 0.1, 0.33, 0.33, 0.2, 0.1, 0.33, 0.33]
    np.testing.assert_allclose(plan.start.flatten().numpy(), expected, rtol=1e-6)
    assert len(set(plan.stride.tolist())) == 2
    only = make_plan(case, points, points.numpy(), clauses=1, fresh=fresh)
    assert only.clauses == (clauses[1],)
    assert only.target.tolist() == [0] * 8


def test_a_margin_near_zero_is_not_clear() -> None:
    outputs = torch.tensor([[100.0], [100.0], [0.1]])
    margins = torch.tensor([-1e-4, -1e-2, -1e-4])
    assert clearly_falsified(margins, outputs).tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("restarts", 0, "restarts is 0; it must be positive"),
        ("steps", -1, "steps is -1; it cannot be negative"),
        ("rounds", -1, "rounds is -1; it cannot be negative"),
        ("memory_bytes", 0, "memory_bytes is 0; it must be positive"),
        ("step_fraction", 0.001, "must shrink"),
        ("final_fraction", 0.0, "must shrink"),
        ("step_fraction", 1.5, "at most at 1"),
        ("step_fraction", float("nan"), "must shrink"),
    ],
)
def test_options_are_checked(name: str, value: float, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        AttackOptions(**{name: value})  # type: ignore[arg-type]
