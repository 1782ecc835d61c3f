"""Middleware that refuses bodies that are too large, announced or not."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem_of, problem_response

__all__ = ["BodyLimit"]


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
            await problem_response(problem)(scope, receive, send)
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
