"""Pages for those who are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from api.authentication import Principal, csrf_token
from api.dashboard.frame import framed
from api.pagination import Newest, newest
from api.routes.login import logout_form

__all__ = ["listed", "show"]

Entry = TypeVar("Entry")
_SHOWN = 50


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


def listed(
    entries: Newest[Entry],
    cursor: str | None,
    *,
    position: Callable[[Entry], str] = attrgetter("id"),
) -> tuple[Sequence[Entry], dict[str, Any]]:
    """Return the lines of a list, and what its template says of the pages around them.

    Args:
        entries: Reads them.
        cursor: Where the page before ended; None at the start.
        position: The id of an entry.

    Raises:
        ApiError: It is no cursor.
    """
    lines, following = newest(entries, _SHOWN, cursor, position=position)
    return lines, {"following": following, "first": cursor is None}
