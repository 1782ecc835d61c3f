"""Reports of certifications: CSV, JSON and HTML."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, PlainTextResponse

from api import views
from api.parameters import CertificationId
from api.principal import Scope, needs
from api.problems import problems
from api.schemas.certifications import CertificationReport
from api.services import Services, ServicesDependency
from reports.csv import items_csv
from reports.html import certification_html
from reports.report import certification_report
from store.errors import ConflictError
from store.jobs import FINAL_STATES
from store.tables import CertificationRow

__all__ = ["router"]

router = APIRouter(
    prefix="/v1/certifications/{certification_id}",
    tags=["reports"],
    dependencies=[needs(Scope.READ)],
)

_CSV = "text/csv"
_TEXT = {"schema": {"type": "string"}}


@router.get(
    "/items.csv",
    summary="Get the answers as CSV",
    response_class=PlainTextResponse,
    responses={
        200: {"description": "A header, then one line per input.", "content": {_CSV: _TEXT}},
        **problems(404),
    },
)
def get_items_csv(
    certification_id: CertificationId, services: ServicesDependency
) -> PlainTextResponse:
    """Return the answers so far as a table for spreadsheets."""
    row = services.certifications.get(certification_id)
    items = services.certifications.items(certification_id)
    return PlainTextResponse(
        items_csv(items, row.settings["methods"]),
        media_type=_CSV,
        headers={"Content-Disposition": f'attachment; filename="{certification_id}.csv"'},
    )


@router.get("/report", summary="Get the report as JSON", responses=problems(404, 409))
def get_report(
    certification_id: CertificationId, services: ServicesDependency
) -> CertificationReport:
    """Return what `tightrope certify --json` writes; the certification has to be finished."""
    row = _finished(services, certification_id)
    return CertificationReport(**_report(services, row))


@router.get(
    "/report.html",
    summary="Get the report as a page",
    response_class=HTMLResponse,
    responses={200: {"description": "One self-contained page."}, **problems(404, 409)},
)
def get_report_html(
    certification_id: CertificationId, services: ServicesDependency
) -> HTMLResponse:
    """Return the report to look at and to send on; the certification has to be finished."""
    row = _finished(services, certification_id)
    page = certification_html(
        _report(services, row),
        inputs=services.certifications.inputs(certification_id),
        input_shape=row.network.details["input_shape"],
    )
    return HTMLResponse(page)


def _finished(services: Services, certification_id: str) -> CertificationRow:
    row = services.certifications.get(certification_id)
    if row.job.state not in FINAL_STATES:
        raise ConflictError(
            f"certification {certification_id} is {row.job.state}; its report is there once it "
            "is finished, its answers so far are at /items"
        )
    return row


def _report(services: Services, row: CertificationRow) -> dict[str, Any]:
    details = row.network.details
    return certification_report(
        network={
            "name": row.network.name,
            "sha256": row.network.sha256,
            "input_shape": details["input_shape"],
            "notes": details["notes"],
        },
        region=views.region_of(row).model_dump(mode="json"),
        settings=views.settings_of(row).model_dump(mode="json"),
        items=services.certifications.items(row.id),
    )
