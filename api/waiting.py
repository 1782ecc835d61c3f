"""Requests that are held until a job's state changes."""

from __future__ import annotations

import time

from fastapi import Request

from api.feed import feed_of
from api.services import Services
from api.shared import read_once
from store.states import FINAL_STATES

__all__ = ["HELD_SECONDS", "wait_for_change"]

HELD_SECONDS = "tightrope.held_seconds"
"""Key of a request's scope: for how long it was held on purpose."""

_LOOK_FOR_CLIENT_SECONDS = 1.0


async def wait_for_change(
    request: Request, services: Services, job_id: str, *, seconds: float
) -> None:
    """Return once the job's state has changed, it is final, the time is up or the client left.

    Raises:
        NotFoundError: There is no such job.
    """
    if seconds <= 0:
        return
    began = time.monotonic()
    async with feed_of(request).job(job_id) as watcher:
        before = (await read_once(request, services, services.jobs.get, job_id)).state
        if before in FINAL_STATES:
            return
        while (remaining := began + seconds - time.monotonic()) > 0:
            news = await watcher.take(seconds=min(remaining, _LOOK_FOR_CLIENT_SECONDS))
            if any(event.payload["state"] != before for event in news):
                break
            if watcher.overrun or await request.is_disconnected():
                break
    request.scope[HELD_SECONDS] = time.monotonic() - began
