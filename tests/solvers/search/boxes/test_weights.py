"""Weights of rows are weights, and as good as a linear program says, nearly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from solvers.search.boxes.weights import best_weights


def _least_maximum(slopes: np.ndarray, center: np.ndarray, radius: np.ndarray) -> float:
    """Return min over the box of max over rows of the linear functions."""
    rows, inputs = slopes.shape
    result = linprog(
        np.append(np.zeros(inputs), 1.0),
        A_ub=np.hstack([slopes, -np.ones((rows, 1))]),
        b_ub=-center,
        bounds=[*zip(-radius, radius, strict=True), (None, None)],
    )
    assert result.fun is not None
    return float(result.fun)


def _value(
    weights: np.ndarray, slopes: np.ndarray, center: np.ndarray, radius: np.ndarray
) -> float:
    return float(weights @ center - np.abs(weights @ slopes) @ radius)


@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(1, 4))
def test_weights_are_weights_and_beat_every_single_row(seed: int, rows: int, inputs: int) -> None:
    generator = np.random.default_rng(seed)
    slopes = generator.normal(size=(3, rows, inputs)) * 10.0 ** generator.integers(-3, 4)
    center, radius = generator.normal(size=(3, rows)), generator.uniform(0, 1, (3, inputs))
    own = generator.random((3, rows)) < 0.7
    own[:, 0] = True
    weights, gain = best_weights(*map(torch.from_numpy, (slopes, center, radius, own)))
    for box in range(3):
        found = weights[box].numpy()
        assert (found >= 0).all()
        assert (found[~own[box]] == 0).all()
        assert found.sum() == pytest.approx(1.0)
        value = _value(found, slopes[box], center[box], radius[box])
        single = max(
            _value(np.eye(rows)[row], slopes[box], center[box], radius[box])
            for row in np.flatnonzero(own[box])
        )
        scale = np.abs(slopes[box]).sum() + np.abs(center[box]).sum()
        assert value >= single - 1e-9 * scale
        exact = _least_maximum(slopes[box][own[box]], center[box][own[box]], radius[box])
        assert value <= exact + 1e-7 * scale
        assert float(gain[box]) >= 0.0


def test_finds_a_sum_that_proves_what_no_row_does() -> None:
    slopes = torch.tensor([[[1.0], [-1.0]]]).double()
    center = torch.tensor([[0.5, 0.5]]).double()
    weights, gain = best_weights(
        slopes, center, torch.ones(1, 1).double(), torch.ones(1, 2, dtype=torch.bool)
    )
    assert _value(weights[0].numpy(), slopes[0].numpy(), center[0].numpy(), np.ones(1)) > 0.4
    assert float(gain) > 1.0


def test_rows_without_finite_bounds_get_no_weight() -> None:
    slopes = torch.tensor([[[1.0], [torch.nan], [2.0]]]).double()
    center = torch.tensor([[0.5, 0.5, -torch.inf]]).double()
    weights, _ = best_weights(
        slopes, center, torch.ones(1, 1).double(), torch.ones(1, 3, dtype=torch.bool)
    )
    assert weights.tolist() == [[1.0, 0.0, 0.0]]
