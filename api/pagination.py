"""Pages of lists: a limit, and a cursor that says where the last page ended."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Annotated, Protocol, TypeVar

from fastapi import Query

from api.problems import ApiError
from store.identifiers import is_identifier

__all__ = [
    "CursorParameter",
    "LimitParameter",
    "Newest",
    "after_index",
    "before_id",
    "encode",
    "newest",
    "split",
]

Entry = TypeVar("Entry")
Listed_co = TypeVar("Listed_co", covariant=True)
_INDEX = re.compile(r"[0-9]{1,10}")

LimitParameter = Annotated[int, Query(ge=1, le=1000, description="Entries of one page.")]
CursorParameter = Annotated[
    str | None, Query(max_length=100, description="`next_cursor` of the page before.")
]


def encode(position: str) -> str:
    """Return a cursor; clients pass it back and do not look inside."""
    return base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")


def _decode(cursor: str, valid: Callable[[str], object]) -> str:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        position = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        position = ""
    if not valid(position):
        raise ApiError(
            "ValidationError",
            f"query.cursor: {cursor!r} is not a cursor; pass `next_cursor` of the page before",
        )
    return position


def before_id(cursor: str | None) -> str | None:
    """Return the id that a list goes on after.

    Raises:
        ApiError: It is no cursor.
    """
    return None if cursor is None else _decode(cursor, is_identifier)


def after_index(cursor: str | None) -> int:
    """Return the index that items go on after; −1 at the start.

    Raises:
        ApiError: It is no cursor.
    """
    return -1 if cursor is None else int(_decode(cursor, _INDEX.fullmatch))


def split(
    entries: Sequence[Entry], limit: int, position: Callable[[Entry], str]
) -> tuple[Sequence[Entry], str | None]:
    """Return a page, and the cursor of the next one.

    Args:
        entries: One more than the page holds, if there are so many.
        limit: Entries of a page.
        position: What a cursor keeps of an entry.
    """
    page = entries[:limit]
    return page, encode(position(page[-1])) if len(entries) > limit else None


class Newest(Protocol[Listed_co]):
    """Reads entries of the store, the newest first."""

    def __call__(self, *, limit: int, before: str | None) -> Sequence[Listed_co]:
        """Return at most `limit` of them, older than the one with the id `before`."""


def newest(
    entries: Newest[Entry],
    limit: int,
    cursor: str | None,
    *,
    position: Callable[[Entry], str] = attrgetter("id"),
) -> tuple[Sequence[Entry], str | None]:
    """Return a page of what the store lists, and the cursor of the next one.

    Args:
        entries: Reads them.
        limit: Entries of a page.
        cursor: Where the page before ended; None at the start.
        position: The id of an entry.

    Raises:
        ApiError: It is no cursor.
    """
    return split(entries(limit=limit + 1, before=before_id(cursor)), limit, position)
