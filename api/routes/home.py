"""The page at `/`: where to go, and the latest certifications."""

from __future__ import annotations

from html import escape

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from api.services import ServicesDependency
from store.tables import CertificationRow

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

_SHOWN = 20
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tightrope</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem;
  padding: 0 1rem; color: #1b1f24; background: #fff; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; padding: .4rem .6rem; border-bottom: 1px solid #d5dae0; }}
a {{ color: #0b5cad; }}
</style>
</head>
<body>
<h1>Tightrope</h1>
<p>Can this network be made to change its mind? The <a href="docs">interface</a> is at
<code>/v1</code>; its description is <a href="openapi.json">openapi.json</a>.</p>
<h2>Latest certifications</h2>
{table}
</body>
</html>
"""


@router.get("/", response_class=HTMLResponse)
def home(services: ServicesDependency) -> HTMLResponse:
    """Return the page."""
    rows = services.certifications.page(limit=_SHOWN)
    if not rows:
        return HTMLResponse(_PAGE.format(table="<p>There are none yet.</p>"))
    head = "<tr><th>Certification</th><th>Network</th><th>Radius</th><th>State</th></tr>"
    body = "".join(_row(row) for row in rows)
    return HTMLResponse(_PAGE.format(table=f"<table>{head}{body}</table>"))


def _row(row: CertificationRow) -> str:
    finished = row.job.finished_at is not None
    path = f"v1/certifications/{row.id}" + ("/report.html" if finished else "")
    cells = (
        f'<a href="{path}">{row.id}</a>',
        escape(row.network.name),
        f"{row.settings['epsilon']:g}",
        f"{row.job.state} ({row.job.done}/{row.job.total})",
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
