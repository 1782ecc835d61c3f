"""Reports of comparisons: CSV, JSON and HTML."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, PlainTextResponse

from api import views
from api.answering import DirectRoute
from api.caching import FinalResult
from api.documents import as_csv, as_page, csv_answer
from api.parameters import ComparisonId
from api.principal import Scope, needs
from api.problems import problems
from api.schemas.comparisons import ComparisonReport
from api.services import Services, ServicesDependency
from reports.comparison_page import comparison_html
from reports.csv import comparison_csv
from store.errors import ConflictError

__all__ = ["router"]

router = APIRouter(
    prefix="/v1/comparisons/{comparison_id}",
    tags=["reports"],
    dependencies=[needs(Scope.READ), FinalResult],
    route_class=DirectRoute,
)


@as_csv(
    router,
    "/items.csv",
    summary="Get a comparison's answers as CSV",
    meaning="A header, then one line per input.",
)
def get_comparison_csv(
    comparison_id: ComparisonId, services: ServicesDependency
) -> PlainTextResponse:
    """Return the answers of all networks so far side by side, as a table for spreadsheets."""
    row = services.comparisons.get(comparison_id)
    sides = [services.comparisons.items(comparison_id, entry.position) for entry in row.networks]
    return csv_answer(comparison_csv(sides, row.settings["methods"]), comparison_id)


@router.get("/report", summary="Get a comparison as JSON", responses=problems(404, 409))
def get_comparison_report(
    comparison_id: ComparisonId, services: ServicesDependency
) -> ComparisonReport:
    """Return what `tightrope compare --json` writes; the comparison has to have succeeded."""
    return ComparisonReport(**_report(services, comparison_id))


@as_page(router, "/report.html", 404, 409, summary="Get a comparison as a page")
def get_comparison_html(comparison_id: ComparisonId, services: ServicesDependency) -> HTMLResponse:
    """Return the report to look at and to send on; the comparison has to have succeeded."""
    return HTMLResponse(comparison_html(_report(services, comparison_id)))


def _report(services: Services, comparison_id: str) -> dict[str, Any]:
    row = services.comparisons.get(comparison_id)
    if row.result is None:
        raise ConflictError(
            f"comparison {comparison_id} is {row.job.state}; its report is there once it has "
            "succeeded, its answers so far are at /items"
        )
    return {
        "region": views.region_of(row).model_dump(mode="json"),
        "settings": views.settings_of(row).model_dump(mode="json"),
        **row.result,
    }
