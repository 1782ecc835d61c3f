"""News of jobs as they happen, as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import Response, StreamingResponse

from api.answering import DirectRoute
from api.feed import Feed, feed_of
from api.parameters import JobId
from api.principal import PrincipalDependency, Scope, is_admitted, needs
from api.problems import ApiError, problems
from api.services import InstallationDependency, ServicesDependency
from api.streaming import MEDIA_TYPE, Clock, Life, follow_job, follow_project, snapshot
from store.events import Events
from store.states import FINAL_STATES

__all__ = ["router"]

router = APIRouter(tags=["events"], route_class=DirectRoute)

_MOST_WATCHERS = 2000
_LOOK_SECONDS = 2.0
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_TEXT = {"content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}


async def _life(
    request: Request, installed: InstallationDependency, principal: PrincipalDependency
) -> Life:
    """Return for how long a stream goes on: no longer than its key or login is good."""
    settings = installed.settings
    clock = Clock(settings.events_heartbeat_seconds, settings.events_longest_seconds, _LOOK_SECONDS)
    return Life(clock, partial(is_admitted, request, installed, principal))


LifeDependency = Annotated[Life, Depends(_life)]
LastEventId = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        pattern="^[0-9]{1,18}$",
        description="`id` of the last event received; the stream goes on after it.",
    ),
]


@router.get(
    "/v1/jobs/{job_id}/events",
    summary="Follow a job",
    dependencies=[needs(Scope.READ)],
    response_class=StreamingResponse,
    responses={
        200: {"description": "Server-sent events, up to the final state.", **_TEXT},
        204: {"description": "The client has all there is; it need not come back."},
        **problems(404, 422),
    },
)
async def stream_job(
    job_id: JobId,
    request: Request,
    services: ServicesDependency,
    life: LifeDependency,
    last_event_id: LastEventId = None,
) -> Response:
    """Stream what happens to a job: `state`, `progress`, `items` by index and verdict, `metrics`.

    The stream starts with the first event that is kept, or after `Last-Event-ID`, leaves nothing
    out, and ends after the final state, or seconds after its key was revoked. Comments keep the
    connection open.
    """
    feed = _open_feed(request)
    events = Events(services.database)
    job = await run_sync(services.jobs.get, job_id)
    last = await run_sync(events.last_of_job, job_id)
    known = None if last_event_id is None else int(last_event_id)
    if job.state in FINAL_STATES:
        if known is not None and known >= last:
            return Response(status_code=204)
        if last == 0:
            return Response(snapshot(job), media_type=MEDIA_TYPE, headers=_HEADERS)
    after = min(known or 0, last)
    return _streamed(follow_job(feed, events, services.jobs, job_id, after=after, life=life))


@router.get(
    "/v1/events",
    summary="Follow all jobs",
    dependencies=[needs(Scope.READ)],
    response_class=StreamingResponse,
    responses={
        200: {"description": "Server-sent events, each the state of one job.", **_TEXT},
        **problems(422),
    },
)
async def stream_project(
    request: Request,
    services: ServicesDependency,
    principal: PrincipalDependency,
    life: LifeDependency,
    last_event_id: LastEventId = None,
) -> Response:
    """Stream the state and progress of every job that changes, for pages that show many.

    A client that comes back with `Last-Event-ID` hears of every job that changed meanwhile, and
    perhaps of some again.
    """
    feed = _open_feed(request)
    stream = follow_project(
        feed,
        Events(services.database),
        principal.project_id,
        after=None if last_event_id is None else int(last_event_id),
        life=life,
    )
    return _streamed(stream)


def _open_feed(request: Request) -> Feed:
    """Return the feed, unless too many listen already.

    Raises:
        ApiError: They do.
    """
    feed = feed_of(request)
    if feed.watchers >= _MOST_WATCHERS:
        raise ApiError("UnavailableError", "too many streams are open; try again later")
    return feed


def _streamed(stream: AsyncIterator[bytes]) -> StreamingResponse:
    return StreamingResponse(stream, media_type=MEDIA_TYPE, headers=_HEADERS)
