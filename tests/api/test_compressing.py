"""Large answers of text are sent compressed to those who take them so; streams are not held up."""

from __future__ import annotations

import gzip
import json

import httpx
import pytest
from starlette.datastructures import Headers

from api.compressing import SMALLEST_BYTES, takes_gzip
from tests.helpers.api import Api
from tests.helpers.service import item

PLAIN = {"Accept-Encoding": "identity"}
GZIP = {"Accept-Encoding": "gzip"}


def raw(api: Api, path: str, headers: dict[str, str]) -> tuple[httpx.Response, bytes]:
    """Return an answer with its bytes as they were sent."""
    with api.client.stream("GET", path, headers=headers) as response:
        return response, b"".join(response.iter_raw())


def large(api: Api) -> str:
    """Store a certification whose pages are large and return its id."""
    row = api.world.certify(range(400))
    assert api.world.jobs.claim(row.id, "somebody")
    for index in range(400):
        api.world.certifications.add_item(row.id, "somebody", item(index))
    return row.id


def test_pages_and_documents_are_compressed(api: Api) -> None:
    name = large(api)
    for path in (f"/certifications/{name}", f"/v1/certifications/{name}/items",
                 "/static/dashboard.css", "/static/dashboard.js", "/openapi.json"):  # fmt: skip
        whole, plain = raw(api, path, PLAIN)
        small, sent = raw(api, path, GZIP)
        assert "content-encoding" not in whole.headers
        assert small.headers["content-encoding"] == "gzip"
        assert int(small.headers["content-length"]) == len(sent) < len(plain) / 2
        for response in (whole, small):
            assert "Accept-Encoding" in response.headers["vary"]
        if "items" in path or "openapi" in path:
            assert json.loads(gzip.decompress(sent)) == json.loads(plain)
        else:
            assert len(gzip.decompress(sent)) == len(plain)


def test_what_is_small_stays_as_it_is(api: Api) -> None:
    response, sent = raw(api, "/healthz", GZIP)
    assert len(sent) < SMALLEST_BYTES
    assert "content-encoding" not in response.headers


def test_what_is_known_is_not_sent_again(api: Api) -> None:
    path = f"/v1/certifications/{large(api)}/items"
    first, _ = raw(api, path, GZIP)
    again, sent = raw(api, path, {**GZIP, "If-None-Match": first.headers["etag"]})
    assert (again.status_code, sent) == (304, b"")


def test_files_are_not_compressed_twice(api: Api) -> None:
    response, _ = raw(api, f"/v1/networks/{api.world.network}/file", GZIP)
    assert "content-encoding" not in response.headers


def test_streams_are_not_held_up(api: Api) -> None:
    row = api.world.certify(range(3))
    with api.client.stream("GET", f"/v1/jobs/{row.id}/events", headers=GZIP) as stream:
        assert "content-encoding" not in stream.headers
        lines = stream.iter_lines()
        assert api.world.jobs.claim(row.id, "somebody")
        for index in range(3):
            api.world.certifications.add_item(row.id, "somebody", item(index))
            # The next answer is not added before the stream has told of this one.
            told = next(line for line in lines if f'"index":{index}' in line)
            assert "verified" in told


@pytest.mark.parametrize(("said", "takes"), [
    ("gzip", True), ("br, GZIP;q=0.5", True), ("*", True), ("deflate", False), ("", False),
    ("gzip;q=0", False), ("gzip; q=0.0, *", False),
])  # fmt: skip
def test_who_takes_it(said: str, takes: bool) -> None:
    assert takes_gzip(Headers({"accept-encoding": said})) == takes
