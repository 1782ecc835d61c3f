"""Certifications: what was asked, how far it is, and every input's answer."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import HTMLResponse

from api import views
from api.dashboard.digests import digest_of
from api.dashboard.lines import certified_view, job_view
from api.dashboard.overview import dashboard_of
from api.dashboard.rendering import listed
from api.dashboard.selecting import Selection, select_lines
from api.dashboard.visiting import VisitDependency
from api.pagination import CursorParameter
from api.parameters import CertificationId
from api.principal import Scope, needs
from reports import charts, curves
from reports.html import VERDICTS, item_row, run_rows, summary_tiles
from reports.page import region_text
from reports.summary import EXACT
from store.states import FINAL_STATES
from store.tables import CertificationRow
from store.titles import JobLine

__all__ = ["certification_frame", "router"]

router = APIRouter(include_in_schema=False, dependencies=[needs(Scope.READ)])

# More classes than these are chosen from a list that folds out.
_MOST_LINKS = 12

Word = Annotated[str | None, Query(max_length=20, pattern="^[a-z_]*$")]
Number = Annotated[str | None, Query(max_length=20, pattern="^[0-9]*$")]
PageNumber = Annotated[int, Query(ge=1, le=100_000)]


async def _chosen(
    verdict: Word = None,
    evidence: Word = None,
    label: Number = None,
    sort: Word = None,
    page: PageNumber = 1,
) -> Selection:
    return Selection(verdict or "", evidence or "", label or "", sort or "index", page)


ChosenItems = Annotated[Selection, Depends(_chosen)]


@router.get("/certifications", response_class=HTMLResponse)
def list_certifications(visit: VisitDependency, cursor: CursorParameter = None) -> HTMLResponse:
    """Return the page of all certifications."""
    lines, around = listed(
        dashboard_of(visit.services).certifications, cursor, position=lambda line: line[0].id
    )
    return visit.show(
        "certifications.html",
        certifications=[(certified_view(row), row.network_id, name) for row, name in lines],
        **around,
    )


@router.get("/certifications/{certification_id}", response_class=HTMLResponse)
def show_certification(
    visit: VisitDependency, certification_id: CertificationId, chosen: ChosenItems
) -> HTMLResponse:
    """Return the page of one certification."""
    row = visit.services.certifications.get(certification_id)
    dashboard = dashboard_of(visit.services)
    digest = digest_of(visit.services, dashboard, row)
    methods = row.settings["methods"]
    bounds = [method for method in methods if method != EXACT]
    selected = select_lines(digest.lines, chosen, f"/certifications/{certification_id}")
    items = dashboard.items(certification_id, [line.place for line in selected.lines])
    return visit.show(
        "certification.html",
        **certification_frame(row),
        tiles=summary_tiles(digest.summary) if digest.lines else [],
        accuracy=charts.accuracy_chart(digest.summary) if digest.lines else None,
        gaps=digest.gaps,
        intervals=digest.intervals,
        times=digest.times,
        charts=charts,
        curves=curves,
        selected=selected,
        filters=(("Verdict", selected.verdicts), ("Evidence", selected.evidences)),
        most_links=_MOST_LINKS,
        rows=[item_row(item, bounds) for item in items],
        has_reasons=any(item.get("reason") for item in items),
        bounds=bounds,
        has_exact=EXACT in methods,
        verdicts=VERDICTS,
        settings=run_rows(_report(row)),
    )


def certification_frame(row: CertificationRow) -> dict[str, Any]:
    """Return what the pages of a certification and of its inputs both say."""
    return {
        "job": job_view(JobLine(row.job, row.network.name, row.settings["epsilon"])),
        "final": row.job.state in FINAL_STATES,
        "network": row.network,
        "dataset": row.dataset,
        "region": region_text(views.region_of(row).model_dump(mode="json")),
    }


def _report(row: CertificationRow) -> dict[str, Any]:
    return {
        "network": {"name": row.network.name, "sha256": row.network.sha256},
        "region": views.region_of(row).model_dump(mode="json"),
        "settings": views.settings_of(row).model_dump(mode="json"),
    }
