"""What a route takes: `dependencies=[needs(Scope.READ)]`, on the route or on its whole router.

Every route says what it needs, and a test finds the ones that do not. The services that a route is
given are those of the project that asks; a route that says nothing is given none and fails.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import Depends, Request, Security
from fastapi.routing import APIRoute
from fastapi.security import APIKeyCookie, HTTPBearer

from api.authentication import SESSION_COOKIE, Principal, authenticate, check_token
from api.services import InstallationDependency, Services
from store.keys import Scope

__all__ = ["FORM_TOKEN", "Need", "PrincipalDependency", "Scope", "needs", "needs_form", "needs_of"]

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

    def guard(
        request: Request,
        installed: InstallationDependency,
        _key: object = Security(_KEY, scopes=documented),
        _login: object = Security(_LOGIN, scopes=documented),
    ) -> None:
        principal = getattr(request.state, "principal", None)
        if principal is None:
            principal = authenticate(request, installed)
            _admit(request, installed, principal)
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


def _admit(request: Request, installed: Services, principal: Principal) -> None:
    """Give a request the services of whoever sent it."""
    request.state.principal = principal
    request.state.services = installed.of(principal.tenant, principal.limits)


def needs_of(route: APIRoute) -> list[Need]:
    """Return what a route takes, in the order in which it is asked for."""
    found = (getattr(one.call, "need", None) for one in route.dependant.dependencies)
    return [need for need in found if isinstance(need, Need)]


def _principal_of(request: Request) -> Principal:
    principal = getattr(request.state, "principal", None)
    if not isinstance(principal, Principal):
        raise TypeError(f"{request.url.path} does not say what it needs")
    return principal


PrincipalDependency = Annotated[Principal, Depends(_principal_of)]
"""Who asks; the route has to say `needs(…)`."""
