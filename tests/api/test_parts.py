"""Small parts of the API on their own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from api.limits import BodyLimit
from api.pagination import after_index, before_id, encode, newest, split
from api.problems import ApiError
from api.receiving import clean_name
from api.replaying import replay_of
from api.schemas.certifications import CertificationCreate
from store.idempotency import Replay
from store.identifiers import new_identifier


@given(st.integers(0, 2**31 - 1))
def test_cursors_lead_back(index: int) -> None:
    assert after_index(encode(str(index))) == index
    identifier = new_identifier("net")
    assert before_id(encode(identifier)) == identifier


@given(st.text(max_size=40))
def test_no_text_breaks_a_cursor(text: str) -> None:
    for decode in (before_id, after_index):
        try:
            decode(text)
        except ApiError as error:
            assert error.name == "ValidationError"
            assert "cursor" in str(error)


def test_no_cursor_is_the_start() -> None:
    assert before_id(None) is None
    assert after_index(None) == -1


@given(entries=st.lists(st.integers(0, 99), max_size=12), limit=st.integers(1, 5))
def test_pages_cover_everything_once(entries: list[int], limit: int) -> None:
    found: list[int] = []
    start = 0
    while True:
        page, cursor = split(entries[start : start + limit + 1], limit, str)
        found += page
        start += len(page)
        if cursor is None:
            break
        assert after_index(cursor) == page[-1]
        assert len(page) == limit
    assert found == entries


@given(count=st.integers(0, 12), limit=st.integers(1, 5))
def test_lists_of_the_store_are_paged_to_their_end(count: int, limit: int) -> None:
    kept = sorted((new_identifier("job") for _ in range(count)), reverse=True)

    def older(*, limit: int, before: str | None) -> list[str]:
        return [one for one in kept if before is None or one < before][:limit]

    found: list[str] = []
    cursor: str | None = None
    while True:
        page, cursor = newest(older, limit, cursor, position=str)
        found += page
        if cursor is None:
            break
        assert len(page) == limit
    assert found == kept


@given(st.text(max_size=300))
@example(".\x1f")
def test_names_are_always_usable(text: str) -> None:
    name = clean_name(text)
    assert len(name) <= 200
    assert "/" not in name
    assert name not in (".", "..")
    assert name.isprintable()
    assert clean_name(name) == name or "\\" in name or ":" in name


def test_no_name_is_no_name() -> None:
    assert clean_name(None) == clean_name("") == clean_name("/") == ""


def create(**changes: object) -> CertificationCreate:
    ids = {"network_id": f"net_{'0' * 26}", "dataset_id": f"dat_{'0' * 26}"}
    return CertificationCreate.model_validate({**ids, "epsilon": 0.1, **changes})


def test_defaults_written_out_make_the_same_request() -> None:
    def replay(**changes: object) -> Replay | None:
        return replay_of("key", "POST /here", create(**changes))

    assert replay() == replay(norm="inf", seed=0, timeout_seconds=60.0)
    assert replay() != replay(epsilon=0.2)
    assert replay() != replay(reuse=False)
    assert replay_of(None, "POST /here", create()) is None


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_epsilon_is_finite_and_not_negative(epsilon: float) -> None:
    good = 0 <= epsilon < float("inf")
    if good:
        assert create(epsilon=epsilon).epsilon == epsilon
    else:
        with pytest.raises(ValidationError):
            create(epsilon=epsilon)


def through_limit(pieces: Sequence[bytes], *, announced: int | None) -> tuple[int, list[Message]]:
    """Send a body through the middleware; return how much arrived, and what was answered."""
    arrived = 0
    answered: list[Message] = []

    async def application(_scope: Scope, receive: Receive, _send: Send) -> None:
        nonlocal arrived
        more = True
        while more:
            message = await receive()
            arrived += len(message["body"])
            more = message["more_body"]

    waiting = list(pieces)

    async def receive() -> Message:
        body = waiting.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(waiting)}

    async def send(message: Message) -> None:
        answered.append(message)

    headers = [] if announced is None else [(b"content-length", str(announced).encode())]
    scope = {"type": "http", "method": "POST", "path": "/small", "headers": headers}
    limit = BodyLimit(application, default_bytes=100, by_path={"/small": 10})
    asyncio.run(limit(scope, receive, send))
    return arrived, answered


def test_a_body_within_the_limit_passes() -> None:
    assert through_limit([b"12345", b"67890"], announced=10) == (10, [])
    assert through_limit([b"12345"], announced=None) == (5, [])


def test_an_announced_body_beyond_it_is_not_read() -> None:
    arrived, answered = through_limit([b"12345", b"678901"], announced=11)
    assert arrived == 0
    assert answered[0]["status"] == 413


@pytest.mark.parametrize("announced", [None, 5])
def test_a_body_that_grows_beyond_it_is_cut(announced: int | None) -> None:
    with pytest.raises(HTTPException, match="larger than the 10 bytes"):
        through_limit([b"12345", b"678901"], announced=announced)


def test_other_traffic_passes_untouched() -> None:
    seen: list[str] = []

    async def application(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["type"])

    async def nothing(*_: object) -> Message:
        return {}

    limit = BodyLimit(application, default_bytes=1, by_path={})
    asyncio.run(limit({"type": "lifespan"}, nothing, nothing))  # type: ignore[arg-type]
    assert seen == ["lifespan"]
