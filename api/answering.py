"""Answers written out in the thread that made them.

FastAPI hands what a route without `async` returns to a second thread, to check that it is what the
route says, and writes it out in the event loop. Our routes return wire types, which were checked
when they were made. While every core is busy each hand-over may cost a turn of the scheduler, some
milliseconds; and nobody else should wait while a page of a hundred rows is written.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any

from fastapi import Response
from fastapi.routing import APIRoute
from pydantic import BaseModel

__all__ = ["DirectRoute"]


class DirectRoute(APIRoute):
    """A route whose answer is written out where it is made; give it to routers as `route_class`.

    Args:
        path: As any route's.
        endpoint: Returns a wire type, or an answer, or None.
        options: As any route's.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:  # noqa: ANN401
        if not iscoroutinefunction(endpoint) and not hasattr(endpoint, "__wrapped__"):
            endpoint = _written(endpoint, status=options.get("status_code") or 200)
        super().__init__(path, endpoint, **options)


def _written(endpoint: Callable[..., Any], *, status: int) -> Callable[..., Any]:
    @wraps(endpoint)
    def answer(**values: object) -> object:
        made = endpoint(**values)
        if not isinstance(made, BaseModel):
            return made
        written = Response(
            made.model_dump_json(by_alias=True), status_code=status, media_type="application/json"
        )
        for given in values.values():
            # What the route has set on the answer that it was given; that one is thrown away.
            if isinstance(given, Response):
                written.headers.raw.extend(given.headers.raw)
                written.status_code = given.status_code or status
        return written

    return answer
