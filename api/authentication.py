"""Who asks: a key, somebody who logged in with one, or anybody where no keys are asked for."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fastapi import Request

from api.problems import ApiError
from api.throttle import Rate
from store.access_tables import ApiKeyRow
from store.errors import AuthenticationError
from store.keys import KeyLimits, Scope, limits_of, scopes_of
from store.settings import Settings
from store.tenancy import DEFAULT_PROJECT, Tenant

if TYPE_CHECKING:
    from api.services import Services

__all__ = [
    "CSRF_HEADER",
    "SESSION_COOKIE",
    "Principal",
    "address_of",
    "authenticate",
    "check_host",
    "check_token",
    "cookie_name",
    "csrf_token",
    "is_same_origin",
    "is_still_good",
    "keys_needed",
    "names_loopback",
    "needs_no_database",
    "refuse_flood",
    "refused_login",
]

CSRF_HEADER = "X-CSRF-Token"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
SESSION_COOKIE = "tightrope_session"
"""Name of the cookie of a login, over http."""
_SCHEME = "bearer"


@dataclass(frozen=True)
class Principal:
    """Who asks.

    Attributes:
        project_id: Whose networks, data and jobs are seen.
        scopes: What may be done with them.
        limits: How much of it; None for no limit.
        name: Of the key; `anonymous` where nobody was asked for one.
        key_id: Of the key.
        cookie: What the cookie of a login holds.
    """

    project_id: str
    scopes: frozenset[Scope]
    limits: KeyLimits
    name: str
    key_id: str | None = None
    cookie: str | None = field(default=None, repr=False)

    @property
    def of_installation(self) -> bool:
        """Whether the project is the one whose administrators run the installation."""
        return self.project_id == DEFAULT_PROJECT

    @property
    def tenant(self) -> Tenant:
        """On whose behalf the store works."""
        return Tenant(self.project_id, self.key_id, self.limits.queued_jobs)

    def require(self, scope: Scope, *, installation: bool = False) -> None:
        """Check that something may be done.

        Args:
            scope: What it takes.
            installation: Whether it concerns more than one project.

        Raises:
            ApiError: It may not.
        """
        if scope not in self.scopes:
            has = ", ".join(one.value for one in Scope if one in self.scopes) or "none"
            raise ApiError(
                "ForbiddenError",
                f"this takes a key with the scope {scope.value}; this one has {has}",
            )
        if installation and not self.of_installation:
            raise ApiError(
                "ForbiddenError",
                "this concerns the whole installation; it takes a key of the project "
                f"{DEFAULT_PROJECT} with the scope {scope.value}",
            )


def keys_needed(services: Services) -> bool:
    """Return whether every request needs a key.

    Once a key was made they are needed for good: that the last one expires or is revoked must not
    open the service to everybody.
    """
    stated = services.settings.require_keys
    return services.keyring.ever_made() if stated is None else stated


def needs_no_database(request: Request, services: Services) -> bool:
    """Return whether `authenticate` would wait for nobody: all it asks was found out just now."""
    header = request.headers.get("authorization")
    cookie = request.cookies.get(cookie_name(request))
    if (header is not None or cookie is not None) and services.throttle.waits:
        return False
    token = _token_of(header)
    if services.settings.require_keys is False and token is None:
        return True
    return services.keyring.remembers(token=token, cookie=cookie)


def authenticate(request: Request, services: Services, *, form: bool = False) -> Principal:
    """Return who asks.

    Args:
        request: With a key, the cookie of a login, or neither.
        services: Of the whole installation.
        form: The request is a form of a page, whose token stands in its body; `check_token` is to
            be asked once that was read.

    Raises:
        ApiError: The key or login is worth nothing, one is needed, or the request was sent by
            another site's page.
    """
    check_host(request, services.settings)
    header = request.headers.get("authorization")
    cookie = request.cookies.get(cookie_name(request))
    if header is not None:
        return _by_key(request, services, header)
    if cookie is not None and keys_needed(services):
        return _by_login(request, services, cookie, form=form)
    if keys_needed(services):
        raise ApiError(
            "AuthenticationError",
            "this service asks for a key; send it as `Authorization: Bearer trk_…`",
        )
    _check_own_page(request, services.settings)
    return Principal(DEFAULT_PROJECT, frozenset(Scope), KeyLimits(), name="anonymous")


def is_still_good(request: Request, services: Services, principal: Principal) -> bool:
    """Return whether a request that goes on for long would be let in again; it is not counted."""
    try:
        if principal.cookie is not None:
            services.keyring.of_cookie(principal.cookie)
        elif principal.key_id is not None:
            services.keyring.of_token(_token_of(request.headers.get("authorization")) or "")
        else:
            return not keys_needed(services)
    except AuthenticationError:
        return False
    return True


def check_host(request: Request, settings: Settings) -> None:
    """Check that the service is asked under a name that it goes by, where names were set.

    Raises:
        ApiError: It is asked under another one.
    """
    host = request.headers.get("host", "")
    allowed = {name.strip().lower() for name in settings.allowed_hosts.split(",") if name.strip()}
    if allowed and not names_loopback(host) and _name_of(host) not in allowed:
        raise ApiError(
            "HostError",
            f"the service does not go by the name {host!r}; TIGHTROPE_ALLOWED_HOSTS has its names",
        )


def refuse_flood(services: Services, name: str, rate: Rate) -> None:
    """Count a request.

    Raises:
        ApiError: There were too many.
    """
    wait = services.throttle.take(name, rate)
    if wait > 0:
        seconds = math.ceil(wait)
        raise ApiError(
            "RateLimitError",
            f"more than {rate.per_minute} requests a minute; try again in {seconds} s",
            headers={"Retry-After": str(seconds)},
        )


def refused_login(request: Request, services: Services, error: AuthenticationError) -> ApiError:
    """Count a key that is worth nothing, and return what to answer.

    Raises:
        ApiError: There were too many from the same address.
    """
    most = services.settings.refusals_per_minute
    refuse_flood(services, f"refused:{address_of(request)}", Rate(most, most))
    return ApiError("AuthenticationError", str(error))


def address_of(request: Request) -> str | None:
    """Return where a request comes from; behind a trusted proxy, what that says."""
    return None if request.client is None else request.client.host


def cookie_name(request: Request) -> str:
    """Return the name of the cookie: over https one that no other host or path can set."""
    return f"__Host-{SESSION_COOKIE}" if request.url.scheme == "https" else SESSION_COOKIE


def csrf_token(cookie: str) -> str:
    """Return what shows that a form or script was sent by a page of our own.

    Pages of other sites can make a browser send the cookie, but can read neither it nor this.
    """
    return hmac.new(cookie.encode(), b"tightrope csrf", hashlib.sha256).hexdigest()


def is_same_origin(headers: Mapping[str, str], *, stated: bool) -> bool:
    """Return whether a request was sent by a page of ours, or by no page at all.

    Args:
        headers: Of the request; names in lower case.
        stated: Whether the browser has to have said so; programs say nothing.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    if origin is None:
        return not stated
    return urlsplit(origin).netloc == headers.get("host")


def names_loopback(host: str) -> bool:
    """Return whether a `Host` header names this machine, as seen from itself."""
    name = _name_of(host)
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _name_of(host: str) -> str:
    """Return the name in a `Host` header, without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _token_of(header: str | None) -> str | None:
    """Return the key in an `Authorization` header, if it has one."""
    scheme, _, token = ("" if header is None else header).partition(" ")
    return token.strip() if scheme.lower() == _SCHEME else None


def _by_key(request: Request, services: Services, header: str) -> Principal:
    token = _token_of(header)
    try:
        if token is None:
            raise AuthenticationError("keys are sent as `Authorization: Bearer trk_…`")
        row = services.keyring.of_token(token)
    except AuthenticationError as error:
        raise refused_login(request, services, error) from error
    return _of_key(services, row)


def check_token(principal: Principal, token: str) -> None:
    """Check that a form that came with a login was sent by a page of ours.

    Raises:
        ApiError: It was not.
    """
    cookie = principal.cookie
    if cookie is not None and not _is_token(cookie, token):
        raise ApiError(
            "CrossSiteError", "the form is too old or from another site; load the page again"
        )


def _is_token(cookie: str, token: str) -> bool:
    return hmac.compare_digest(token.encode(), csrf_token(cookie).encode())


def _by_login(request: Request, services: Services, cookie: str, *, form: bool) -> Principal:
    try:
        row = services.keyring.of_cookie(cookie)
    except AuthenticationError as error:
        raise refused_login(request, services, error) from error
    if request.method not in _SAFE_METHODS:
        token = csrf_token(cookie) if form else request.headers.get(CSRF_HEADER, "")
        _check_own_form(request, cookie, token)
    return replace(_of_key(services, row), cookie=cookie)


def _of_key(services: Services, row: ApiKeyRow) -> Principal:
    settings, own = services.settings, limits_of(row)
    usual = KeyLimits(
        requests_per_minute=settings.requests_per_minute,
        request_burst=settings.request_burst,
        queued_jobs=settings.queued_jobs,
        upload_bytes=settings.max_upload_bytes,
        inputs_per_job=settings.inputs_per_job,
    )
    differing = {
        one.name: value for one in fields(own) if (value := getattr(own, one.name)) is not None
    }
    limits = replace(usual, **differing)
    rate = Rate(limits.requests_per_minute or 1, limits.request_burst or 1)
    refuse_flood(services, f"key:{row.id}", rate)
    return Principal(row.project_id, scopes_of(row), limits, name=row.name, key_id=row.id)


def _check_own_form(request: Request, cookie: str, token: str) -> None:
    """Check that what changes something was sent by a page of ours."""
    if not is_same_origin(request.headers, stated=True) or not _is_token(cookie, token):
        raise ApiError(
            "CrossSiteError",
            "a login changes things only from pages of this service, which send "
            f"{CSRF_HEADER}; programs use a key of their own",
        )


def _check_own_page(request: Request, settings: Settings) -> None:
    """Check that no other site's page asks, where nobody is asked for a key.

    A page of any site can make its visitor's browser ask this machine; under a name of its own that
    leads here it could even read the answers.
    """
    if request.method not in _SAFE_METHODS and not is_same_origin(request.headers, stated=False):
        raise ApiError("CrossSiteError", "the page of another site sent this; it was refused")
    host = request.headers.get("host", "")
    named = bool(settings.allowed_hosts) or settings.allow_unauthenticated
    if not named and not names_loopback(host):
        raise ApiError(
            "HostError",
            f"without keys the service is asked as localhost or 127.0.0.1 only, not as {host!r}",
        )
