"""The description of the interface, for programs and for people; whoever may ask may read it."""

from __future__ import annotations

import base64
import hashlib
import re

from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse

from api.principal import needs

__all__ = ["router"]

router = APIRouter(include_in_schema=False, dependencies=[needs(None)])

_SOURCE = "https://cdn.jsdelivr.net"
_INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)


@router.get("/openapi.json")
def get_description(request: Request) -> JSONResponse:
    """Return the OpenAPI document."""
    return JSONResponse(request.app.openapi())


@router.get("/docs", response_class=HTMLResponse)
def show_description() -> HTMLResponse:
    """Return the page that shows the document and tries it out."""
    response = get_swagger_ui_html(
        openapi_url="openapi.json", title="Tightrope: interface", swagger_favicon_url="data:,"
    )
    text = bytes(response.body).decode()
    # The page's own script, which holds nothing of the request, is allowed by its hash.
    own = " ".join(_hash_of(script) for script in _INLINE.findall(text))
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src {_SOURCE} {own}; style-src {_SOURCE} 'unsafe-inline'; "
        "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return response


def _hash_of(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"'sha256-{digest}'"
