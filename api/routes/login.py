"""Pages for people: log in with a key, log out."""

from __future__ import annotations

import hmac
import secrets
from html import escape
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from markupsafe import Markup

from api.auditing import record
from api.authentication import (
    address_of,
    check_host,
    cookie_name,
    csrf_token,
    is_same_origin,
    keys_needed,
    refused_login,
)
from api.dashboard.frame import framed
from api.problems import ApiError
from api.services import InstallationDependency, Services
from store.access_tables import ApiKeyRow
from store.audit import Deed
from store.errors import AuthenticationError

__all__ = ["local_path", "logout_form", "router"]

router = APIRouter(include_in_schema=False)

_FORM_COOKIE = "tightrope_form"
_FORM_SECONDS = 3600
_FIELD = 2000


@router.get("/login", response_class=HTMLResponse)
def show_login(
    request: Request,
    installed: InstallationDependency,
    target: Annotated[str, Query(alias="next", max_length=_FIELD)] = "/",
) -> Response:
    """Return the page that asks for a key."""
    check_host(request, installed.settings)
    target = local_path(target)
    if not keys_needed(installed):
        return RedirectResponse(target, status_code=303)
    return _form(request, target, ended=_why_ended(request, installed))


@router.post("/login", response_class=HTMLResponse)
def log_in(
    request: Request,
    installed: InstallationDependency,
    key: Annotated[str, Form(max_length=_FIELD)] = "",
    csrf: Annotated[str, Form(max_length=_FIELD)] = "",
    target: Annotated[str, Form(alias="next", max_length=_FIELD)] = "/",
) -> Response:
    """Set the cookie of a login, and go to where the person wanted to."""
    check_host(request, installed.settings)
    _check_form(request, request.cookies.get(_FORM_COOKIE), csrf)
    try:
        row = installed.keys.authenticate(key.strip())
    except AuthenticationError as error:
        refused = refused_login(request, installed, error)
        return _form(request, local_path(target), problem=str(refused))
    cookie = installed.logins.open(row.id)
    _record(request, installed, row, "log_in")
    response = RedirectResponse(local_path(target), status_code=303)
    response.set_cookie(
        cookie_name(request),
        cookie,
        max_age=int(installed.settings.login_seconds),
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
    response.delete_cookie(_FORM_COOKIE, path="/login")
    return response


@router.post("/logout", response_class=HTMLResponse)
def log_out(
    request: Request,
    installed: InstallationDependency,
    csrf: Annotated[str, Form(max_length=_FIELD)] = "",
) -> Response:
    """End a login, here and in the database."""
    check_host(request, installed.settings)
    name = cookie_name(request)
    cookie = request.cookies.get(name)
    response = RedirectResponse("/login", status_code=303)
    if cookie is not None:
        _check_form(request, cookie, csrf)
        row = installed.logins.close(cookie)
        installed.keyring.forget()
        if row is not None:
            _record(request, installed, row, "log_out")
        response.delete_cookie(
            name, secure=request.url.scheme == "https", httponly=True, samesite="lax"
        )
    return response


def local_path(target: str) -> str:
    r"""Return a path of this service to go to; anything else becomes the first page.

    Browsers read `//host` and `/\host` as another server's address, and skip control characters.
    """
    plain = target.isprintable() and "\\" not in target
    return target if plain and target.startswith("/") and not target.startswith("//") else "/"


def logout_form(cookie: str, name: str) -> str:
    """Return the HTML that says who is logged in, and ends it.

    Args:
        cookie: What the cookie of the login holds.
        name: Of the key.
    """
    return (
        f'<form method="post" action="/logout">{escape(name)}'
        f'<input type="hidden" name="csrf" value="{csrf_token(cookie)}">'
        "<button>Log out</button></form>"
    )


def _why_ended(request: Request, installed: Services) -> str | None:
    """Return why the login that a browser still has is worth nothing; None where it has none."""
    cookie = request.cookies.get(cookie_name(request))
    if cookie is None:
        return None
    try:
        installed.keyring.of_cookie(cookie)
    except AuthenticationError as error:
        return str(refused_login(request, installed, error))
    return None


def _form(
    request: Request, target: str, *, problem: str | None = None, ended: str | None = None
) -> Response:
    """Return the page with a token that belongs to a cookie, so that only it can be sent."""
    cookie = secrets.token_urlsafe(32)
    response = framed(
        request,
        "login.html",
        {"failure": problem, "ended": ended, "csrf": csrf_token(cookie), "target": target},
        login=Markup(),
        status=200 if problem is None else 401,
    )
    response.headers["Cache-Control"] = "no-store"
    response.set_cookie(
        _FORM_COOKIE,
        cookie,
        max_age=_FORM_SECONDS,
        path="/login",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return response


def _check_form(request: Request, cookie: str | None, csrf: str) -> None:
    """Check that a form was sent by a page of this service.

    Raises:
        ApiError: It was not.
    """
    expected = csrf_token(cookie or "")
    genuine = cookie is not None and hmac.compare_digest(csrf.encode(), expected.encode())
    if not genuine or not is_same_origin(request.headers, stated=True):
        raise ApiError(
            "CrossSiteError", "the form is too old or from another site; load the page again"
        )


def _record(request: Request, installed: Services, row: ApiKeyRow, action: str) -> None:
    deed = Deed(
        action=action,
        actor=row.name,
        target=row.id,
        project_id=row.project_id,
        key_id=row.id,
        address=address_of(request),
    )
    record(installed.audit, deed)
