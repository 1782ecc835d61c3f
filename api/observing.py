"""Middleware that lets every request be found again: its id, its line in the log, its time."""

from __future__ import annotations

import logging
import re
import secrets
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.metrics import Metrics
from api.waiting import HELD_SECONDS
from worker.logs import request_logged
from worker.tracing import Tracing

__all__ = ["REQUEST_ID", "Observation"]

logger = logging.getLogger("api.access")

REQUEST_ID = "X-Request-ID"
_USABLE = re.compile(r"[A-Za-z0-9._:/+=-]{1,100}")
# Asked again and again, by pollers and pages.
_READING = frozenset({"GET", "HEAD"})


class Observation:
    """Gives requests an id, or keeps the one they come with; notes what became of them.

    Streams and held requests count with the time until their answer began, less that for which
    they were held on purpose.

    Args:
        app: The application behind.
        metrics: Of this process.
        tracing: Of this process.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, tracing: Tracing) -> None:
        self._app = app
        self._metrics = metrics
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and note its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope)
        request_id = given.get(REQUEST_ID, "")
        if not _USABLE.fullmatch(request_id):
            request_id = f"req_{secrets.token_hex(12)}"
        span = self._tracing.span(
            f"{scope['method']} request",
            parent=given.get("traceparent"),
            path=scope["path"],
            request_id=request_id,
        )
        with request_logged(request_id), span:
            await self._observe(scope, receive, send, request_id)

    async def _observe(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        began = time.perf_counter()
        status, seconds = 500, None

        async def note_start(message: Message) -> None:
            nonlocal status, seconds
            if message["type"] == "http.response.start":
                status, seconds = message["status"], time.perf_counter() - began
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        try:
            await self._app(scope, receive, note_start)
        finally:
            if seconds is None:
                seconds = time.perf_counter() - began
            self._note(scope, status, max(seconds - scope.get(HELD_SECONDS, 0.0), 0.0))

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        # Paths that nothing serves share one label: clients must not make up new ones.
        route = getattr(scope.get("route"), "path", "(none)")
        method = scope["method"] if route != "(none)" else "(any)"
        self._metrics.observe(method, route, status=status, seconds=seconds)
        looked = scope["method"] in _READING and status < 400
        level = logging.DEBUG if looked else logging.INFO
        logger.log(
            level,
            "%s %s %d %.1f ms",
            scope["method"],
            scope["path"],
            status,
            1000 * seconds,
            extra={
                "method": scope["method"],
                "path": scope["path"],
                "route": route,
                "status": status,
                "seconds": round(seconds, 6),
            },
        )
