"""Middleware that finds out who asks before anything of a body is read."""

from __future__ import annotations

from fastapi import Request
from sqlalchemy.exc import SQLAlchemyError
from starlette.types import ASGIApp, Receive, Scope, Send

from api.principal import identify
from api.problems import ApiError, problem_of, problem_response
from api.services import Services

__all__ = ["Admission"]

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Admission:
    """Refuses what changes something, unless it comes with a key that is good.

    The framework parses a body before it asks what its route takes; nobody without a key is to make
    it parse megabytes. Which scope it takes is the route's to say, as ever.

    Args:
        app: The application behind.
        services: Of the whole installation.
    """

    def __init__(self, app: ASGIApp, *, services: Services) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, together with who sent it."""
        if scope["type"] == "http" and _brings_body(scope):
            try:
                await identify(Request(scope), self._services)
            except ApiError as error:
                problem = problem_of(error.name, str(error), instance=scope["path"])
                await problem_response(problem, error.headers)(scope, receive, send)
                return
            except SQLAlchemyError:
                pass  # the route asks again, and what it meets becomes a problem document
        await self._app(scope, receive, send)


def _brings_body(scope: Scope) -> bool:
    """Return whether a request is one of programs that may bring a body."""
    return scope["method"] not in _SAFE_METHODS and scope["path"].startswith("/v1/")
