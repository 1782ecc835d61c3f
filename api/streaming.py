"""Events of jobs as streams of server-sent events.

Every client of a job gets the same bytes, so they are made once for all of them.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from anyio.to_thread import run_sync

from api.feed import Feed, Watcher
from api.problems import problem_of
from store.errors import NotFoundError
from store.events import Event, Events, Topic
from store.jobs import Jobs
from store.tables import JobRow

__all__ = ["MEDIA_TYPE", "Clock", "follow_job", "follow_project", "snapshot"]

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
    """

    heartbeat_seconds: float
    longest_seconds: float


async def follow_job(
    feed: Feed, events: Events, jobs: Jobs, job_id: str, *, after: int, clock: Clock
) -> AsyncIterator[bytes]:
    """Yield what happened to a job beyond the event `after`, and what happens, to its end.

    Args:
        feed: Of this process.
        events: The store, as the client sees it.
        jobs: The same.
        job_id: Of the job.
        after: Id of the last event that the client has; 0 for none.
        clock: How long to go on.
    """
    yield _HELLO
    async with feed.job(job_id) as watcher:
        async for event in _events_of_job(watcher, events, job_id, after=after, clock=clock):
            if event is not None:
                yield _frame(event)
                if event.final:
                    return
            elif await run_sync(_is_gone, jobs, job_id):
                return
            else:
                yield _HEARTBEAT


async def _events_of_job(
    watcher: Watcher, events: Events, job_id: str, *, after: int, clock: Clock
) -> AsyncIterator[Event | None]:
    """Yield events in their order, each once: from the database, then as they come; None if none.

    What the feed tells was committed after the watcher was there, and what the database tells is
    complete up to the last event of it, since those of one job are committed in order.
    """
    last, behind = after, True
    news: Sequence[Event]
    end = time.monotonic() + clock.longest_seconds
    while time.monotonic() < end:
        if behind:
            news = await run_sync(partial(events.of_job, job_id, after=last, limit=_AT_ONCE))
            behind = len(news) == _AT_ONCE
        else:
            news = await watcher.take(seconds=clock.heartbeat_seconds)
            if watcher.overrun:
                watcher.overrun, behind = False, True
                continue
            if not news:
                yield None
        for event in news:
            if event.id > last:
                last = event.id
                yield event


async def follow_project(
    feed: Feed, events: Events, project_id: str, *, after: int | None, clock: Clock
) -> AsyncIterator[bytes]:
    """Yield how the jobs of a project are, whenever one of them changes.

    A client that comes back is told of every job that changed since, and possibly of some that
    it has heard of; each event tells all of a job's state.

    Args:
        feed: Of this process.
        events: The store, as the client sees it.
        project_id: Of the project.
        after: Id of the last event that the client has; None begins with what happens now.
        clock: How long to go on.
    """
    yield _HELLO
    end = time.monotonic() + clock.longest_seconds
    news: Sequence[Event]
    async with feed.project(project_id) as watcher:
        last, behind = max((after or 0) - _LATE_IDS, 0), after is not None
        while time.monotonic() < end:
            if behind:
                news = await run_sync(partial(events.since, last, limit=_AT_ONCE))
                behind = len(news) == _AT_ONCE
            else:
                news = await watcher.take(seconds=clock.heartbeat_seconds)
                if not news:
                    yield _HEARTBEAT
                behind, watcher.overrun = watcher.overrun, False
            last = max([last, *(event.id for event in news)])
            # Only the latest of each job: every one tells all of its state.
            for event in {event.job_id: event for event in news}.values():
                yield _job_frame(event)


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
