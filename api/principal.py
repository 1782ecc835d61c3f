"""What a route takes: `dependencies=[needs(Scope.READ)]`, on the route or on its whole router.

Every route says what it needs, and a test finds the ones that do not. The services that a route is
given are those of the project that asks; a route that says nothing is given none and fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.routing import APIRoute
from fastapi.security import APIKeyCookie, HTTPBearer

from api.authentication import SESSION_COOKIE, Principal, authenticate
from api.services import InstallationDependency
from store.keys import Scope

__all__ = ["Need", "PrincipalDependency", "Scope", "needs", "needs_of"]

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
            request.state.principal = principal
            request.state.services = installed.of(principal.tenant, principal.limits)
        if need.scope is not None:
            principal.require(need.scope, installation=need.installation)

    guard.need = need  # type: ignore[attr-defined]
    return Depends(guard)


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
