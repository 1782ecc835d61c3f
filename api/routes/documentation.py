"""The description of the interface, for programs and for people; whoever may ask may read it."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse

from api.dashboard.rendering import show
from api.principal import PrincipalDependency, needs
from api.reference import groups_of, types_of

__all__ = ["router"]

router = APIRouter(include_in_schema=False, dependencies=[needs(None)])


@router.get("/openapi.json")
def get_description(request: Request) -> JSONResponse:
    """Return the OpenAPI document."""
    return JSONResponse(request.app.openapi())


@router.get("/docs", response_class=HTMLResponse)
def show_description(request: Request, principal: PrincipalDependency) -> HTMLResponse:
    """Return the page that shows the document: of this service alone, without scripts of others."""
    document = request.app.openapi()
    return show(
        request,
        "interface.html",
        principal,
        groups=groups_of(document),
        types=types_of(document),
    )
