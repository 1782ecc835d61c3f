"""Somebody who looks at a page: what every page is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse

from api.authentication import Principal
from api.dashboard.rendering import show
from api.principal import PrincipalDependency
from api.services import Services, ServicesDependency

__all__ = ["Visit", "VisitDependency"]


@dataclass(frozen=True)
class Visit:
    """A request for a page.

    Attributes:
        request: Itself.
        services: As the project of the one who asks sees them.
        principal: Who asks.
    """

    request: Request
    services: Services
    principal: Principal

    def show(self, template: str, *, status: int = 200, **values: object) -> HTMLResponse:
        """Return the page; see `api.dashboard.rendering.show`."""
        return show(self.request, template, self.principal, status=status, **values)


async def _visit(
    request: Request, services: ServicesDependency, principal: PrincipalDependency
) -> Visit:
    return Visit(request, services, principal)


VisitDependency = Annotated[Visit, Depends(_visit)]
"""Who looks at which page; the route has to say `needs(…)`."""
