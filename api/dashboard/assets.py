"""Files that pages load: a stylesheet and a script, each under a name of its content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from fastapi import APIRouter, HTTPException, Response

__all__ = ["asset_url", "router"]

router = APIRouter(include_in_schema=False)

# Reports are made of the same parts, so that pages begin with their styles.
_SHARED = ("style.css", "curves.css", "examples.css", "paired.css")
_KEPT = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Asset:
    """A file to serve."""

    content: bytes
    media_type: str

    @property
    def version(self) -> str:
        """What changes with the content."""
        return hashlib.sha256(self.content).hexdigest()[:16]


@cache
def _assets() -> Mapping[str, Asset]:
    shared = files("reports") / "templates"
    own = files("api.dashboard") / "static"
    styles = [*((shared / name).read_bytes() for name in _SHARED)]
    styles.append((own / "dashboard.css").read_bytes())
    return {
        "dashboard.css": Asset(b"\n".join(styles), "text/css; charset=utf-8"),
        **{
            name: Asset((own / name).read_bytes(), "text/javascript; charset=utf-8")
            for name in ("dashboard.js", "forms.js", "parts.js")
        },
        "icon.svg": Asset((own / "icon.svg").read_bytes(), "image/svg+xml"),
    }


def asset_url(name: str) -> str:
    """Return where a file is; another content is elsewhere, so that browsers may keep it."""
    return f"/static/{name}?v={_assets()[name].version}"


@router.get("/static/{name}")
def get_asset(name: str) -> Response:
    """Return a file; the page that asks for a key needs them too, so they take none."""
    asset = _assets().get(name)
    if asset is None:
        raise HTTPException(404)
    return Response(asset.content, media_type=asset.media_type, headers={"Cache-Control": _KEPT})
