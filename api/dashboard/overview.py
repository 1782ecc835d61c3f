"""What is going on, and which networks are safe to ship."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from api.dashboard.lines import NetworkView, job_view, network_view
from api.dashboard.rendering import show
from api.principal import PrincipalDependency, Scope, needs
from api.services import Services, ServicesDependency
from store.dashboard import Dashboard, Overview

__all__ = ["dashboard_of", "router"]

router = APIRouter(include_in_schema=False, dependencies=[needs(Scope.READ)])

_SHOWN = 12


def dashboard_of(services: Services) -> Dashboard:
    """Return what pages of a project read."""
    return Dashboard(services.database, alive_seconds=services.settings.lease_seconds)


@router.get("/", response_class=HTMLResponse)
def home(
    request: Request, services: ServicesDependency, principal: PrincipalDependency
) -> HTMLResponse:
    """Return the first page."""
    found = dashboard_of(services).overview(limit=_SHOWN)
    networks = [network_view(line) for line in found.networks]
    return show(
        request,
        "overview.html",
        principal,
        tiles=_tiles(found, networks),
        live=[job_view(line) for line in found.live],
        recent=[job_view(line) for line in found.recent],
        networks=networks,
    )


def _tiles(found: Overview, networks: Sequence[NetworkView]) -> list[tuple[str, str, str]]:
    states: Mapping[str, int] = found.states
    verdicts = {
        word: sum(network.verdicts[word] for network in networks)
        for word in ("verified", "falsified", "unknown")
    }
    workers = max(found.workers.values(), default=0)
    queues = ", ".join(f"{count} for {name}" for name, count in found.workers.items())
    return [
        ("Running", str(states.get("running", 0)), "jobs at this moment"),
        ("Queued", str(states.get("queued", 0)), "jobs that wait for a worker"),
        ("Workers alive", str(workers), queues or "none: nothing will be computed"),
        ("Verified", str(verdicts["verified"]), "inputs, in the latest certifications"),
        ("Falsified", str(verdicts["falsified"]), "inputs with a counterexample"),
        ("Unknown", str(verdicts["unknown"]), "inputs still open"),
    ]
