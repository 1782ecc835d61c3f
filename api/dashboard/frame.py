"""Templates filled in, for pages and for what is shown where there is none."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import Request
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from api.dashboard.assets import asset_url
from api.headers import DASHBOARD_POLICY
from reports import page

__all__ = ["framed"]

_PAGES = (
    ("Overview", "/"),
    ("Networks", "/networks"),
    ("Certifications", "/certifications"),
    ("Comparisons", "/comparisons"),
    ("Trainings", "/trainings"),
    ("Settings", "/settings"),
    ("Interface", "/docs"),
)
_HEADERS = {"Content-Security-Policy": DASHBOARD_POLICY, "Cache-Control": "private, no-cache"}


def framed(
    request: Request,
    template: str,
    values: Mapping[str, object],
    *,
    login: Markup,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """Return a page in the frame of the dashboard.

    Args:
        request: That asks for it.
        template: Its file.
        values: What the template names; one that is missing is an error.
        login: Who is logged in, as HTML.
        status: Of the answer.
        headers: That the answer has beside those of every page.
    """
    text = (
        page.environment("api.dashboard")
        .get_template(template)
        .render(
            values,
            login=login,
            pages=_PAGES,
            here=request.url.path,
            base=str(request.base_url).rstrip("/"),
            asset=asset_url,
        )
    )
    return HTMLResponse(text, status_code=status, headers={**(headers or {}), **_HEADERS})
