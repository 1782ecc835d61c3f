"""Tables and pages among the answers: how routes describe them, and how they are sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse, PlainTextResponse

from api.problems import problems

__all__ = ["CSV", "as_csv", "as_page", "csv_answer"]

Route = TypeVar("Route", bound=Callable[..., Response])
CSV = "text/csv"


def as_csv(router: APIRouter, path: str, *, summary: str, meaning: str) -> Callable[[Route], Route]:
    """Return the decorator of a route that answers with a table.

    Args:
        router: Gets the route.
        path: Of the route.
        summary: Of the route, in a few words.
        meaning: Of the lines of the table.
    """
    good = {"description": meaning, "content": {CSV: {"schema": {"type": "string"}}}}
    return router.get(
        path,
        summary=summary,
        response_class=PlainTextResponse,
        responses={200: good, **problems(404)},
    )


def as_page(router: APIRouter, path: str, *statuses: int, summary: str) -> Callable[[Route], Route]:
    """Return the decorator of a route that answers with a page.

    Args:
        router: Gets the route.
        path: Of the route.
        statuses: Of the problems that it may answer with.
        summary: Of the route, in a few words.
    """
    return router.get(
        path,
        summary=summary,
        response_class=HTMLResponse,
        responses={200: {"description": "One self-contained page."}, **problems(*statuses)},
    )


def csv_answer(text: str, identifier: str) -> PlainTextResponse:
    """Return a table as a file that is named after what it is about."""
    headers = {"Content-Disposition": f'attachment; filename="{identifier}.csv"'}
    return PlainTextResponse(text, media_type=CSV, headers=headers)
