"""Reads pages of the dashboard, and what they rest on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
from sqlalchemy import event

from api.headers import DASHBOARD_POLICY
from tests.helpers.api import Api
from tests.helpers.pages import PageParser, parsed

BROWSER = {"Accept": "text/html,application/xhtml+xml"}


def shown(response: httpx.Response) -> PageParser:
    """Return a page, after a look at what holds for all of them."""
    assert response.status_code == 200, response.text[:400]
    assert response.headers["content-security-policy"] == DASHBOARD_POLICY
    found = parsed(response.text)
    refuse_inline(found)
    named = [attrs["id"] for _, attrs in found.tags if attrs.get("id")]
    assert len(named) == len(set(named))
    assert sum(tag == "h1" for tag, _ in found.tags) == 1
    return found


def refuse_inline(page: PageParser) -> None:
    """Check that nothing inside a page is what its policy forbids."""
    for tag, attrs in page.tags:
        assert tag != "style"
        assert "style" not in attrs, (tag, attrs)
        assert not [name for name in attrs if name.startswith("on")], (tag, attrs)
        if tag == "script":
            assert (attrs["src"] or "").startswith("/static/")
        if tag == "img":
            assert "alt" in attrs


def words(page: PageParser) -> str:
    """Return the text of a page with single spaces."""
    return re.sub(r"\s+", " ", " ".join(page.text))


def links(page: PageParser) -> list[str]:
    """Return where links and files of a page lead, without fragments."""
    found = [attrs.get("href") or attrs.get("src") or "" for _, attrs in page.tags]
    kept = [urlsplit(one) for one in found if one and not one.startswith(("#", "data:"))]
    return sorted({one.path + (f"?{one.query}" if one.query else "") for one in kept})


@contextmanager
def counted(api: Api) -> Iterator[list[str]]:
    """Yield the statements that the service runs inside the block."""
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    engine = api.app.state.services.database.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", note)
