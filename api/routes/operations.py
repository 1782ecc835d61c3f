"""What operators ask: is it alive, is it ready, how much is there to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse
from kombu.exceptions import KombuError
from pydantic import Field
from sqlalchemy.exc import SQLAlchemyError

from api.answering import DirectRoute
from api.feed import feed_of
from api.metrics import MEDIA_TYPE, render
from api.principal import Scope, needs
from api.problems import ApiError, problems
from api.schemas.base import Wire
from api.services import InstallationDependency, Services
from store.census import Census
from store.counters import Counters
from store.errors import StoreError
from store.figures import series
from store.migrate import check_migrated
from store.workers import Workers

__all__ = ["router"]

router = APIRouter(tags=["operations"], route_class=DirectRoute)

# Workers report every few seconds; one that is busy starting or stopping may be late.
_ALIVE_SECONDS = 60.0
_QUEUES = ("bounds", "exact")


class Health(Wire):
    """A sign of life."""

    status: Literal["ok"]


class Readiness(Wire):
    """Every part that is needed answers."""

    status: Literal["ready"]
    checks: list[str]
    warnings: list[str] = Field(
        description="What keeps jobs from being worked on, but not from being accepted."
    )


@router.get("/healthz", summary="Is the process alive?", responses=problems())
def healthz() -> Health:
    """Answer at once, whatever the state of database and broker."""
    return Health(status="ok")


@router.get("/readyz", summary="Can the service do its work?", responses=problems())
def readyz(services: InstallationDependency) -> Readiness:
    """Ask the database and whether it is migrated, the blob folder and the broker.

    What is missing is named. That no worker is alive for a queue is a warning: jobs are accepted
    and wait.
    """
    checks = _checks(services)
    failed = []
    for name, check in checks.items():
        try:
            check()
        except StoreError as error:
            failed.append(f"{name}: {error}")
        except (SQLAlchemyError, KombuError, OSError) as error:
            failed.append(f"{name}: {type(error).__name__}")
    if failed:
        raise ApiError("UnavailableError", f"not ready: {', '.join(failed)}")
    return Readiness(status="ready", checks=list(checks), warnings=_warnings(services))


def _checks(services: Services) -> dict[str, Callable[[], None]]:
    return {
        "database": services.database.ping,
        "migrations": lambda: check_migrated(services.database),
        "blobs": services.blobs.check,
        "broker": services.queue.ping,
    }


def _warnings(services: Services) -> list[str]:
    alive = Workers(services.database).alive(seconds=_ALIVE_SECONDS)
    return [
        f"no worker takes the queue {queue}: its jobs wait"
        for queue in _QUEUES
        if not alive.get(queue)
    ]


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=PlainTextResponse,
    dependencies=[needs(Scope.READ, installation=True)],
    responses=problems(),
)
def metrics(request: Request, services: InstallationDependency) -> PlainTextResponse:
    """Return figures of the whole installation, and of the requests that this process answered.

    Everything but requests and watchers comes from the database and is the same in every process.
    """
    return PlainTextResponse(render(_figures(request, services)), media_type=MEDIA_TYPE)


def _figures(request: Request, services: Services) -> Iterator[tuple[str, float]]:
    yield series("tightrope_build_info", version=services.version), 1.0
    yield "tightrope_event_watchers", feed_of(request).watchers
    yield from Census(services.database, alive_seconds=_ALIVE_SECONDS).gauges()
    counters = Counters(services.database)
    counters.count_jobs()
    yield from counters.read().items()
    yield from services.metrics.values().items()
