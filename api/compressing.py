"""Answers made smaller on their way: text that is whole, for clients that take it so.

Streams go through as they are, event by event. Files are compressed by their own kind already, and
refusals are short. Sizes of compressed pages can betray what stands in them to those who choose a
part of it; the one secret that pages repeat is the token of their forms, and a form takes the
browser's word that it comes from this site beside it.
"""

from __future__ import annotations

import gzip
from functools import partial

from anyio.to_thread import run_sync
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["SMALLEST_BYTES", "Compression"]

SMALLEST_BYTES = 1000
"""Smaller answers fit into one packet either way."""
_TEXT = (
    "text/html",
    "text/css",
    "text/javascript",
    "text/csv",
    "text/plain",
    "application/json",
    "application/problem+json",
    "application/sarif+json",
    "application/xml",
    "image/svg+xml",
)
# Beyond it, others would wait for the compression if it were not done in a thread.
_AT_ONCE_BYTES = 64 * 1024
_LEVEL = 5


class Compression:
    """Middleware that compresses whole answers of text.

    Args:
        app: The application behind.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and make its answer smaller."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await self._app(scope, receive, _Answer(send, takes_gzip(Headers(scope=scope))).send)


def takes_gzip(headers: Headers) -> bool:
    """Return whether a client says that it reads gzip."""
    for one in headers.get("accept-encoding", "").split(","):
        name, _, weight = one.partition(";")
        if name.strip().lower() in ("gzip", "*"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


class _Answer:
    """Holds back the beginning of an answer until it is known whether all of it is there."""

    def __init__(self, send: Send, wanted: bool) -> None:
        self._send = send
        self._wanted = wanted
        self._start: Message | None = None

    async def send(self, message: Message) -> None:
        """Take a message of the application."""
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            if _is_good(message) and _is_text(headers) and "content-encoding" not in headers:
                headers.add_vary_header("Accept-Encoding")
                if self._wanted:
                    self._start = message
                    return
        elif self._start is not None:
            start, self._start = self._start, None
            body = message.get("body", b"")
            if len(body) >= SMALLEST_BYTES and not message.get("more_body", False):
                message = {**message, "body": await _compressed(body)}
                headers = MutableHeaders(scope=start)
                headers["Content-Encoding"] = "gzip"
                headers["Content-Length"] = str(len(message["body"]))
            await self._send(start)
        await self._send(message)


def _is_good(start: Message) -> bool:
    status: int = start["status"]
    return status < 300


def _is_text(headers: Headers) -> bool:
    return headers.get("content-type", "").partition(";")[0].strip() in _TEXT


async def _compressed(body: bytes) -> bytes:
    work = partial(gzip.compress, body, _LEVEL, mtime=0)
    return work() if len(body) <= _AT_ONCE_BYTES else await run_sync(work)
