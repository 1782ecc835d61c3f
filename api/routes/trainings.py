"""The resource `trainings`."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from api import views
from api.answering import DirectRoute
from api.caching import FinalResult, state_tag
from api.pagination import CursorParameter, LimitParameter, newest
from api.parameters import IdempotencyKey, TrainingId, WaitSeconds
from api.principal import Scope, needs
from api.problems import problems
from api.receiving import require_json
from api.replaying import replay_of
from api.schemas.jobs import State
from api.schemas.trainings import (
    ArmName,
    Metric,
    MetricPage,
    TrainingCreate,
    TrainingPage,
    TrainingPublic,
)
from api.services import ServicesDependency
from api.shared import Shown, read_once, show_once
from api.training import new_training
from api.waiting import wait_for_change
from store.states import FINAL_STATES
from store.tables import TrainingRow

__all__ = ["router"]

router = APIRouter(prefix="/v1/trainings", tags=["trainings"], route_class=DirectRoute)

_ROUTE = "POST /v1/trainings"


@router.post(
    "",
    status_code=202,
    summary="Train a network",
    dependencies=[needs(Scope.TRAIN), Depends(require_json)],
    responses=problems(400, 409, 413, 415, 422, 507),
)
def create_training(
    create: TrainingCreate,
    response: Response,
    services: ServicesDependency,
    idempotency_key: IdempotencyKey = None,
) -> TrainingPublic:
    """Queue a training; poll `Location`, with `?wait=30` if you like, and `…/metrics` meanwhile.

    The trained network is stored among the networks and can be certified at once. With `baseline`
    a twin without regularizers is trained from the same seed, and both are compared.
    """
    new = new_training(create, services)
    replay = replay_of(idempotency_key, _ROUTE, create)
    row, made = services.trainings.create(new, replay=replay)
    if made:
        services.announce(row.id, row.job.queue)
    else:
        response.headers["Idempotency-Replayed"] = "true"
    response.headers["Location"] = f"/v1/trainings/{row.id}"
    return views.training(row)


@router.get(
    "",
    summary="List trainings",
    responses=problems(422),
    dependencies=[needs(Scope.READ)],
)
def list_trainings(
    services: ServicesDependency,
    state: Annotated[State | None, Query(description="Only those in this state.")] = None,
    network: Annotated[str | None, Query(max_length=40, description="Only of this id.")] = None,
    limit: LimitParameter = 100,
    cursor: CursorParameter = None,
) -> TrainingPage:
    """Return trainings, newest first; `network` filters by what was fine-tuned."""
    found = partial(services.trainings.page, state=state, network_id=network)
    page, following = newest(found, limit, cursor)
    return TrainingPage(items=[views.training(row) for row in page], next_cursor=following)


@router.get(
    "/{training_id}",
    summary="Get a training",
    response_model=TrainingPublic,
    responses=problems(404, 422),
    dependencies=[needs(Scope.READ)],
)
async def get_training(
    training_id: TrainingId,
    request: Request,
    services: ServicesDependency,
    wait: WaitSeconds = 0,
) -> Response:
    """Return one training; with `wait`, once its state has changed or the time is up."""
    get = services.trainings.get
    if wait > 0:
        # A job of another kind is not found here.
        await read_once(request, services, get, training_id)
        await wait_for_change(request, services, training_id, seconds=wait)
    return await show_once(request, services, get, training_id, _shown)


@router.post(
    "/{training_id}/cancel",
    status_code=202,
    summary="Cancel a training",
    responses=problems(404, 409),
    dependencies=[needs(Scope.TRAIN)],
)
def cancel_training(training_id: TrainingId, services: ServicesDependency) -> TrainingPublic:
    """Cancel it at once while it is queued; a running one stops after its next step.

    The network of the best epoch so far is kept, with its files. Cancelling twice does no harm;
    what has succeeded or failed cannot be cancelled.
    """
    services.trainings.get(training_id)
    services.jobs.request_cancel(training_id)
    return views.training(services.trainings.get(training_id))


@router.get(
    "/{training_id}/metrics",
    summary="Follow a training",
    responses=problems(404, 422),
    dependencies=[needs(Scope.READ), FinalResult],
)
def list_metrics(
    training_id: TrainingId,
    services: ServicesDependency,
    after: Annotated[
        int, Query(ge=-1, le=2**31 - 1, description="Only what has a larger index.")
    ] = -1,
    arm: Annotated[ArmName | None, Query(description="Only of this network.")] = None,
    limit: LimitParameter = 100,
) -> MetricPage:
    """Return steps and epochs as they come: loss parts, accuracies, bounds, gap, ε and κ.

    Every epoch is there, and as many of the steps as fit between two writes; ask again with
    `after` set to `next_after` for what has come since.
    """
    # Asked first: what is written between the two questions is not lost by a state that is late.
    final = services.trainings.get(training_id).job.state in FINAL_STATES
    found = services.trainings.metrics(training_id, after=after, limit=limit + 1, arm=arm)
    items = [Metric(**entry) for entry in found[:limit]]
    return MetricPage(
        items=items,
        next_after=items[-1].index if items else after,
        final=final and len(found) <= limit,
    )


@router.delete(
    "/{training_id}",
    status_code=204,
    summary="Delete a training",
    responses=problems(404, 409),
    dependencies=[needs(Scope.TRAIN)],
)
def delete_training(training_id: TrainingId, services: ServicesDependency) -> None:
    """Delete it with its metrics and files; the networks that it made stay.

    A queued or running one has to be cancelled first.
    """
    services.trainings.delete(training_id)


def _shown(row: TrainingRow) -> Shown:
    return Shown(views.training(row), state_tag(row.job, *row.arms, row.comparison_id))
