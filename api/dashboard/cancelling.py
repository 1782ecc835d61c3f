"""Jobs stopped from their pages: a page that asks again, and its form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import HTMLResponse, RedirectResponse

from api.dashboard.lines import job_view
from api.dashboard.overview import dashboard_of
from api.dashboard.visiting import VisitDependency
from api.principal import Scope, needs, needs_form
from api.routes.certifications import cancel_certification
from api.routes.comparisons import cancel_comparison
from api.routes.trainings import cancel_training
from api.schemas.jobs import JobBase
from api.services import Services, ServicesDependency
from store.errors import NotFoundError
from store.states import FINAL_STATES

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

JobId = Annotated[str, Path(max_length=100)]


@dataclass(frozen=True)
class _Kind:
    """Jobs that can be cancelled.

    Attributes:
        name: Of the kind.
        scope: That it takes.
        cancel: What the interface does.
        kept: What is left of a job that is cancelled.
    """

    name: str
    scope: Scope
    cancel: Callable[[str, Services], JobBase]
    kept: str


_ANSWERS = "Answers found by then are kept; what is missing can be asked again."
_KINDS = (
    _Kind("certification", Scope.SUBMIT, cancel_certification, _ANSWERS),
    _Kind("comparison", Scope.SUBMIT, cancel_comparison, _ANSWERS),
    _Kind(
        "training",
        Scope.TRAIN,
        cancel_training,
        "It stops after its next step; the network of the best epoch so far is kept, with its "
        "files.",
    ),
)


def _add(kind: _Kind) -> None:
    """Add the page and the form of a kind; in the audit log they read as those of the interface."""
    page = f"/{kind.name}s/{{job_id}}"

    @router.get(f"{page}/cancel", response_class=HTMLResponse, dependencies=[needs(kind.scope)])
    def ask(visit: VisitDependency, job_id: JobId) -> HTMLResponse:
        line = dashboard_of(visit.services).job(job_id)
        if line.job.kind != kind.name:
            raise NotFoundError(kind.name, job_id)
        return visit.show(
            "cancel.html",
            job=job_view(line),
            kind=kind.name,
            kept=kind.kept,
            over=line.job.state in FINAL_STATES,
        )

    @router.post(
        f"{page}/cancel", name=f"cancel_{kind.name}", dependencies=[needs_form(kind.scope)]
    )
    def cancel(job_id: JobId, services: ServicesDependency) -> RedirectResponse:
        kind.cancel(job_id, services)
        return RedirectResponse(page.format(job_id=job_id), status_code=303)


for _kind in _KINDS:
    _add(_kind)
