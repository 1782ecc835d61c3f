"""What operators ask: is it alive, is it ready, how much is there to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse
from kombu.exceptions import KombuError
from sqlalchemy.exc import SQLAlchemyError

from api.metrics import MEDIA_TYPE
from api.principal import Scope, needs
from api.problems import ApiError, problems
from api.schemas.base import Wire
from api.services import InstallationDependency, Services
from store.errors import StoreError

__all__ = ["router"]

router = APIRouter(tags=["operations"])


class Health(Wire):
    """A sign of life."""

    status: Literal["ok"]


class Readiness(Wire):
    """Every part that is needed answers."""

    status: Literal["ready"]
    checks: list[str]


@router.get("/healthz", summary="Is the process alive?", responses=problems())
def healthz() -> Health:
    """Answer at once, whatever the state of database and broker."""
    return Health(status="ok")


@router.get("/readyz", summary="Can the service do its work?", responses=problems())
def readyz(services: InstallationDependency) -> Readiness:
    """Ask the database, the blob folder and the broker."""
    checks = _checks(services)
    failed = []
    for name, check in checks.items():
        try:
            check()
        except (SQLAlchemyError, KombuError, OSError, StoreError) as error:
            failed.append(f"{name}: {type(error).__name__}")
    if failed:
        raise ApiError("UnavailableError", f"not ready: {', '.join(failed)}")
    return Readiness(status="ready", checks=list(checks))


def _checks(services: Services) -> dict[str, Callable[[], None]]:
    return {
        "database": services.database.ping,
        "blobs": services.blobs.check,
        "broker": services.queue.ping,
    }


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=PlainTextResponse,
    dependencies=[needs(Scope.READ, installation=True)],
    responses=problems(),
)
def metrics(services: InstallationDependency) -> PlainTextResponse:
    """Return jobs by state, and requests by route with their time."""
    text = services.metrics.render(services.jobs.count_by_state())
    return PlainTextResponse(text, media_type=MEDIA_TYPE)
