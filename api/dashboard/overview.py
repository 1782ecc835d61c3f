"""What is going on, and which networks are safe to ship."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from api.dashboard.lines import NetworkView, job_view, network_view
from api.dashboard.visiting import VisitDependency
from api.principal import Scope, needs
from api.services import Services
from reports.page import whole
from store.dashboard import Dashboard, Overview, QueueLine

__all__ = ["dashboard_of", "router"]

router = APIRouter(include_in_schema=False, dependencies=[needs(Scope.READ)])

_SHOWN = 12


def dashboard_of(services: Services) -> Dashboard:
    """Return what pages of a project read."""
    return Dashboard(services.database, alive_seconds=services.settings.lease_seconds)


@router.get("/", response_class=HTMLResponse)
def home(visit: VisitDependency) -> HTMLResponse:
    """Return the first page."""
    found = dashboard_of(visit.services).overview(limit=_SHOWN)
    networks = [network_view(line) for line in found.networks]
    return visit.show(
        "overview.html",
        tiles=_tiles(found, networks),
        queues=[_queue(line) for line in found.queues],
        live=[job_view(line) for line in found.live],
        recent=[job_view(line) for line in found.recent],
        networks=networks,
    )


@dataclass(frozen=True)
class _QueueView:
    """A queue in a table; `idle` where jobs are in it that nobody takes."""

    name: str
    workers: int
    running: int
    queued: int
    inputs: str
    idle: bool


def _queue(line: QueueLine) -> _QueueView:
    live = line.running + line.queued
    return _QueueView(
        line.name,
        line.workers,
        line.running,
        line.queued,
        whole(line.inputs),
        idle=bool(live) and not line.workers,
    )


def _tiles(found: Overview, networks: Sequence[NetworkView]) -> list[tuple[str, str, str]]:
    verdicts = {
        word: sum(network.verdicts[word] for network in networks)
        for word in ("verified", "falsified", "unknown")
    }
    running, queued, inputs = (
        sum(getattr(queue, name) for queue in found.queues)
        for name in ("running", "queued", "inputs")
    )
    left = f"; {whole(inputs)} inputs left in all" if inputs else ""
    told = "their queues are below" if found.workers else "none: nothing will be computed"
    return [
        ("Running", str(running), "jobs at this moment"),
        ("Queued", str(queued), f"jobs that wait{left}"),
        ("Workers alive", str(found.workers), told),
        ("Verified", str(verdicts["verified"]), "inputs, in the latest certifications"),
        ("Falsified", str(verdicts["falsified"]), "inputs with a counterexample"),
        ("Unknown", str(verdicts["unknown"]), "inputs still open"),
    ]
