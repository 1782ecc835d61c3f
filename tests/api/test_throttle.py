"""Token buckets, in one process and shared by several."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.throttle import LocalThrottle, Rate, RedisThrottle, open_throttle
from tests.helpers.processes import free_port
from tests.helpers.servers import redis
from tests.helpers.service import service_settings


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis(tmp_path_factory.mktemp("throttle") / "redis") as url:
        yield url


def test_a_bucket_empties_and_fills() -> None:
    clock = Clock()
    throttle, rate = LocalThrottle(clock), Rate(per_minute=30, burst=3)
    assert [throttle.take("a", rate) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert throttle.take("a", rate) == pytest.approx(2.0)
    assert throttle.take("b", rate) == 0.0
    clock.now += 1.0
    assert throttle.take("a", rate) == pytest.approx(1.0)
    clock.now += 1.0
    assert throttle.take("a", rate) == 0.0
    assert throttle.take("a", rate) > 0
    clock.now += 3600
    assert sum(throttle.take("a", rate) == 0.0 for _ in range(10)) == 3


@given(
    pauses=st.lists(st.floats(-5, 20), min_size=1, max_size=60),
    per_minute=st.integers(1, 600),
    burst=st.integers(1, 20),
)
def test_never_more_than_the_rate_allows(pauses: list[float], per_minute: int, burst: int) -> None:
    """Whatever the clock does, a bucket gives its burst and what time has brought, no more."""
    clock = Clock()
    throttle, rate = LocalThrottle(clock), Rate(per_minute, burst)
    brought, taken = 0.0, 0
    for pause in pauses:
        clock.now += pause
        brought += max(0.0, pause) * rate.per_second
        wait = throttle.take("a", rate)
        taken += wait == 0.0
        assert 0.0 <= wait <= 1 / rate.per_second + 1e-9
    assert taken <= burst + brought + 1e-6


def test_what_nobody_asks_about_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.throttle._MOST_BUCKETS", 3)
    throttle, rate = LocalThrottle(Clock()), Rate(1, 1)
    for name in "abcd":
        assert throttle.take(name, rate) == 0.0
    assert throttle.take("d", rate) > 0
    assert throttle.take("a", rate) == 0.0


def test_processes_count_together(redis_url: str) -> None:
    throttles = [RedisThrottle(redis_url) for _ in range(3)]
    rate = Rate(per_minute=1, burst=5)
    waits = [throttles[number % 3].take("shared", rate) for number in range(7)]
    assert waits[:5] == [0.0] * 5
    for wait in waits[5:]:
        assert 50 < wait <= 60
    assert throttles[0].take("other", rate) == 0.0
    for throttle in throttles:
        throttle.close()


def test_a_shared_bucket_fills_with_time(redis_url: str) -> None:
    throttle = RedisThrottle(redis_url)
    rate = Rate(per_minute=60_000, burst=1)
    taken = 0
    for _ in range(10_000):
        taken += throttle.take("quick", rate) == 0.0
        if taken == 3:
            break
    assert taken == 3
    throttle.close()


def test_without_redis_a_process_counts_for_itself(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    throttle = RedisThrottle(f"redis://127.0.0.1:{free_port()}/0", clock)
    rate = Rate(per_minute=60, burst=2)
    assert [throttle.take("a", rate) for _ in range(3)] == [0.0, 0.0, pytest.approx(1.0)]
    assert caplog.text.count("by this process alone") == 1  # not tried again for each request
    clock.now += 6
    assert throttle.take("a", rate) == 0.0
    assert caplog.text.count("by this process alone") == 2
    throttle.close()


def test_the_settings_decide_who_counts(tmp_path: Path) -> None:
    assert isinstance(open_throttle(service_settings(tmp_path)), LocalThrottle)
    shared = open_throttle(service_settings(tmp_path, broker_url="redis://127.0.0.1:1/0"))
    assert isinstance(shared, RedisThrottle)
    shared.close()
    amqp = service_settings(tmp_path, broker_url="amqp://127.0.0.1:1")
    assert isinstance(open_throttle(amqp), LocalThrottle)
