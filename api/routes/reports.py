"""Reports of certifications: CSV, JSON and HTML."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, PlainTextResponse

from api.answering import DirectRoute
from api.caching import FinalResult
from api.documents import as_csv, as_page, csv_answer
from api.parameters import CertificationId
from api.principal import Scope, needs
from api.problems import problems
from api.reporting import certification_data, require_finished
from api.schemas.certifications import CertificationReport
from api.services import Services, ServicesDependency
from reports.csv import items_csv
from reports.html import certification_html
from store.tables import CertificationRow

__all__ = ["router"]

router = APIRouter(
    prefix="/v1/certifications/{certification_id}",
    tags=["reports"],
    dependencies=[needs(Scope.READ), FinalResult],
    route_class=DirectRoute,
)


@as_csv(
    router,
    "/items.csv",
    summary="Get the answers as CSV",
    meaning="A header, then one line per input.",
)
def get_items_csv(
    certification_id: CertificationId, services: ServicesDependency
) -> PlainTextResponse:
    """Return the answers so far as a table for spreadsheets."""
    row = services.certifications.get(certification_id)
    items = services.certifications.items(certification_id)
    return csv_answer(items_csv(items, row.settings["methods"]), certification_id)


@router.get("/report", summary="Get the report as JSON", responses=problems(404, 409))
def get_report(
    certification_id: CertificationId, services: ServicesDependency
) -> CertificationReport:
    """Return what `tightrope certify --json` writes; the certification has to be finished."""
    row = _finished(services, certification_id)
    return CertificationReport(**certification_data(services, row))


@as_page(router, "/report.html", 404, 409, summary="Get the report as a page")
def get_report_html(
    certification_id: CertificationId, services: ServicesDependency
) -> HTMLResponse:
    """Return the report to look at and to send on; the certification has to be finished."""
    row = _finished(services, certification_id)
    page = certification_html(
        certification_data(services, row),
        inputs=services.certifications.inputs(certification_id),
        input_shape=row.network.details["input_shape"],
    )
    return HTMLResponse(page)


def _finished(services: Services, certification_id: str) -> CertificationRow:
    row = services.certifications.get(certification_id)
    require_finished("certification", row.job)
    return row
