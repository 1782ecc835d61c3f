"""Requests as values, and how their answers are read: one description for every transport."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar
from uuid import uuid4

import httpx
from pydantic import TypeAdapter, ValidationError

from tightrope_client.errors import UnexpectedResponseError
from tightrope_client.wire import Received

__all__ = [
    "PAGE_ENTRIES",
    "Call",
    "Page",
    "Paging",
    "Request",
    "delete",
    "document",
    "download",
    "get",
    "page_of",
    "post",
    "read_nothing",
    "read_text",
    "reads",
]

PAGE_ENTRIES = 200
"""Entries that are asked for at once."""

T = TypeVar("T")
M = TypeVar("M", bound=Received)
Parameters = Mapping[str, str | int | float | None]


@dataclass(frozen=True)
class Request:
    """What is sent.

    Attributes:
        method, path: Of HTTP; the path is relative to the server's address.
        parameters: Of the query; those that are None are left out.
        body: JSON-like values.
        upload: File or bytes that are the body.
        into: File for the body of the answer, where it is a good one.
        headers: Besides those that every request has.
        held_seconds: For how long the server may hold the answer back on purpose.
    """

    method: str
    path: str
    parameters: Parameters = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    upload: Path | bytes | None = None
    into: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    held_seconds: float = 0.0

    def arguments(self, timeout_seconds: float) -> dict[str, Any]:
        """Return arguments of httpx's `build_request`, all but the content of an upload."""
        headers = dict(self.headers)
        if self.upload is not None:
            headers["Content-Type"] = "application/octet-stream"
            headers["Content-Length"] = str(self.upload_bytes)
        return {
            "method": self.method,
            "url": self.path,
            "params": {
                name: str(value) for name, value in self.parameters.items() if value is not None
            },
            "json": self.body,
            "headers": headers,
            "timeout": httpx.Timeout(timeout_seconds, read=timeout_seconds + self.held_seconds),
        }

    @property
    def upload_bytes(self) -> int:
        """Size of the upload."""
        if isinstance(self.upload, bytes):
            return len(self.upload)
        return 0 if self.upload is None else self.upload.stat().st_size


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request and what its answer means."""

    request: Request
    read: Callable[[httpx.Response], T]


@dataclass(frozen=True)
class Page(Generic[T]):
    """Entries of a list, and the cursor of those that follow; None on the last page."""

    items: list[T]
    following: str | None


Paging = Callable[[str | None], Call[Page[T]]]


def reads(kind: type[T]) -> Callable[[httpx.Response], T]:
    """Return a reader of JSON of a kind.

    Args:
        kind: A model, or any type that pydantic knows.
    """
    adapter: TypeAdapter[T] = TypeAdapter(kind)

    def read(response: httpx.Response) -> T:
        try:
            return adapter.validate_json(response.content)
        except ValidationError as error:
            raise _unexpected(response, f"cannot be read: {_first(error)}") from error

    return read


def page_of(kind: type[M]) -> Callable[[httpx.Response], Page[M]]:
    """Return a reader of pages of a kind."""

    class _Listed(Received):
        items: list[kind]  # type: ignore[valid-type]
        next_cursor: str | None

    listed = reads(_Listed)

    def read(response: httpx.Response) -> Page[M]:
        page = listed(response)
        return Page(page.items, page.next_cursor)

    return read


def read_text(response: httpx.Response) -> str:
    """Return the body as text, which is UTF-8 everywhere."""
    return response.content.decode("utf-8", errors="replace")


def read_nothing(response: httpx.Response) -> None:
    """Return nothing: that the answer is good is all there is to know."""
    del response


def get(
    path: str, read: Callable[[httpx.Response], T], **parameters: str | float | None
) -> Call[T]:
    """Return the call that reads a resource."""
    return Call(Request("GET", path, parameters), read)


def post(
    path: str, read: Callable[[httpx.Response], T], *, body: Mapping[str, Any] | None = None,
    upload: Path | bytes | None = None, key: str | None = None,
    parameters: Parameters | None = None, held_seconds: float = 0.0,
) -> Call[T]:  # fmt: skip
    """Return the call that makes or changes something.

    Args:
        path: Of the resource.
        read: What its answer means.
        body: JSON-like values.
        upload: File or bytes in its place.
        key: Idempotency-Key; one of its own if absent, so that a repeated call changes nothing.
        parameters: Of the query.
        held_seconds: How long the server may take for the answer, beside what any answer may.
    """
    headers = {"Idempotency-Key": key or uuid4().hex}
    request = Request(
        "POST", path, parameters or {}, body=body, upload=upload, headers=headers,
        held_seconds=held_seconds,
    )  # fmt: skip
    return Call(request, read)


def delete(path: str) -> Call[None]:
    """Return the call that deletes a resource."""
    return Call(Request("DELETE", path), read_nothing)


def document(path: str, **parameters: str | None) -> Call[str]:
    """Return the call that reads a page, a table or another text."""
    return get(path, read_text, **parameters)


def download(path: str, target: str | Path) -> Call[None]:
    """Return the call that writes a file."""
    return Call(Request("GET", path, into=Path(target)), read_nothing)


def _unexpected(response: httpx.Response, what: str) -> UnexpectedResponseError:
    return UnexpectedResponseError(
        f"the answer to {response.request.method} {response.request.url} {what}; "
        "is this the address of a Tightrope server?"
    )


def _first(error: ValidationError) -> str:
    """Return the first thing that is wrong with an answer."""
    wrong = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(step) for step in wrong["loc"])
    return f"{place}: {wrong['msg']}" if place else wrong["msg"]
