"""Webhooks: how telling them went, and what they are signed with."""

from __future__ import annotations

from typing import Any, Literal, cast

from fastapi import APIRouter, Response

from api.answering import DirectRoute
from api.parameters import JobId
from api.principal import PrincipalDependency, Scope, needs
from api.problems import problems
from api.schemas.webhooks import Delivery, DeliveryList, WebhookSecret
from api.services import ServicesDependency
from store.deliveries import Deliveries
from store.errors import NotFoundError
from store.job_tables import DeliveryRow
from worker.webhooks import project_secret

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["webhooks"], route_class=DirectRoute)

_PLAIN = set(Delivery.model_fields) - {"state"}


@router.get(
    "/jobs/{job_id}/deliveries",
    summary="Was the webhook told?",
    dependencies=[needs(Scope.READ)],
    responses=problems(404),
)
def list_deliveries(job_id: JobId, services: ServicesDependency) -> DeliveryList:
    """Return what was or will be sent to the webhook of a job; nothing before its end."""
    rows = Deliveries(services.database).of_job(job_id)
    return DeliveryList(items=[_delivery(row) for row in rows])


@router.get(
    "/webhook-secret",
    summary="What are webhooks signed with?",
    dependencies=[needs(Scope.ADMIN)],
    responses=problems(404),
)
def get_webhook_secret(
    response: Response, services: ServicesDependency, principal: PrincipalDependency
) -> WebhookSecret:
    """Return the secret of the project, with which receivers check signatures.

    It follows from the installation's, and differs from every other project's.
    """
    secret = services.settings.webhook_secret
    if secret is None:
        raise NotFoundError("secret for webhooks of project", principal.project_id)
    response.headers["Cache-Control"] = "no-store"
    return WebhookSecret(secret=project_secret(secret.get_secret_value(), principal.project_id))


def _delivery(row: DeliveryRow) -> Delivery:
    values: dict[str, Any] = {name: getattr(row, name) for name in _PLAIN}
    state = cast("Literal['pending', 'delivered', 'failed']", row.state)
    return Delivery(state=state, **values)
