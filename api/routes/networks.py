"""The resource `networks`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse

from api import views
from api.pagination import CursorParameter, LimitParameter, before_id, split
from api.parameters import IdempotencyKey, NetworkId, UploadName
from api.problems import problems
from api.schemas.uploads import NetworkPage, NetworkPublic
from api.services import ServicesDependency
from api.uploading import BINARY, body, store_upload

__all__ = ["router"]

router = APIRouter(prefix="/v1/networks", tags=["networks"])


@router.post(
    "",
    status_code=201,
    summary="Upload a network",
    openapi_extra=body("An ONNX file."),
    responses={
        200: {"model": NetworkPublic, "description": "It was there already."},
        **problems(400, 409, 413, 415, 422, 507),
    },
)
async def create_network(
    request: Request,
    response: Response,
    services: ServicesDependency,
    name: UploadName = None,
    idempotency_key: IdempotencyKey = None,
) -> NetworkPublic:
    """Store a network after a separate, limited process has looked at it.

    The same content under the same name is stored once.
    """
    row = await store_upload(
        services, "network", request, response=response, name=name, key=idempotency_key
    )
    return views.network(row)


@router.get("", summary="List networks", responses=problems(422))
def list_networks(
    services: ServicesDependency, limit: LimitParameter = 100, cursor: CursorParameter = None
) -> NetworkPage:
    """Return networks, newest first."""
    rows = services.networks.page(limit=limit + 1, before=before_id(cursor))
    page, following = split(rows, limit, lambda row: row.id)
    return NetworkPage(items=[views.network(row) for row in page], next_cursor=following)


@router.get("/{network_id}", summary="Get a network", responses=problems(404))
def get_network(network_id: NetworkId, services: ServicesDependency) -> NetworkPublic:
    """Return one network."""
    return views.network(services.networks.get(network_id))


@router.get(
    "/{network_id}/file",
    summary="Download a network",
    response_class=FileResponse,
    responses={
        200: {"description": "The file.", "content": {"application/octet-stream": BINARY}},
        **problems(404),
    },
)
def download_network(network_id: NetworkId, services: ServicesDependency) -> FileResponse:
    """Return the file as it was uploaded."""
    row = services.networks.get(network_id)
    return FileResponse(
        services.networks.path(row), media_type="application/octet-stream", filename=row.name
    )


@router.delete(
    "/{network_id}", status_code=204, summary="Delete a network", responses=problems(404, 409)
)
def delete_network(network_id: NetworkId, services: ServicesDependency) -> None:
    """Delete a network that no certification uses."""
    services.networks.delete(network_id)
