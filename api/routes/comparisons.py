"""The resource `comparisons`."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from api import views
from api.answering import DirectRoute
from api.caching import FinalResult, state_tag
from api.comparing import new_comparison
from api.pagination import CursorParameter, LimitParameter, after_index, newest, split
from api.parameters import ComparisonId, IdempotencyKey, WaitSeconds
from api.principal import Scope, needs
from api.problems import problems
from api.receiving import require_json
from api.replaying import replay_of
from api.schemas.certifications import Item, ItemPage, VerdictName
from api.schemas.comparisons import ComparisonCreate, ComparisonPage, ComparisonPublic
from api.schemas.jobs import State
from api.services import Services, ServicesDependency
from api.shared import Shown, read_once, show_once
from api.waiting import wait_for_change
from store.errors import NotFoundError
from store.tables import ComparisonRow

__all__ = ["router"]

router = APIRouter(prefix="/v1/comparisons", tags=["comparisons"], route_class=DirectRoute)

_ROUTE = "POST /v1/comparisons"


@router.post(
    "",
    status_code=202,
    summary="Compare networks with a baseline",
    dependencies=[needs(Scope.SUBMIT), Depends(require_json)],
    responses=problems(400, 409, 413, 415, 422, 507),
)
def create_comparison(
    create: ComparisonCreate,
    response: Response,
    services: ServicesDependency,
    idempotency_key: IdempotencyKey = None,
) -> ComparisonPublic:
    """Queue a comparison; poll `Location`, with `?wait=30` if you like.

    Every network is certified on the same inputs, with the same settings. Answers of
    certifications that asked the same of one of them are taken over, and so is an equal, earlier
    comparison as a whole: it has `succeeded` already then and says `cached`.
    """
    new = new_comparison(create, services)
    row, made = services.comparisons.create(new, replay=replay_of(idempotency_key, _ROUTE, create))
    if made and not row.job.cached:
        services.announce(row.id, row.job.queue)
    if not made:
        response.headers["Idempotency-Replayed"] = "true"
    response.headers["Location"] = f"/v1/comparisons/{row.id}"
    return views.comparison(row)


@router.get(
    "",
    summary="List comparisons",
    responses=problems(422),
    dependencies=[needs(Scope.READ)],
)
def list_comparisons(
    services: ServicesDependency,
    state: Annotated[State | None, Query(description="Only those in this state.")] = None,
    network: Annotated[str | None, Query(max_length=40, description="Only with this id.")] = None,
    limit: LimitParameter = 100,
    cursor: CursorParameter = None,
) -> ComparisonPage:
    """Return comparisons, newest first; `network` finds it as baseline and as candidate."""
    found = partial(services.comparisons.page, state=state, network_id=network)
    page, following = newest(found, limit, cursor)
    return ComparisonPage(items=[views.comparison(row) for row in page], next_cursor=following)


@router.get(
    "/{comparison_id}",
    summary="Get a comparison",
    response_model=ComparisonPublic,
    responses=problems(404, 422),
    dependencies=[needs(Scope.READ)],
)
async def get_comparison(
    comparison_id: ComparisonId,
    request: Request,
    services: ServicesDependency,
    wait: WaitSeconds = 0,
) -> Response:
    """Return one comparison; with `wait`, once its state has changed or the time is up."""
    get = services.comparisons.get
    if wait > 0:
        # A job of another kind is not found here.
        await read_once(request, services, get, comparison_id)
        await wait_for_change(request, services, comparison_id, seconds=wait)
    return await show_once(request, services, get, comparison_id, _shown)


@router.post(
    "/{comparison_id}/cancel",
    status_code=202,
    summary="Cancel a comparison",
    responses=problems(404, 409),
    dependencies=[needs(Scope.SUBMIT)],
)
def cancel_comparison(
    comparison_id: ComparisonId, services: ServicesDependency
) -> ComparisonPublic:
    """Cancel it at once while it is queued; a running one stops within a second or two.

    Answers found by then are kept. Cancelling twice does no harm; what has succeeded or failed
    cannot be cancelled.
    """
    services.comparisons.get(comparison_id)
    services.jobs.request_cancel(comparison_id)
    return views.comparison(services.comparisons.get(comparison_id))


@router.get(
    "/{comparison_id}/items",
    summary="List answers for a network",
    responses=problems(404, 422),
    dependencies=[needs(Scope.READ), FinalResult],
)
def list_compared_items(
    comparison_id: ComparisonId,
    services: ServicesDependency,
    network: Annotated[
        str | None, Query(max_length=40, description="Of which network; null: of the baseline.")
    ] = None,
    verdict: Annotated[VerdictName | None, Query(description="Only these.")] = None,
    limit: LimitParameter = 100,
    cursor: CursorParameter = None,
) -> ItemPage:
    """Return the answers for one of the networks so far, in the order of the data set."""
    items = services.comparisons.items(
        comparison_id,
        _position(services, comparison_id, network),
        limit=limit + 1,
        after=after_index(cursor),
        verdict=verdict,
    )
    page, following = split(items, limit, lambda item: str(item["index"]))
    return ItemPage(items=[Item(**item) for item in page], next_cursor=following)


def _position(services: Services, comparison_id: str, network: str | None) -> int:
    """Return where a network stands in a comparison; a candidate before an equal baseline."""
    entries = services.comparisons.get(comparison_id).networks
    if network is None:
        return 0
    found = [entry.position for entry in entries if entry.network_id == network]
    if not found:
        raise NotFoundError("network in this comparison", network)
    return found[-1]


@router.delete(
    "/{comparison_id}",
    status_code=204,
    summary="Delete a comparison",
    responses=problems(404, 409),
    dependencies=[needs(Scope.SUBMIT)],
)
def delete_comparison(comparison_id: ComparisonId, services: ServicesDependency) -> None:
    """Delete it with its answers; a queued or running one has to be cancelled first."""
    services.comparisons.delete(comparison_id)


def _shown(row: ComparisonRow) -> Shown:
    return Shown(views.comparison(row), state_tag(row.job))
