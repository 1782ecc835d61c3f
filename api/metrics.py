"""Counts of requests, for Prometheus."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["MEDIA_TYPE", "Metrics", "RequestMetrics"]

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_Key = tuple[str, str, int]


class Metrics:
    """Counters of one process; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[_Key] = Counter()
        self._seconds: dict[_Key, float] = {}

    def observe(self, method: str, route: str, *, status: int, seconds: float) -> None:
        """Count one answered request."""
        key = (method, route, status)
        with self._lock:
            self._requests[key] += 1
            self._seconds[key] = self._seconds.get(key, 0.0) + seconds

    def render(self, jobs: Mapping[str, int]) -> str:
        """Return everything in Prometheus' text format.

        Args:
            jobs: Number of jobs by state.
        """
        with self._lock:
            requests, seconds = dict(self._requests), dict(self._seconds)
        lines = [
            "# HELP tightrope_jobs Jobs in the database.",
            "# TYPE tightrope_jobs gauge",
            *(f'tightrope_jobs{{state="{state}"}} {number}' for state, number in jobs.items()),
            "# HELP tightrope_http_request_duration_seconds Answered requests and their time.",
            "# TYPE tightrope_http_request_duration_seconds summary",
        ]
        for key, number in sorted(requests.items()):
            labels = f'{{method="{key[0]}",route="{key[1]}",status="{key[2]}"}}'
            name = "tightrope_http_request_duration_seconds"
            lines.append(f"{name}_count{labels} {number}")
            lines.append(f"{name}_sum{labels} {seconds[key]:.6f}")
        return "\n".join(lines) + "\n"


class RequestMetrics:
    """Middleware that counts every request under the route that answered it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and count its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 500

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note_status)
        finally:
            # Paths that nothing serves share one label: clients must not make up new ones.
            route = getattr(scope.get("route"), "path", "(none)")
            method = scope["method"] if route != "(none)" else "(any)"
            self._metrics.observe(method, route, status=status, seconds=time.perf_counter() - began)
