"""One reader of news for a whole process: nothing is lost, whatever order news appears in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from api import feed as module
from api.feed import Feed, Watcher
from api.streaming import Clock, Life, follow_job
from store.database import Database
from store.events import Event, Events, Topic
from store.jobs import Jobs
from tests.helpers.service import World, item, service_settings


class ScriptedEvents(Events):
    """Shows events when it is told to, as a database does whose transactions take their time."""

    def __init__(self) -> None:
        super().__init__(Database("sqlite://"))
        self.shown: set[int] = set()
        self.looks = 0
        self.away = False

    def latest(self, *, known: int) -> tuple[int, list[int]]:
        """Return what is shown."""
        largest = max(self.shown, default=0)
        return largest, [number for number in self.shown if number > largest - known]

    def since(self, after: int, *, missing: Collection[int] = (), limit: int = 5000) -> list[Event]:
        """Return what is shown and wanted."""
        del limit
        self.looks += 1
        if self.away:
            raise OperationalError("", None, Exception("away"))
        return [
            event(number) for number in sorted(self.shown) if number > after or number in missing
        ]


def event(number: int) -> Event:
    payload = {"project": "default", "state": "running"}
    return Event(number, "job", Topic.PROGRESS, payload, datetime.now(UTC))


def run(
    use: Callable[[Feed, ScriptedEvents], Coroutine[Any, Any, None]], *, shown: set[int]
) -> None:
    events = ScriptedEvents()
    events.shown |= shown

    async def main() -> None:
        feed = Feed(events, seconds=0.001)
        reader = asyncio.create_task(feed.run())
        try:
            await use(feed, events)
        finally:
            reader.cancel()

    asyncio.run(main())


async def taken(watcher: Watcher, number: int) -> list[int]:
    found: list[int] = []
    while len(found) < number:
        news = await watcher.take(seconds=10)
        assert news, f"only {found} arrived"
        found += [one.id for one in news]
    return found


@given(
    order=st.permutations(range(1, 12)),
    split=st.integers(0, 11),
)
def test_every_event_arrives_once_in_whatever_order_they_are_committed(
    order: list[int], split: int
) -> None:
    """Those that were visible before are not told; those that became visible later all are."""

    async def use(feed: Feed, events: ScriptedEvents) -> None:
        async with feed.job("job") as watcher:
            for number in order[split:]:
                events.shown.add(number)
                await asyncio.sleep(0.002)
            assert sorted(await taken(watcher, 11 - split)) == sorted(order[split:])
            assert await watcher.take(seconds=0.005) == ()

    run(use, shown=set(order[:split]))


def test_nobody_is_asked_while_nobody_waits() -> None:
    async def use(feed: Feed, events: ScriptedEvents) -> None:
        await asyncio.sleep(0.02)
        assert events.looks == 0
        async with feed.job("job"), feed.project("default"):
            assert feed.watchers == 2
            while events.looks < 3:
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.02)
        before = events.looks
        await asyncio.sleep(0.02)
        assert events.looks == before

    run(use, shown=set())


def test_a_database_that_was_away_is_read_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE_AFTER_FAILURE_SECONDS", 0.001)

    async def use(feed: Feed, events: ScriptedEvents) -> None:
        async with feed.project("default") as watcher, feed.project("other") as other:
            events.away = True
            events.shown.add(1)
            assert await watcher.take(seconds=0.02) == ()
            events.away = False
            assert await taken(watcher, 1) == [1]
            assert await other.take(seconds=0.01) == ()

    run(use, shown=set())


def test_a_watcher_that_is_slow_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONGEST_QUEUE", 3)

    async def use(feed: Feed, events: ScriptedEvents) -> None:
        watcher = Watcher()
        for number in range(1, 5):
            watcher.push(event(number))
        assert watcher.overrun
        assert [one.id for one in await watcher.take(seconds=1)] == [4]

    run(use, shown=set())


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(service_settings(tmp_path_factory.mktemp("feed")))


def test_a_stream_whose_client_is_slow_goes_on_from_the_database(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LONGEST_QUEUE", 2)
    row = world.certify(range(20))
    assert world.jobs.claim(row.id, "w")

    async def main() -> bytes:
        events = Events(world.database)
        feed = Feed(events, seconds=0.001)
        reader = asyncio.create_task(feed.run())
        life = Life(Clock(heartbeat_seconds=5, longest_seconds=60, look_seconds=5), _always)
        stream = follow_job(feed, events, Jobs(world.database), row.id, after=0, life=life)
        read = b""
        async for frame in stream:
            read += frame
            if b"running" in frame and b"items" not in frame:
                await asyncio.to_thread(finish, world, row.id)
                await asyncio.sleep(0.05)
        reader.cancel()
        return read

    text = asyncio.run(main()).decode()
    found = [text.find(f'"items":[{{"index":{index},') for index in range(20)]
    assert found == sorted(found)
    assert -1 not in found
    world.close()


def finish(world: World, job_id: str) -> None:
    for index in range(20):
        world.certifications.add_item(job_id, "w", item(index))
    world.certifications.succeed(job_id, "w", {})


async def _always() -> bool:
    return True
