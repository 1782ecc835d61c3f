"""Deadlines and cancellation. The clock stands still here."""

from __future__ import annotations

import math

import pytest

from solvers.budget import Budget, never_cancelled
from solvers.errors import StoppedError


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a one-element list that holds the time."""
    now = [100.0]
    monkeypatch.setattr("solvers.budget.monotonic", lambda: now[0])
    return now


def test_a_budget_ends_at_its_deadline(clock: list[float]) -> None:
    budget = Budget.of_seconds(5)
    assert budget.remaining_seconds == 5.0
    assert not budget.exhausted
    assert budget.stop_reason is None
    clock[0] = 105.0
    assert budget.stop_reason == "timeout"
    assert budget.exhausted
    clock[0] = 200.0
    assert budget.remaining_seconds == 0.0


@pytest.mark.parametrize("seconds", [0, -1])
def test_no_time_is_over_at_once(clock: list[float], seconds: float) -> None:
    assert Budget.of_seconds(seconds).stop_reason == "timeout"


def test_without_a_limit_only_cancellation_ends_it(clock: list[float]) -> None:
    cancelled = [False]
    budget = Budget.of_seconds(None, lambda: cancelled[0])
    clock[0] = 1e12
    assert math.isinf(budget.remaining_seconds)
    assert not budget.exhausted
    cancelled[0] = True
    assert budget.stop_reason == "cancelled"


def test_cancellation_is_named_even_after_the_deadline(clock: list[float]) -> None:
    assert Budget(0.0, lambda: True).stop_reason == "cancelled"


def test_a_share_ends_sooner_and_hears_the_same_cancellation(clock: list[float]) -> None:
    cancelled = [False]
    whole = Budget.of_seconds(10, lambda: cancelled[0])
    part = whole.share(0.2)
    assert part.deadline == 102.0
    clock[0] = 103.0
    assert part.exhausted
    assert not whole.exhausted
    cancelled[0] = True
    assert whole.share(1.0).stop_reason == part.stop_reason == "cancelled"


def test_a_share_of_no_limit_is_no_limit(clock: list[float]) -> None:
    assert math.isinf(Budget().share(0.1).deadline)


def test_at_most_never_extends(clock: list[float]) -> None:
    budget = Budget.of_seconds(10)
    assert budget.at_most(3).deadline == 103.0
    assert budget.at_most(30).deadline == 110.0
    assert Budget().at_most(3).remaining_seconds == 3.0
    stopped = Budget(cancelled=lambda: True).at_most(3)
    assert stopped.stop_reason == "cancelled"


def test_work_goes_on_only_while_there_is_time(clock: list[float]) -> None:
    budget = Budget.of_seconds(5)
    budget.check()
    clock[0] = 105.0
    with pytest.raises(StoppedError, match="timeout"):
        budget.check()
    with pytest.raises(StoppedError, match="cancelled"):
        Budget(cancelled=lambda: True).check()


def test_by_default_nobody_cancels() -> None:
    assert never_cancelled() is False
    assert not Budget().exhausted
