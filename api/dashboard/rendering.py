"""Pages for those who are known."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from api.authentication import Principal
from api.dashboard.frame import framed
from api.routes.login import logout_form

__all__ = ["show"]


def show(request: Request, template: str, principal: Principal, **values: object) -> HTMLResponse:
    """Return a page of the dashboard.

    Args:
        request: That asks for it.
        template: Its file.
        principal: Who asks.
        values: What the template names; one that is missing is an error.
    """
    cookie = principal.cookie
    login = "" if cookie is None else logout_form(cookie, principal.name)
    # The form is HTML, and escapes the name that it tells.
    return framed(request, template, values, login=Markup(login))  # noqa: S704
