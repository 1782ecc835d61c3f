"""Forecasts of whether a tree will be closed in time."""

from __future__ import annotations

import math

import numpy as np
import pytest

from solvers.search.neurons.prospect import Prospect


@pytest.mark.parametrize(
    ("missing", "depth", "spent", "bounded", "good"),
    [
        pytest.param([9.0, 9.0], [1, 1], 0.5, 3, True, id="too early to say"),
        pytest.param([9.0, 9.0], [1, 1], 5.0, 3, False, id="bounds hardly rise"),
        pytest.param([12.0, 12.0], [1, 1], 5.0, 3, False, id="bounds fall"),
        pytest.param([1.0, 1.0], [1, 1], 5.0, 3, True, id="a tenth is left"),
        pytest.param([9.0], [3], 5.0, 30, True, id="most of the region is closed"),
        pytest.param([9.0] * 15, [4] * 15, 9.0, 30, False, id="hardly any of it is"),
    ],
)
def test_forecast(
    missing: list[float], depth: list[int], spent: float, bounded: int, good: bool
) -> None:
    prospect = Prospect(60.0)
    found = prospect.good(
        np.array(missing),
        np.array(depth),
        root=10.0,
        spent=spent,
        bounded=bounded,
        remaining=60.0 - spent,
    )
    assert found is good


def test_time_without_an_end_is_not_spent_on_what_will_not_end() -> None:
    found = Prospect(math.inf).good(
        np.array([9.99]), np.array([1]), root=10.0, spent=100.0, bounded=2, remaining=math.inf
    )
    assert found
    worse = Prospect(math.inf).good(
        np.array([9.99] * 2),
        np.array([1] * 2),
        root=10.0,
        spent=100.0,
        bounded=3,
        remaining=math.inf,
    )
    assert not worse
