"""The page at `/`: where to go, and the latest jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from api.pages import page
from api.principal import PrincipalDependency, Scope, needs
from api.routes.login import logout_form
from api.services import ServicesDependency
from store.tables import CertificationRow, ComparisonRow, JobRow, TrainingRow

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

_SHOWN = 20
_BODY = """<header><h1>Tightrope</h1>{login}</header>
<p>Can this network be made to change its mind? The <a href="docs">interface</a> is at
<code>/v1</code>; its description is <a href="openapi.json">openapi.json</a>.</p>
{tables}"""


@router.get("/", response_class=HTMLResponse, dependencies=[needs(Scope.READ)])
def home(services: ServicesDependency, principal: PrincipalDependency) -> HTMLResponse:
    """Return the page."""
    cookie = principal.cookie
    login = "" if cookie is None else logout_form(cookie, principal.name)
    tables = (
        (
            "certifications",
            [_certification(row) for row in services.certifications.page(limit=_SHOWN)],
        ),
        ("comparisons", [_comparison(row) for row in services.comparisons.page(limit=_SHOWN)]),
        ("trainings", [_training(row) for row in services.trainings.page(limit=_SHOWN)]),
    )
    body = _BODY.format(login=login, tables="".join(_table(*table) for table in tables))
    return HTMLResponse(page("Tightrope", body))


@dataclass(frozen=True)
class _Line:
    """A job in a table: how it is called, its radius, and whether its page is there."""

    job: JobRow
    title: str
    epsilon: float
    has_page: bool


def _certification(row: CertificationRow) -> _Line:
    finished = row.job.finished_at is not None
    return _Line(row.job, row.network.name, row.settings["epsilon"], has_page=finished)


def _comparison(row: ComparisonRow) -> _Line:
    title = " against ".join(entry.network.name for entry in reversed(row.networks))
    return _Line(row.job, title, row.settings["epsilon"], has_page=row.result is not None)


def _training(row: TrainingRow) -> _Line:
    started = row.settings["architecture"] if row.network is None else row.network.name
    title = row.settings["name"] or f"{started} by {row.settings['method']}"
    return _Line(row.job, title, row.settings["epsilon"], has_page=True)


def _table(resource: str, lines: Sequence[_Line]) -> str:
    title = f"<h2>Latest {resource}</h2>\n"
    if not lines:
        return f"{title}<p>There are none yet.</p>\n"
    head = "<tr><th>Job</th><th>Network</th><th>Radius</th><th>State</th></tr>"
    return f"{title}<table>{head}{''.join(_row(resource, line) for line in lines)}</table>\n"


def _row(resource: str, line: _Line) -> str:
    job = line.job
    path = f"v1/{resource}/{job.id}" + ("/report.html" if line.has_page else "")
    cells = (
        f'<a href="{path}">{job.id}</a>',
        escape(line.title),
        f"{line.epsilon:g}",
        f"{job.state} ({job.done}/{job.total})",
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
