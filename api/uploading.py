"""What uploading a network and uploading a data set have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anyio.to_thread import run_sync
from fastapi import Request, Response

from api.receiving import RAW_MEDIA_TYPES, Upload, receive_upload, request_hash
from api.services import Services
from store.idempotency import Replay
from store.uploads import UploadRow, Uploads
from worker.inspector import FileKind

__all__ = ["BINARY", "body", "store_upload", "uploads_of"]

BINARY: Mapping[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_FORM: Mapping[str, Any] = {
    "schema": {
        "type": "object",
        "properties": {"file": {"type": "string", "format": "binary", "minLength": 1}},
        "required": ["file"],
        "additionalProperties": False,
    }
}


def body(description: str) -> dict[str, Any]:
    """Return the OpenAPI description of a request that carries one file."""
    content = {**dict.fromkeys(RAW_MEDIA_TYPES, BINARY), "multipart/form-data": _FORM}
    return {"requestBody": {"required": True, "description": description, "content": content}}


def uploads_of(services: Services, kind: FileKind) -> Uploads:
    """Return where files of a kind are kept."""
    return {"network": services.networks, "dataset": services.datasets}[kind]


async def store_upload(
    services: Services,
    kind: FileKind,
    request: Request,
    *,
    response: Response,
    name: str | None,
    key: str | None,
) -> UploadRow:
    """Receive, inspect and store a file; set status and headers of the response.

    Args:
        services: Where to.
        kind: What the file is.
        request: Its body has not been read yet.
        response: 201 for a new resource, also when a repeated request replays it, else 200.
        name: Overrides the file's own.
        key: The Idempotency-Key.

    Raises:
        ApiError: The request carries no usable file.
        RejectedFileError: Inspection refuses it; nothing is stored.
        StoreFullError: The disk is full; nothing is stored.
        IdempotencyMismatchError: The key was used for another file.
    """
    uploads = uploads_of(services, kind)
    default_name = f"{kind}{uploads.kind.suffix}"
    async with receive_upload(
        request,
        services.blobs,
        name=name,
        default_name=default_name,
        most_bytes=services.limits.upload_bytes,
    ) as upload:
        details = await _details(services, uploads, kind, upload=upload)
        route = f"{request.method} {request.url.path}"
        replay = None if key is None else Replay(key, route, request_hash(upload))

        def add() -> tuple[UploadRow, bool]:
            return uploads.add(upload.incoming, name=upload.name, details=details, replay=replay)

        row, new = await run_sync(add)
    replayed = key is not None and not new
    if replayed:
        response.headers["Idempotency-Replayed"] = "true"
    response.status_code = 201 if new or replayed else 200
    response.headers["Location"] = f"{request.url.path}/{row.id}"
    return row


async def _details(
    services: Services, uploads: Uploads, kind: FileKind, *, upload: Upload
) -> Mapping[str, Any]:
    """Return what is known about a file; a content seen before is not inspected again.

    Unless that was before layers were noted.
    """
    known = await run_sync(uploads.details_of, upload.incoming.sha256)
    if known is not None and (kind != "network" or "layers" in known):
        return known
    return await run_sync(
        services.inspector.inspect,
        kind,
        upload.incoming.path,
        upload.name,
        limiter=services.inspections,
    )
