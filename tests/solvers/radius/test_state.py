"""The bracket of one input: measured distances, and which radius comes next."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from solvers.balls import Norm
from solvers.problem import robustness
from solvers.radius.state import RadiusState


class Answers:
    """Runs y = (x0, 0.5): the answer changes where x0 falls to 0.5."""

    def run(self, x: NDArray[np.float32]) -> NDArray[Any]:
        first = x.reshape(len(x), -1)[:, 0]
        return np.stack([first, np.full_like(first, 0.5)], axis=1)


def state(norm: str = "inf", limit: float = 2.0) -> RadiusState:
    x = np.array([0.9, 0.3, 0.6], np.float32)
    return RadiusState(0, 0, 0, x, robustness(0, 2), Norm(norm), (0.0, 1.0), limit)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), norm=st.sampled_from(["inf", "2", "1"]))
def test_the_ball_of_the_distance_holds_the_counterexample(seed: int, norm: str) -> None:
    known = state(norm)
    change = np.random.default_rng(seed).uniform(-0.5, 0.5, 3)
    candidate = np.clip(known.x - np.abs(change) * [1, 1, 1], 0, 1).astype(np.float32)
    candidate[0] = min(candidate[0], np.float32(0.5))
    assert known.offer(Answers(), candidate)
    assert known.counterexample is not None
    assert known.case(known.upper).region.contains(known.counterexample.x)
    # the exact distance, and hardly more
    steps = [abs(Fraction(float(a)) - Fraction(float(b))) for a, b in zip(candidate, known.x)]  # noqa: B905
    power = {"inf": 1, "1": 1, "2": 2}[norm]
    exact = max(steps) if norm == "inf" else sum(step**power for step in steps)
    assert float(exact) ** (1 / power) <= known.upper * (1 + 1e-12)
    assert known.upper <= float(exact) ** (1 / power) * (1 + 2e-6)


def test_only_nearer_counterexamples_count() -> None:
    known = state()
    assert not known.offer(Answers(), None)
    assert not known.offer(Answers(), np.array([0.8, 0.3, 0.6], np.float32)), "still class 0"
    assert known.offer(Answers(), np.array([0.2, 0.3, 0.6], np.float32))
    assert not known.offer(Answers(), np.array([0.1, 0.3, 0.6], np.float32))
    assert known.offer(Answers(), np.array([0.4, 0.3, 0.6], np.float32))
    assert known.upper == pytest.approx(0.5)


def test_inputs_beyond_the_limit_or_the_range_do_not_count() -> None:
    known = state(limit=0.45)
    assert not known.offer(Answers(), np.array([0.4, 0.3, 0.6], np.float32))
    assert not known.offer(Answers(), np.array([0.5, -0.1, 0.6], np.float32))
    assert known.upper == math.inf


def test_the_way_back_finds_the_tie() -> None:
    known = state()
    known.approach(Answers())
    assert known.upper == math.inf, "there is nothing to start from"
    known.offer(Answers(), np.array([0.0, 0.1, 0.9], np.float32))
    known.approach(Answers())
    assert known.upper == pytest.approx(0.4, abs=1e-5)


def test_a_proof_beyond_a_counterexample_is_a_contradiction() -> None:
    known = state()
    known.offer(Answers(), np.array([0.4, 0.3, 0.6], np.float32))
    known.prove(0.3)
    assert known.contradiction is None
    known.prove(0.2)
    assert known.lower == 0.3
    known.prove(0.6)
    assert "please report" in str(known.contradiction)


def test_the_next_radius_lies_where_least_is_known() -> None:
    known = state(limit=1.0)
    known.prove(0.1)
    assert known.gap() == (0.1, 1.0)
    known.undecided = [0.2]
    assert known.gap() == (0.2, 1.0)
    known.undecided = [0.2, 0.6]
    assert known.gap() == (0.2, 0.6)
    known.undecided = [0.2, 0.3, 0.6]
    assert known.gap() in {(0.1, 0.2), (0.3, 0.6)}
