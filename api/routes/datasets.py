"""The resource `datasets`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse

from api import views
from api.pagination import CursorParameter, LimitParameter, before_id, split
from api.parameters import DatasetId, IdempotencyKey, UploadName
from api.problems import problems
from api.schemas.uploads import DatasetPage, DatasetPublic
from api.services import ServicesDependency
from api.uploading import BINARY, body, store_upload

__all__ = ["router"]

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])


@router.post(
    "",
    status_code=201,
    summary="Upload a data set",
    openapi_extra=body("An npz file with `x`, inputs, and `y`, labels."),
    responses={
        200: {"model": DatasetPublic, "description": "It was there already."},
        **problems(400, 409, 413, 415, 422, 507),
    },
)
async def create_dataset(
    request: Request,
    response: Response,
    services: ServicesDependency,
    name: UploadName = None,
    idempotency_key: IdempotencyKey = None,
) -> DatasetPublic:
    """Store a data set after a separate, limited process has looked at it.

    The file is an npz with `x` (N × input shape; uint8 is scaled to [0, 1]) and `y` (N).
    """
    row = await store_upload(
        services, "dataset", request, response=response, name=name, key=idempotency_key
    )
    return views.dataset(row)


@router.get("", summary="List data sets", responses=problems(422))
def list_datasets(
    services: ServicesDependency, limit: LimitParameter = 100, cursor: CursorParameter = None
) -> DatasetPage:
    """Return data sets, newest first."""
    rows = services.datasets.page(limit=limit + 1, before=before_id(cursor))
    page, following = split(rows, limit, lambda row: row.id)
    return DatasetPage(items=[views.dataset(row) for row in page], next_cursor=following)


@router.get("/{dataset_id}", summary="Get a data set", responses=problems(404))
def get_dataset(dataset_id: DatasetId, services: ServicesDependency) -> DatasetPublic:
    """Return one data set."""
    return views.dataset(services.datasets.get(dataset_id))


@router.get(
    "/{dataset_id}/file",
    summary="Download a data set",
    response_class=FileResponse,
    responses={
        200: {"description": "The file.", "content": {"application/octet-stream": BINARY}},
        **problems(404),
    },
)
def download_dataset(dataset_id: DatasetId, services: ServicesDependency) -> FileResponse:
    """Return the file as it was uploaded."""
    row = services.datasets.get(dataset_id)
    return FileResponse(
        services.datasets.path(row), media_type="application/octet-stream", filename=row.name
    )


@router.delete(
    "/{dataset_id}", status_code=204, summary="Delete a data set", responses=problems(404, 409)
)
def delete_dataset(dataset_id: DatasetId, services: ServicesDependency) -> None:
    """Delete a data set that no certification uses."""
    services.datasets.delete(dataset_id)
