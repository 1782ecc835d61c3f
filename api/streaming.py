"""Events of jobs as streams of server-sent events.

Every client of a job gets the same bytes, so they are made once for all of them.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from anyio.to_thread import run_sync

from api.feed import Feed, Watcher
from api.problems import problem_of
from store.errors import NotFoundError
from store.events import Event, Events, Topic
from store.job_tables import JobRow
from store.jobs import Jobs

__all__ = ["MEDIA_TYPE", "Clock", "Life", "follow_job", "follow_project", "snapshot"]

MEDIA_TYPE = "text/event-stream"

_AT_ONCE = 100
# Events of different jobs need not become visible in the order of their ids.
_LATE_IDS = 200
_HELLO = b"retry: 2000\n\n"
_HEARTBEAT = b": still here\n\n"


@dataclass(frozen=True)
class Clock:
    """How long streams live.

    Attributes:
        heartbeat_seconds: A comment is sent when nothing else was for so long.
        longest_seconds: The stream ends, so that clients come back and say again who they are.
        look_seconds: How often it is found out whether its client may still see it.
    """

    heartbeat_seconds: float
    longest_seconds: float
    look_seconds: float


class Life:
    """Knows how long one stream goes on: until its time is up, or its key is worth nothing.

    Args:
        clock: For the times.
        admitted: Whether the client may still see what it sees.
    """

    def __init__(self, clock: Clock, admitted: Callable[[], Awaitable[bool]]) -> None:
        self._clock = clock
        self._admitted = admitted
        self._looked = self._told = time.monotonic()
        self._end = self._looked + clock.longest_seconds

    @property
    def pause_seconds(self) -> float:
        """Longest wait for news until there is something else to look after."""
        return min(self._clock.heartbeat_seconds, self._clock.look_seconds)

    @property
    def is_quiet(self) -> bool:
        """Whether the client was told nothing for so long that it should hear something."""
        return time.monotonic() - self._told >= self._clock.heartbeat_seconds

    def told(self) -> None:
        """Note that the client is told something now."""
        self._told = time.monotonic()

    async def goes_on(self) -> bool:
        """Return whether the stream goes on."""
        now = time.monotonic()
        if now >= self._end:
            return False
        if now - self._looked < self._clock.look_seconds:
            return True
        self._looked = now
        return await self._admitted()


async def follow_job(
    feed: Feed, events: Events, jobs: Jobs, job_id: str, *, after: int, life: Life
) -> AsyncIterator[bytes]:
    """Yield what happened to a job beyond the event `after`, and what happens, to its end.

    What the feed tells was committed after the watcher was there, and what the database tells is
    complete up to the last event of it, since those of one job are committed in order.

    Args:
        feed: Of this process.
        events: The store, as the client sees it.
        jobs: The same.
        job_id: Of the job.
        after: Id of the last event that the client has; 0 for none.
        life: How long to go on.
    """
    yield _HELLO
    last = after

    def read(beyond: int) -> Sequence[Event]:
        return events.of_job(job_id, after=beyond, limit=_AT_ONCE)

    async with feed.job(job_id) as watcher:
        async for news in _batches(watcher, read, after=after, life=life):
            for event in news:
                if event.id > last:
                    last = event.id
                    yield _frame(event)
                    if event.final:
                        return
            if not news:
                if await run_sync(_is_gone, jobs, job_id):
                    return
                yield _HEARTBEAT


async def follow_project(
    feed: Feed, events: Events, project_id: str, *, after: int | None, life: Life
) -> AsyncIterator[bytes]:
    """Yield how the jobs of a project are, whenever one of them changes.

    A client that comes back is told of every job that changed since, and possibly of some that
    it has heard of; each event tells all of a job's state.

    Args:
        feed: Of this process.
        events: The store, as the client sees it.
        project_id: Of the project.
        after: Id of the last event that the client has; None begins with what happens now.
        life: How long to go on.
    """
    yield _HELLO
    since = None if after is None else max(after - _LATE_IDS, 0)

    def read(beyond: int) -> Sequence[Event]:
        return events.since(beyond, limit=_AT_ONCE)

    async with feed.project(project_id) as watcher:
        async for news in _batches(watcher, read, after=since, life=life):
            # Only the latest of each job: every one tells all of its state.
            for event in {event.job_id: event for event in news}.values():
                yield _job_frame(event)
            if not news:
                yield _HEARTBEAT


async def _batches(
    watcher: Watcher,
    read: Callable[[int], Sequence[Event]],
    *,
    after: int | None,
    life: Life,
) -> AsyncIterator[Sequence[Event]]:
    """Yield events: from the database up to now, then as they come; none when all is quiet.

    Args:
        watcher: That is there already.
        read: Returns at most `_AT_ONCE` events beyond an id.
        after: Id of the last event that is known; None begins with what happens now.
        life: How long to go on.
    """
    last, behind = after or 0, after is not None
    while await life.goes_on():
        if behind:
            news = await run_sync(read, last)
            behind = len(news) == _AT_ONCE
            if not news:
                continue
        else:
            news = await watcher.take(seconds=life.pause_seconds)
            if watcher.overrun:
                watcher.overrun, behind = False, True
                continue
            if not news and not life.is_quiet:
                continue
        life.told()
        last = max([last, *(event.id for event in news)])
        yield news


def snapshot(row: JobRow) -> bytes:
    """Return a frame that tells the state of a job whose events are not kept any more."""
    payload = {name: getattr(row, name) for name in _STATE}
    payload["error"] = row.error
    event = Event(0, row.id, Topic.STATE, payload, row.finished_at or row.created_at)
    return _HELLO + _frame(event)


def _is_gone(jobs: Jobs, job_id: str) -> bool:
    try:
        jobs.get(job_id)
    except NotFoundError:
        return True
    return False


_STATE = ("kind", "state", "done", "total", "cancel_requested", "cached")


@lru_cache(maxsize=1024)
def _frame(event: Event) -> bytes:
    """Return an event of one job as it is sent."""
    news: dict[str, Any] = {}
    if "items" in event.payload:
        items = event.payload["items"]
        news["items"] = [{"index": index, "verdict": verdict} for index, verdict in items]
    for name in ("position", "points"):
        if name in event.payload:
            news[name] = event.payload[name]
    return _encode(event.id, event.topic, {**_job(event), **news})


@lru_cache(maxsize=1024)
def _job_frame(event: Event) -> bytes:
    """Return an event of a project as it is sent: the job as it was then."""
    return _encode(event.id, "job", _job(event))


def _job(event: Event) -> dict[str, Any]:
    payload = event.payload
    error = payload.get("error")
    path = f"/v1/jobs/{event.job_id}"
    problem = error and problem_of(error["type"], error["message"], instance=path)
    return {
        "job_id": event.job_id,
        "kind": payload["kind"],
        "state": payload["state"],
        "progress": {"done": payload["done"], "total": payload["total"]},
        "cancel_requested": payload["cancel_requested"],
        "cached": payload["cached"],
        "error": problem.model_dump(mode="json", exclude_none=True) if problem else None,
        "at": event.created_at.isoformat(),
    }


def _encode(number: int, name: str, data: dict[str, Any]) -> bytes:
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    return f"id: {number}\nevent: {name}\ndata: {text}\n\n".encode()
