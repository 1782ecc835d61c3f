"""The resource `jobs`: the same view of every kind of work."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api import views
from api.answering import DirectRoute
from api.caching import state_tag
from api.pagination import CursorParameter, LimitParameter, newest
from api.parameters import JobId, WaitSeconds
from api.principal import PrincipalDependency, Scope, needs
from api.problems import problems
from api.schemas.jobs import JobPage, JobPublic, State
from api.services import ServicesDependency
from api.shared import Shown, show_once
from api.waiting import wait_for_change
from store.job_tables import JobRow
from store.trainings import KIND as TRAINING

__all__ = ["router"]

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=DirectRoute)


@router.get(
    "",
    summary="List jobs",
    responses=problems(422),
    dependencies=[needs(Scope.READ)],
)
def list_jobs(
    services: ServicesDependency,
    state: Annotated[State | None, Query(description="Only jobs in this state.")] = None,
    limit: LimitParameter = 100,
    cursor: CursorParameter = None,
) -> JobPage:
    """Return jobs, newest first."""
    page, following = newest(partial(services.jobs.page, state=state), limit, cursor)
    return JobPage(items=[views.job(row) for row in page], next_cursor=following)


@router.get(
    "/{job_id}",
    summary="Get a job",
    response_model=JobPublic,
    responses=problems(404, 422),
    dependencies=[needs(Scope.READ)],
)
async def get_job(
    job_id: JobId,
    request: Request,
    services: ServicesDependency,
    wait: WaitSeconds = 0,
) -> Response:
    """Return one job; with `wait`, once its state has changed or the time is up."""
    await wait_for_change(request, services, job_id, seconds=wait)
    return await show_once(request, services, services.jobs.get, job_id, _shown)


@router.post(
    "/{job_id}/cancel",
    status_code=202,
    summary="Cancel a job",
    responses=problems(404, 409),
    dependencies=[needs(Scope.SUBMIT)],
)
def cancel_job(
    job_id: JobId, services: ServicesDependency, principal: PrincipalDependency
) -> JobPublic:
    """Cancel a queued job at once, or ask a running one to stop within a second or two.

    What it has found out by then is kept. Cancelling twice does no harm; a job that has succeeded
    or failed cannot be cancelled. Trainings take the scope `train`.
    """
    if services.jobs.get(job_id).kind == TRAINING:
        principal.require(Scope.TRAIN)
    return views.job(services.jobs.request_cancel(job_id))


def _shown(row: JobRow) -> Shown:
    return Shown(views.job(row), state_tag(row))
