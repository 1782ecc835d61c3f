"""The resource `datasets`."""

from __future__ import annotations

from api import views
from api.routes.files import FileResource, file_router
from api.schemas.uploads import DatasetPage, DatasetPublic

__all__ = ["router"]

router = file_router(
    FileResource(
        kind="dataset",
        words="data set",
        prefix="dat",
        public=DatasetPublic,
        page=DatasetPage,
        view=views.dataset,
        upload="An npz file with `x`, inputs, and `y`, labels.",
        about_upload=(
            "Store a data set after a separate, limited process has looked at it.\n\n"
            "The file is an npz with `x` (N × input shape; uint8 is scaled to [0, 1]) and `y` (N)."
        ),
    )
)
