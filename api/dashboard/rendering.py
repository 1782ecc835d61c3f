"""Pages for those who are known."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from api.authentication import Principal, csrf_token
from api.dashboard.frame import framed
from api.routes.login import logout_form

__all__ = ["show"]


def show(
    request: Request,
    template: str,
    principal: Principal,
    *,
    status: int = 200,
    **values: object,
) -> HTMLResponse:
    """Return a page of the dashboard.

    Args:
        request: That asks for it.
        template: Its file.
        principal: Who asks; the template has `csrf` for its forms, and `may`, the scopes.
        status: Of the answer.
        values: What the template names; one that is missing is an error.
    """
    cookie = principal.cookie
    login = "" if cookie is None else logout_form(cookie, principal.name)
    known = {
        "csrf": "" if cookie is None else csrf_token(cookie),
        "may": {scope.value for scope in principal.scopes},
    }
    # The form is HTML, and escapes the name that it tells.
    return framed(request, template, {**known, **values}, login=Markup(login), status=status)  # noqa: S704
