"""The resource `certifications`."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from api import views
from api.answering import DirectRoute
from api.caching import FinalResult, state_tag
from api.certifying import new_certification
from api.pagination import CursorParameter, LimitParameter, after_index, newest, split
from api.parameters import CertificationId, IdempotencyKey, WaitSeconds
from api.principal import Scope, needs
from api.problems import problems
from api.receiving import require_json
from api.replaying import replay_of
from api.schemas.certifications import (
    CertificationCreate,
    CertificationPage,
    CertificationPublic,
    Item,
    ItemPage,
    VerdictName,
)
from api.schemas.jobs import State
from api.services import ServicesDependency
from api.shared import Shown, read_once, show_once
from api.waiting import wait_for_change
from store.tables import CertificationRow

__all__ = ["router"]

router = APIRouter(prefix="/v1/certifications", tags=["certifications"], route_class=DirectRoute)

_ROUTE = "POST /v1/certifications"


@router.post(
    "",
    status_code=202,
    summary="Certify a network on a data set",
    dependencies=[needs(Scope.SUBMIT), Depends(require_json)],
    responses=problems(400, 409, 413, 415, 422, 507),
)
def create_certification(
    create: CertificationCreate,
    response: Response,
    services: ServicesDependency,
    idempotency_key: IdempotencyKey = None,
) -> CertificationPublic:
    """Queue a certification; poll `Location`, with `?wait=30` if you like.

    Inputs that were certified before, on the same network by the same settings, have their answers
    at once; where that is all of them, the certification has `succeeded` and says `cached`.
    """
    new = new_certification(create, services)
    replay = replay_of(idempotency_key, _ROUTE, create)
    row, made = services.certifications.create(new, replay=replay)
    if made and not row.job.cached:
        services.announce(row.id, row.job.queue)
    if not made:
        response.headers["Idempotency-Replayed"] = "true"
    response.headers["Location"] = f"/v1/certifications/{row.id}"
    return views.certification(row)


@router.get(
    "",
    summary="List certifications",
    responses=problems(422),
    dependencies=[needs(Scope.READ)],
)
def list_certifications(
    services: ServicesDependency,
    state: Annotated[State | None, Query(description="Only those in this state.")] = None,
    network: Annotated[str | None, Query(max_length=40, description="Only of this id.")] = None,
    limit: LimitParameter = 100,
    cursor: CursorParameter = None,
) -> CertificationPage:
    """Return certifications, newest first."""
    found = partial(services.certifications.page, state=state, network_id=network)
    page, following = newest(found, limit, cursor)
    return CertificationPage(
        items=[views.certification(row) for row in page], next_cursor=following
    )


@router.get(
    "/{certification_id}",
    summary="Get a certification",
    response_model=CertificationPublic,
    responses=problems(404, 422),
    dependencies=[needs(Scope.READ)],
)
async def get_certification(
    certification_id: CertificationId,
    request: Request,
    services: ServicesDependency,
    wait: WaitSeconds = 0,
) -> Response:
    """Return one certification; with `wait`, once its state has changed or the time is up."""
    get = services.certifications.get
    if wait > 0:
        # A job of another kind is not found here.
        await read_once(request, services, get, certification_id)
        await wait_for_change(request, services, certification_id, seconds=wait)
    return await show_once(request, services, get, certification_id, _shown)


@router.post(
    "/{certification_id}/cancel",
    status_code=202,
    summary="Cancel a certification",
    responses=problems(404, 409),
    dependencies=[needs(Scope.SUBMIT)],
)
def cancel_certification(
    certification_id: CertificationId, services: ServicesDependency
) -> CertificationPublic:
    """Cancel it at once while it is queued; a running one stops within a second or two.

    Answers found by then are kept. Cancelling twice does no harm; what has succeeded or failed
    cannot be cancelled.
    """
    services.certifications.get(certification_id)
    services.jobs.request_cancel(certification_id)
    return views.certification(services.certifications.get(certification_id))


@router.get(
    "/{certification_id}/items",
    summary="List answers",
    responses=problems(404, 422),
    dependencies=[needs(Scope.READ), FinalResult],
)
def list_items(
    certification_id: CertificationId,
    services: ServicesDependency,
    verdict: Annotated[VerdictName | None, Query(description="Only these.")] = None,
    limit: LimitParameter = 100,
    cursor: CursorParameter = None,
) -> ItemPage:
    """Return the answers so far, in the order of the data set."""
    items = services.certifications.items(
        certification_id, limit=limit + 1, after=after_index(cursor), verdict=verdict
    )
    page, following = split(items, limit, lambda item: str(item["index"]))
    return ItemPage(items=[Item(**item) for item in page], next_cursor=following)


@router.delete(
    "/{certification_id}",
    status_code=204,
    summary="Delete a certification",
    responses=problems(404, 409),
    dependencies=[needs(Scope.SUBMIT)],
)
def delete_certification(certification_id: CertificationId, services: ServicesDependency) -> None:
    """Delete it with its answers; a queued or running one has to be cancelled first."""
    services.certifications.delete(certification_id)


def _shown(row: CertificationRow) -> Shown:
    return Shown(views.certification(row), state_tag(row.job))
