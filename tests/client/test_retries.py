"""What passes by is repeated, what stays is said, and nothing is done twice."""

from __future__ import annotations

import json
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from tests.client.conftest import KINDS, Clock, Either, Fake, perform
from tightrope_client import (
    AuthenticationError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    ProblemError,
    Question,
    RateLimitedError,
    RetryPolicy,
    ServerError,
    ServerUnreachableError,
    UnexpectedResponseError,
)
from tightrope_client.flows import TRANSIENT

NETWORK: dict[str, Any] = {
    "id": "net_1",
    "name": "n.onnx",
    "sha256": "ab" * 32,
    "size_bytes": 7,
    "created_at": "2030-01-31T12:00:00Z",
    "input_shape": [1, 4],
    "output_shape": [1, 3],
    "outputs": 3,
    "parameters": 67,
    "nodes": 4,
    "operators": {"Linear": 2},
    "notes": [],
}
GOOD = httpx.Response(200, json=NETWORK)
PROBLEM: dict[str, Any] = {
    "type": "urn:tightrope:problem:validation",
    "title": "The request is not valid",
    "detail": "body.epsilon: should be 0 or more",
    "errors": [{"location": "body.epsilon", "message": "should be 0 or more"}],
}


def get(client: Either) -> Either:
    return client.networks.get("net_1")


def problem(status: int, **headers: str) -> httpx.Response:
    return httpx.Response(status, json={**PROBLEM, "status": status}, headers=headers)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", sorted(TRANSIENT))
def test_a_passing_trouble_is_waited_out(kind: str, status: int, clock: Clock) -> None:
    said: list[tuple[str, float]] = []
    server = Fake(problem(status), httpx.Response(status), GOOD)
    found = perform(kind, server, get, notice=lambda why, seconds: said.append((why, seconds)))
    assert found.id == "net_1"
    assert len(server.requests) == 3
    assert [seconds for _, seconds in said] == clock.slept
    assert all(str(int(status)) in why for why, _ in said)
    first, second = clock.slept
    assert 0.375 <= first <= 0.5
    assert 0.75 <= second <= 1.0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("cut off"),
    ],
)
def test_a_broken_connection_is_repeated(kind: str, error: Exception, clock: Clock) -> None:
    server = Fake(error, error, GOOD)
    assert perform(kind, server, get).name == "n.onnx"
    assert len(clock.slept) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_patience_has_an_end(kind: str, clock: Clock) -> None:
    server = Fake(httpx.ConnectError("refused"))
    with pytest.raises(ServerUnreachableError, match="refused; is the server running") as caught:
        perform(kind, server, get, retries=RetryPolicy(patience_seconds=10.0))
    assert "http://server.test/v1/networks/net_1" in str(caught.value)
    assert sum(clock.slept) <= 10.0
    assert len(server.requests) == len(clock.slept) + 1 > 4


@pytest.mark.parametrize("kind", KINDS)
def test_no_patience_is_one_attempt(kind: str, clock: Clock) -> None:
    server = Fake(problem(503))
    with pytest.raises(ServerError):
        perform(kind, server, get, retries=RetryPolicy(patience_seconds=0.0))
    assert (len(server.requests), clock.slept) == (1, [])


@pytest.mark.parametrize("kind", KINDS)
def test_the_server_says_when(kind: str, clock: Clock) -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=25), usegmt=True)
    waits = [{"retry-after": "7"}, {"retry-after": moment}, {"retry-after": "soon"}]
    server = Fake(*(problem(429, **headers) for headers in waits), GOOD)
    perform(kind, server, get)
    assert clock.slept[0] == 7.0
    assert 20.0 < clock.slept[1] <= 25.0
    assert clock.slept[2] <= 2.0


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_wants_more_time_than_there_is(kind: str, clock: Clock) -> None:
    server = Fake(problem(429, **{"retry-after": "3600"}))
    with pytest.raises(RateLimitedError) as caught:
        perform(kind, server, get)
    assert caught.value.retry_after_seconds == 3600.0
    assert (len(server.requests), clock.slept) == (1, [])


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_certificate_is_not_repeated(kind: str, clock: Clock) -> None:
    error = httpx.ConnectError("certificate verify failed")
    error.__cause__ = ssl.SSLCertVerificationError("self-signed certificate")
    server = Fake(error)
    with pytest.raises(ServerUnreachableError, match="certificate verify failed"):
        perform(kind, server, get)
    assert (len(server.requests), clock.slept) == (1, [])


@pytest.mark.parametrize("kind", KINDS)
def test_a_repeated_post_has_the_same_key_and_body(kind: str, clock: Clock) -> None:
    server = Fake(httpx.ReadTimeout("slow"), problem(503), problem(422))
    question = Question(dataset_id="dat_1", epsilon=0.1, count=3)
    for _ in range(2):
        with pytest.raises(InvalidRequestError):
            perform(kind, server, lambda client: client.certifications.create("net_1", question))
    keys = [request.headers["idempotency-key"] for request in server.requests]
    assert len(keys) == 4
    assert len(set(keys[:3])) == 1
    assert keys[3] != keys[0]
    assert {json.dumps(json.loads(request.content)) for request in server.requests} == {
        '{"network_id": "net_1", "dataset_id": "dat_1", "epsilon": 0.1, "count": 3}'
    }
    assert len(clock.slept) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_repeated_upload_is_sent_whole(kind: str, clock: Clock) -> None:
    content = b"onnx" * 200_000
    nothing = httpx.Response(200, json={"items": [], "next_cursor": None})
    server = Fake(nothing, problem(503), httpx.Response(201, json=NETWORK))
    perform(kind, server, lambda client: client.networks.upload(content, name="n.onnx"))
    _, *posts = server.requests
    assert [post.content for post in posts] == [content, content]
    assert [post.headers["content-length"] for post in posts] == ["800000"] * 2
    assert len({post.headers["idempotency-key"] for post in posts}) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_what_an_earlier_attempt_has_deleted_is_deleted(kind: str, clock: Clock) -> None:
    def delete(client: Either) -> Either:
        return client.networks.delete("net_1")

    assert perform(kind, Fake(httpx.ReadTimeout("slow"), problem(404)), delete) is None
    with pytest.raises(NotFoundError):
        perform(kind, Fake(problem(404)), delete)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, InvalidRequestError),
        (401, AuthenticationError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (409, ConflictError),
        (413, InvalidRequestError),
        (418, InvalidRequestError),
        (422, InvalidRequestError),
        (500, ServerError),
        (507, ServerError),
    ],
)
def test_what_is_refused_is_said_once(
    kind: str, status: int, error: type[ProblemError], clock: Clock
) -> None:
    server = Fake(problem(status))
    with pytest.raises(error) as caught:
        perform(kind, server, get)
    found = caught.value
    assert type(found) is error
    assert len(server.requests) == 1
    assert (found.status, found.kind) == (status, "validation")
    assert [(part.location, part.message) for part in found.parts] == [
        ("body.epsilon", "should be 0 or more")
    ]
    assert str(found) == (
        f"GET http://server.test/v1/networks/net_1 was refused ({status}): "
        "body.epsilon: should be 0 or more"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_proxy_says_is_told_as_that(kind: str, clock: Clock) -> None:
    page = httpx.Response(413, html="<h1>Request   Entity\nToo Large</h1>")
    with pytest.raises(InvalidRequestError) as caught:
        perform(kind, Fake(page), get)
    words = "something in front of the server answered: <h1>Request Entity Too Large</h1>"
    assert words in str(caught.value)
    assert caught.value.kind == "about:blank"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(200, html="<p>Welcome</p>"), "is this the address of a Tightrope server"),
        (httpx.Response(200, json={"id": "net_1"}), "name: Field required"),
        (httpx.Response(200, json=[]), "cannot be read"),
        (httpx.Response(301, headers={"location": "https://new.test"}), "leads to https://new"),
    ],
)
def test_an_answer_that_is_none_of_tightrope(
    kind: str, answer: httpx.Response, words: str, clock: Clock
) -> None:
    with pytest.raises(UnexpectedResponseError, match=words):
        perform(kind, Fake(answer), get)
