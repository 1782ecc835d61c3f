"""What a route takes: `dependencies=[needs(Scope.READ)]`, on the route or on its whole router.

Every route says what it needs, and a test finds the ones that do not. The services that a route is
given are those of the project that asks; a route that says nothing is given none and fails.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import Depends, Request, Security
from fastapi.routing import APIRoute
from fastapi.security import APIKeyCookie, HTTPBearer
from sqlalchemy.exc import SQLAlchemyError

from api.authentication import (
    SESSION_COOKIE,
    Principal,
    authenticate,
    check_token,
    is_still_good,
    needs_no_database,
)
from api.services import InstallationDependency, Services
from store.keys import Scope

__all__ = [
    "FORM_TOKEN",
    "Need",
    "PrincipalDependency",
    "Scope",
    "identify",
    "is_admitted",
    "needs",
    "needs_form",
    "needs_of",
]

logger = logging.getLogger(__name__)

FORM_TOKEN = "csrf"  # noqa: S105 (the name of a field)
"""Field of every form of a page: what shows that it is one of ours."""
_MOST_FIELDS = 200

# For the OpenAPI document; `authenticate` reads both itself.
_KEY = HTTPBearer(
    scheme_name="key",
    bearerFormat="trk_<key id>_<secret>",
    description="An API key; none where the service asks for none.",
    auto_error=False,
)
_LOGIN = APIKeyCookie(
    scheme_name="login",
    name=SESSION_COOKIE,
    description="The cookie of a login. What changes something takes `X-CSRF-Token` beside it.",
    auto_error=False,
)


@dataclass(frozen=True)
class Need:
    """What a route takes.

    Attributes:
        scope: That the key has to have; None for any key.
        installation: Whether it concerns more than one project: only keys of the project `default`
            will do then.
    """

    scope: Scope | None
    installation: bool = False


def needs(scope: Scope | None, *, installation: bool = False) -> Any:  # noqa: ANN401 (as Depends)
    """Return the dependency of a route that takes a scope.

    Args:
        scope: That the key has to have; None for any key.
        installation: Whether it concerns more than one project.
    """
    need = Need(scope, installation)
    documented = [] if scope is None else [scope.value]

    async def guard(
        request: Request,
        installed: InstallationDependency,
        _key: object = Security(_KEY, scopes=documented),
        _login: object = Security(_LOGIN, scopes=documented),
    ) -> None:
        principal = await identify(request, installed)
        if need.scope is not None:
            principal.require(need.scope, installation=need.installation)

    guard.need = need  # type: ignore[attr-defined]
    return Depends(guard)


def needs_form(scope: Scope) -> Any:  # noqa: ANN401 (as Depends)
    """Return the dependency of a page's route that takes a form; its field `csrf` is checked.

    Nothing of the form is read before it is known who sends it. The route asks `request.form()` for
    its fields, and declares none of them: FastAPI would read them first.

    Args:
        scope: That the key has to have.
    """
    need = Need(scope)

    async def guard(request: Request, installed: InstallationDependency) -> AsyncIterator[None]:
        principal = await run_sync(partial(authenticate, request, installed, form=True))
        principal.require(scope)
        async with request.form(max_files=1, max_fields=_MOST_FIELDS) as form:
            token = form.get(FORM_TOKEN)
            check_token(principal, token if isinstance(token, str) else "")
            _admit(request, installed, principal)
            yield

    guard.need = need  # type: ignore[attr-defined]
    return Depends(guard)


async def identify(request: Request, installed: Services) -> Principal:
    """Return who asks, found out once, and give the request the services of that project.

    Raises:
        ApiError: The key or login is worth nothing, or one is needed.
    """
    known = getattr(request.state, "principal", None)
    if isinstance(known, Principal):
        return known
    if needs_no_database(request, installed):
        principal = authenticate(request, installed)
    else:
        principal = await run_sync(authenticate, request, installed)
    _admit(request, installed, principal)
    return principal


async def is_admitted(request: Request, installed: Services, principal: Principal) -> bool:
    """Return whether somebody who was let in would be let in again: the key may be revoked.

    While the database does not answer they are believed as before.
    """
    if needs_no_database(request, installed):
        return is_still_good(request, installed, principal)
    try:
        return await run_sync(is_still_good, request, installed, principal)
    except SQLAlchemyError as error:
        logger.warning("the database does not tell whether a key is still good: %s", error)
        return True


def _admit(request: Request, installed: Services, principal: Principal) -> None:
    """Give a request the services of whoever sent it."""
    request.state.principal = principal
    request.state.services = installed.of(principal.tenant, principal.limits)


def needs_of(route: APIRoute) -> list[Need]:
    """Return what a route takes, in the order in which it is asked for."""
    found = (getattr(one.call, "need", None) for one in route.dependant.dependencies)
    return [need for need in found if isinstance(need, Need)]


async def _principal_of(request: Request) -> Principal:
    principal = getattr(request.state, "principal", None)
    if not isinstance(principal, Principal):
        raise TypeError(f"{request.url.path} does not say what it needs")
    return principal


PrincipalDependency = Annotated[Principal, Depends(_principal_of)]
"""Who asks; the route has to say `needs(…)`."""
