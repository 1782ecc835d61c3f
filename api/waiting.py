"""Requests that are held until a job's state changes."""

from __future__ import annotations

import time

import anyio
from anyio.to_thread import run_sync
from fastapi import Request

from store.jobs import FINAL_STATES, Jobs

__all__ = ["wait_for_change"]

_POLL_SECONDS = 0.1


async def wait_for_change(request: Request, jobs: Jobs, job_id: str, *, seconds: float) -> None:
    """Return once the job's state has changed, it is final, the time is up or the client left.

    Raises:
        NotFoundError: There is no such job.
    """
    deadline = time.monotonic() + seconds
    before = (await run_sync(jobs.get, job_id)).state
    state = before
    while state == before and state not in FINAL_STATES:
        remaining = deadline - time.monotonic()
        if remaining <= 0 or await request.is_disconnected():
            return
        await anyio.sleep(min(_POLL_SECONDS, remaining))
        state = (await run_sync(jobs.get, job_id)).state
