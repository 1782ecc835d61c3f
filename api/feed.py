"""News of jobs inside one process: one reader for everybody who waits for some.

However many requests are held and streams are open, the database is asked once every
`events_poll_seconds`, for events beyond the last one known; while nobody waits it is not asked.
Any process may have written them: the feed needs no connection to workers or other APIs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

import anyio
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import Request
from sqlalchemy.exc import SQLAlchemyError

from store.events import Event, Events

__all__ = ["Feed", "Watcher", "feed_of"]

logger = logging.getLogger(__name__)

_START_SECONDS = 5.0
_PAUSE_AFTER_FAILURE_SECONDS = 1.0
# An event may appear after one with a larger id, while its transaction takes that much longer.
_LATE_SECONDS = 10.0
_LATE_IDS = 200
_LONGEST_QUEUE = 1000


class Watcher:
    """What one request waits for. Belongs to the event loop.

    Attributes:
        overrun: Events were left out, because nobody took them in time.
    """

    def __init__(self) -> None:
        self.overrun = False
        self._waiting: deque[Event] = deque()
        self._arrived = asyncio.Event()

    def push(self, event: Event) -> None:
        """Take an event."""
        if len(self._waiting) >= _LONGEST_QUEUE:
            self._waiting.clear()
            self.overrun = True
        self._waiting.append(event)
        self._arrived.set()

    async def take(self, *, seconds: float) -> Sequence[Event]:
        """Return what has arrived, in its order, as soon as there is something; else nothing."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._arrived.wait(), seconds)
        self._arrived.clear()
        taken = tuple(self._waiting)
        self._waiting.clear()
        return taken


class Feed:
    """Reads events and hands them to watchers.

    Args:
        events: Of all projects.
        seconds: Between two looks.
    """

    def __init__(self, events: Events, *, seconds: float) -> None:
        self._events = events
        self._seconds = seconds
        self._limiter: CapacityLimiter | None = None
        self._by_job: dict[str, set[Watcher]] = {}
        self._by_project: dict[str, set[Watcher]] = {}
        self._wanted = asyncio.Event()
        self._placed = asyncio.Event()
        self._last = 0
        self._missing: dict[int, float] = {}

    @property
    def watchers(self) -> int:
        """How many wait."""
        groups = (*self._by_job.values(), *self._by_project.values())
        return sum(len(watchers) for watchers in groups)

    @asynccontextmanager
    async def job(self, job_id: str) -> AsyncIterator[Watcher]:
        """Watch one job: every event committed after the block began arrives."""
        async with self._watching(self._by_job, job_id) as watcher:
            yield watcher

    @asynccontextmanager
    async def project(self, project_id: str) -> AsyncIterator[Watcher]:
        """Watch every job of a project."""
        async with self._watching(self._by_project, project_id) as watcher:
            yield watcher

    @asynccontextmanager
    async def _watching(self, group: dict[str, set[Watcher]], key: str) -> AsyncIterator[Watcher]:
        watcher = Watcher()
        group.setdefault(key, set()).add(watcher)
        self._wanted.set()
        try:
            # A database that is away fails the watcher's own questions soon enough.
            with anyio.move_on_after(_START_SECONDS):
                await self._placed.wait()
            yield watcher
        finally:
            group[key].discard(watcher)
            if not group[key]:
                del group[key]

    async def run(self) -> None:
        """Read for as long as the process lives."""
        self._limiter = CapacityLimiter(1)
        while True:
            await self._wanted.wait()
            try:
                await self._look()
            except SQLAlchemyError as error:
                logger.warning("the database does not tell of new events: %s", error)
                await anyio.sleep(_PAUSE_AFTER_FAILURE_SECONDS)
            await anyio.sleep(self._seconds)
            if not self.watchers:
                self._wanted.clear()
                self._placed.clear()

    async def _look(self) -> None:
        if not self._placed.is_set():
            find = partial(self._events.latest, known=_LATE_IDS)
            self._last, known = await run_sync(find, limiter=self._limiter)
            self._missing.clear()
            self._expect(set(range(max(self._last - _LATE_IDS, 0) + 1, self._last)) - set(known))
            self._placed.set()
        read = partial(self._events.since, self._last, missing=tuple(self._missing))
        self._publish(await run_sync(read, limiter=self._limiter))

    def _publish(self, found: Sequence[Event]) -> None:
        for event in found:
            self._missing.pop(event.id, None)
            if event.id > self._last:
                self._expect(range(max(self._last, event.id - _LATE_IDS) + 1, event.id))
                self._last = event.id
            for watcher in self._by_job.get(event.job_id, ()):
                watcher.push(event)
            for watcher in self._by_project.get(event.payload["project"], ()):
                watcher.push(event)
        now = time.monotonic()
        self._missing = {late: until for late, until in self._missing.items() if until > now}

    def _expect(self, late: Iterable[int]) -> None:
        """Look out for ids that were skipped: their transactions may end after later ones."""
        until = time.monotonic() + _LATE_SECONDS
        self._missing.update((number, until) for number in late)


def feed_of(request: Request) -> Feed:
    """Return the feed of the process that answers a request."""
    feed = request.app.state.feed
    if not isinstance(feed, Feed):
        raise TypeError("the application was not made by create_app")
    return feed
