"""The resource `networks`."""

from __future__ import annotations

from api import views
from api.routes.files import FileResource, file_router
from api.schemas.uploads import NetworkPage, NetworkPublic

__all__ = ["router"]

router = file_router(
    FileResource(
        kind="network",
        words="network",
        prefix="net",
        public=NetworkPublic,
        page=NetworkPage,
        view=views.network,
        upload="An ONNX file.",
        about_upload=(
            "Store a network after a separate, limited process has looked at it.\n\n"
            "The same content under the same name is stored once."
        ),
    )
)
