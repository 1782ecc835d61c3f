"""Uploaded files, from the request to a file beside the store."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath

from anyio.to_thread import run_sync
from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from api.problems import ApiError
from store.blobs import BlobStore, IncomingBlob

__all__ = ["RAW_MEDIA_TYPES", "Upload", "receive_upload", "request_hash", "require_json"]

RAW_MEDIA_TYPES = (
    "application/octet-stream",
    "application/onnx",
    "application/x-onnx",
    "application/zip",
    "application/x-npz",
)
_MULTIPART = "multipart/form-data"
_PIECE_BYTES = 2**20
_LONGEST_NAME = 200


@dataclass(frozen=True)
class Upload:
    """A received file.

    Attributes:
        incoming: The bytes; gone when the request ends unless they are kept.
        name: As the client called it, cleaned up.
    """

    incoming: IncomingBlob
    name: str


@asynccontextmanager
async def receive_upload(
    request: Request,
    blobs: BlobStore,
    *,
    name: str | None,
    default_name: str,
    most_bytes: int | None = None,
) -> AsyncIterator[Upload]:
    """Receive the one file of a request: the body itself, or the part `file` of a form.

    Args:
        request: Its body has not been read yet.
        blobs: Where to write.
        name: Overrides what the form says.
        default_name: For a file without any name.
        most_bytes: That the one who asks may upload; None for any number.

    Raises:
        ApiError: The media type is not supported, there is no file, or it is too large.
        StoreFullError: The disk is full.
    """
    media_type = _media_type(request)
    if media_type not in (*RAW_MEDIA_TYPES, _MULTIPART):
        raise ApiError(
            "MediaTypeError",
            f"the media type is {media_type or 'not stated'}; send the file as "
            f"application/octet-stream, or as the part `file` of {_MULTIPART}",
        )
    with await run_sync(blobs.receive) as incoming:
        if media_type == _MULTIPART:
            stated = await _receive_form(request, incoming, most_bytes)
        else:
            stated = None
            await _write_all(_at_most(request.stream(), most_bytes), incoming)
        if incoming.size_bytes == 0:
            raise ApiError("DataError", "the file is empty; send its bytes as the body")
        await run_sync(incoming.flush)
        yield Upload(incoming, name or clean_name(stated) or default_name)


async def require_json(request: Request) -> None:
    """Check that a body says it is JSON.

    Raises:
        ApiError: It does not.
    """
    media_type = _media_type(request)
    if media_type != "application/json":
        raise ApiError(
            "MediaTypeError",
            f"the media type is {media_type or 'not stated'}; send application/json",
        )


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def clean_name(stated: str | None) -> str:
    """Return the last part of a client's file name, without control characters."""
    last = PurePosixPath(PureWindowsPath(stated or "").name).name
    name = "".join(letter for letter in last if letter.isprintable())[:_LONGEST_NAME]
    return "" if name in {".", ".."} else name


def request_hash(upload: Upload) -> str:
    """Return what tells one upload from another."""
    return hashlib.sha256(f"{upload.incoming.sha256}\0{upload.name}".encode()).hexdigest()


async def _receive_form(
    request: Request, incoming: IncomingBlob, most_bytes: int | None
) -> str | None:
    """Write the part `file` of a form; return the name it came with."""
    try:
        form = await request.form(max_files=1, max_fields=1)
    except HTTPException as error:
        if error.status_code != 400:
            raise
        raise ApiError("MalformedBodyError", f"the form cannot be read: {error.detail}") from error
    try:
        part = form.get("file")
        if not isinstance(part, UploadFile):
            raise ApiError("ValidationError", "body.file: the form has no file of that name")
        await _write_all(_at_most(_pieces(part), most_bytes), incoming)
        return part.filename
    finally:
        await form.close()


async def _pieces(part: UploadFile) -> AsyncIterator[bytes]:
    while piece := await part.read(_PIECE_BYTES):
        yield piece


async def _at_most(pieces: AsyncIterator[bytes], most_bytes: int | None) -> AsyncIterator[bytes]:
    """Pass pieces on as long as there are not too many bytes.

    Raises:
        ApiError: There are.
    """
    received = 0
    async for piece in pieces:
        received += len(piece)
        if most_bytes is not None and received > most_bytes:
            raise ApiError(
                "TooLargeError", f"the file is larger than the {most_bytes} bytes of this key"
            )
        yield piece


async def _write_all(pieces: AsyncIterator[bytes], incoming: IncomingBlob) -> None:
    """Write in pieces of some size: hashing and writing are left to a thread."""
    waiting = bytearray()
    async for piece in pieces:
        waiting += piece
        if len(waiting) >= _PIECE_BYTES:
            await run_sync(incoming.write, bytes(waiting))
            waiting.clear()
    await run_sync(incoming.write, bytes(waiting))
