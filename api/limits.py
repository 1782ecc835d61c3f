"""Middleware that refuses bodies that are too large, announced or not, or nest too deeply."""

from __future__ import annotations

import re
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import answer, problem_of

__all__ = ["DEEPEST_JSON", "BodyLimit", "NestingLimit", "nests_deeper"]

DEEPEST_JSON = 32
"""Levels of a JSON body; what the interface describes has four."""

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_BRACKETS = b"[{]}"
_NO_BRACKETS = bytes(set(range(256)) - set(_BRACKETS))


class BodyLimit:
    """Counts what a client sends and stops it at the limit.

    Args:
        app: The application behind.
        default_bytes: Limit of every path.
        by_path: Other limits for some paths, in bytes.
    """

    def __init__(self, app: ASGIApp, *, default_bytes: int, by_path: Mapping[str, int]) -> None:
        self._app = app
        self._default_bytes = default_bytes
        self._by_path = by_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its body limited."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._by_path.get(scope["path"], self._default_bytes)
        detail = f"the body is larger than the {limit} bytes that this server takes here"
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdigit() and int(announced) > limit:
            problem = problem_of("TooLargeError", detail, instance=scope["path"])
            await answer(Request(scope), problem)(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                # Parsers pass this one on; the handlers make it a problem document.
                raise HTTPException(413, detail)
            return message

        await self._app(scope, counted, send)


class NestingLimit:
    """Refuses JSON of more levels than any request has, before it is parsed.

    Args:
        app: The application behind.
        depth: Most levels.
    """

    def __init__(self, app: ASGIApp, *, depth: int = DEEPEST_JSON) -> None:
        self._app = app
        self._depth = depth

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; the last piece of its body stays back where all of it is too deep."""
        if scope["type"] != "http" or not _may_be_json(scope):
            await self._app(scope, receive, send)
            return
        pieces: list[bytes] = []

        async def looked_at() -> Message:
            message = await receive()
            pieces.append(message.get("body", b""))
            if not message.get("more_body") and nests_deeper(b"".join(pieces), self._depth):
                raise HTTPException(400, f"the body nests deeper than {self._depth} levels")
            return message

        await self._app(scope, looked_at, send)


def _may_be_json(scope: Scope) -> bool:
    media_type = Headers(scope=scope).get("content-type", "").partition(";")[0].strip().lower()
    return media_type in ("", "application/json") or media_type.endswith("+json")


def nests_deeper(body: bytes, depth: int) -> bool:
    """Return whether brackets outside strings nest deeper than `depth`."""
    if body.count(b"[") + body.count(b"{") <= depth:
        return False
    level = 0
    for byte in _STRING.sub(b"", body).translate(None, _NO_BRACKETS):
        level += 1 if byte in b"[{" else -1
        if level > depth:
            return True
    return False
