"""What clients and browsers may keep, and answers that they have already.

Whatever says nothing about itself is not to be stored: that holds for every secret. What can be
read again carries an ETag, and a client that has it is answered 304. What finished jobs found never
changes, so that it need not even be asked for again.
"""

from __future__ import annotations

import hashlib
from typing import Any

from fastapi import Depends, Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.services import ServicesDependency
from store.errors import NotFoundError
from store.job_tables import JobRow
from store.states import FINAL_STATES

__all__ = ["Caching", "FinalResult", "state_tag"]

_SCOPE = "tightrope.cache_control"
_IMMUTABLE = "private, max-age=86400, immutable"
_REVALIDATE = "private, no-cache"
_NEVER = "no-store"
_LARGEST_TAGGED_BYTES = 4 * 2**20
_KEPT_FOR_304 = ("etag", "cache-control", "vary", "x-request-id")


def state_tag(job: JobRow, *more: object) -> str:
    """Return the tag of an answer by the state that its job is in.

    Not by its text: that tells how long the job will take, which is another at every moment.

    Args:
        job: Of what is shown.
        more: What else may change before the job does.
    """
    seen = (
        job.state, job.done, job.total, job.parked, job.cancel_requested, job.cached, job.attempts,
        job.started_at, job.finished_at, *more,
    )  # fmt: skip
    return _tag(repr(seen).encode())


def _mark_final(request: Request, services: ServicesDependency) -> None:
    """Let the answer be kept where its job is finished, as it was before the answer was made."""
    identifier = next(value for name, value in request.path_params.items() if name.endswith("_id"))
    try:
        final = services.jobs.get(identifier).state in FINAL_STATES
    except NotFoundError:
        return  # the route says so
    if final:
        request.scope[_SCOPE] = _IMMUTABLE


FinalResult: Any = Depends(_mark_final)
"""Dependency of routes, after `needs(…)`, whose answer never changes once their job is finished."""


def _tag(content: bytes) -> str:
    return f'W/"{hashlib.sha256(content).hexdigest()[:32]}"'


class Caching:
    """Middleware that adds tags and what may be kept, and answers 304.

    Args:
        app: The application behind.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and complete its answer."""
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        answer = _Answer(scope, send)
        await self._app(scope, receive, answer.send)


class _Answer:
    """Holds back the beginning of answers to reads until their tag is known."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._start: Message | None = None
        self._known = False

    async def send(self, message: Message) -> None:
        """Take a message of the application."""
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            if self._may_be_tagged(message, headers):
                self._start = message
                return
            headers.setdefault("Cache-Control", _NEVER)
        elif message["type"] == "http.response.body" and self._start is not None:
            start, self._start = self._start, None
            await self._complete(start, message)
            return
        if not self._known:
            await self._send(message)

    def _may_be_tagged(self, start: Message, headers: Headers) -> bool:
        """Return whether an answer may be kept, under a tag that it has or gets."""
        return (
            self._scope["method"] == "GET"
            and start["status"] == 200
            and headers.get("cache-control") is None
        )

    async def _complete(self, start: Message, body: Message) -> None:
        headers = MutableHeaders(scope=start)
        whole = not body.get("more_body", False)
        content = body.get("body", b"")
        if "etag" not in headers and whole and len(content) <= _LARGEST_TAGGED_BYTES:
            headers["ETag"] = _tag(content)
        headers["Cache-Control"] = self._scope.get(_SCOPE, _REVALIDATE)
        headers.add_vary_header("Authorization, Cookie")
        if _matches(Headers(scope=self._scope).get("if-none-match"), headers.get("etag")):
            self._known = True  # what is left of it stays here
            kept = [
                (name, value) for name, value in start["headers"] if name.decode() in _KEPT_FOR_304
            ]
            await self._send({"type": "http.response.start", "status": 304, "headers": kept})
            await self._send({"type": "http.response.body", "body": b""})
            return
        await self._send(start)
        await self._send(body)


def _matches(wanted: str | None, tag: str | None) -> bool:
    """Return whether a client has what has this tag; weak tags are compared as strong ones."""
    if wanted is None or tag is None:
        return False
    known = {one.strip().removeprefix("W/") for one in wanted.split(",")}
    return "*" in known or tag.removeprefix("W/") in known
