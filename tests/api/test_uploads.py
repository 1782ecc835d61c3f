"""Networks and data sets: in, out, and bad ones refused without a trace."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.checks import problem
from tests.helpers.api import Api
from tests.helpers.service import DATASET_DETAILS, NETWORK_DETAILS
from tests.store.test_blobs import files

RAW = {"content-type": "application/octet-stream"}
# Layers are for pages: a list of networks would be hundreds of kilobytes of them.
TOLD = {name: value for name, value in NETWORK_DETAILS.items() if name != "layers"}
KINDS = [("networks", "net_", TOLD), ("datasets", "dat_", DATASET_DETAILS)]


@pytest.mark.parametrize(("path", "prefix", "details"), KINDS)
def test_a_raw_body_is_stored(api: Api, path: str, prefix: str, details: dict[str, object]) -> None:
    response = api.client.post(f"/v1/{path}?name=mine", content=b"content", headers=RAW)
    assert response.status_code == 201, response.text
    made = response.json()
    assert made["id"].startswith(prefix)
    assert made["name"] == "mine"
    assert made["size_bytes"] == 7
    assert details.items() <= made.items()
    assert "layers" not in made
    assert response.headers["location"] == f"/v1/{path}/{made['id']}"
    assert api.client.get(response.headers["location"]).json() == made
    download = api.client.get(f"/v1/{path}/{made['id']}/file")
    assert download.content == b"content"
    assert "mine" in download.headers["content-disposition"]
    listed = api.client.get(f"/v1/{path}").json()
    assert listed["items"][0] == made
    assert listed["next_cursor"] is None


@pytest.mark.parametrize(
    ("filename", "name"),
    [
        ("net.onnx", "net.onnx"),
        ("../../etc/passwd", "passwd"),
        ("C:\\nets\\a b.onnx", "a b.onnx"),
        ("größe.onnx", "größe.onnx"),
        ("..", "network.onnx"),
    ],
)
def test_a_form_gives_its_file_name(api: Api, filename: str, name: str) -> None:
    response = api.client.post("/v1/networks", files={"file": (filename, b"content")})
    assert response.status_code == 201, response.text
    assert response.json()["name"] == name


def test_the_same_file_again_is_the_same_resource(api: Api) -> None:
    first = api.client.post("/v1/networks", content=b"content", headers=RAW)
    again = api.client.post("/v1/networks", content=b"content", headers=RAW)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    other = api.client.post("/v1/networks?name=other", content=b"content", headers=RAW)
    assert other.json()["id"] != first.json()["id"]
    assert len(api.inspector.seen) == 1


def test_a_key_replays_an_upload(api: Api) -> None:
    headers = {**RAW, "Idempotency-Key": "k1"}
    first = api.client.post("/v1/networks", content=b"content", headers=headers)
    again = api.client.post("/v1/networks", content=b"content", headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    other = api.client.post("/v1/networks", content=b"other", headers=headers)
    problem(other, 422, "k1", "different request")
    assert len(api.client.get("/v1/networks").json()["items"]) == 2


def test_a_bad_file_leaves_nothing(api: Api) -> None:
    before = files(api.world.settings.blob_dir)
    response = api.client.post("/v1/networks?name=odd.onnx", content=b"BAD", headers=RAW)
    document = problem(response, 422, "odd.onnx: node 'a' is odd")
    assert document["type"] == "urn:tightrope:problem:unsupported-operator"
    assert document["errors"] == [
        {"location": "a", "message": "operator Einsum is not supported: it is odd"},
        {"location": "b", "message": "operator Det is not supported"},
    ]
    assert len(api.client.get("/v1/networks").json()["items"]) == 1
    assert files(api.world.settings.blob_dir) == before


@pytest.mark.parametrize("body", [b"", b"x"])
def test_a_body_of_no_known_type_is_refused(api: Api, body: bytes) -> None:
    for headers in ({}, {"content-type": "text/plain"}):
        response = api.client.post("/v1/networks", content=body, headers=headers)
        problem(response, 415, "application/octet-stream", "multipart/form-data")


def test_an_empty_file_is_refused(api: Api) -> None:
    problem(api.client.post("/v1/datasets", content=b"", headers=RAW), 422, "empty")
    problem(api.client.post("/v1/datasets", files={"file": ("d.npz", b"")}), 422, "empty")


def test_a_form_without_the_file_is_refused(api: Api) -> None:
    problem(api.client.post("/v1/networks", files={"other": ("n", b"x")}), 422, "body.file")
    two = [("file", ("a", b"x")), ("file", ("b", b"y"))]
    problem(api.client.post("/v1/networks", files=two), 400, "Too many files")
    headers = {"content-type": "multipart/form-data"}
    problem(api.client.post("/v1/networks", content=b"x", headers=headers), 400, "boundary")


def test_a_large_file_is_refused_announced_or_not(api: Api) -> None:
    large = b"x" * 300_000

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(large), 10_000):
            yield large[start : start + 10_000]

    before = files(api.world.settings.blob_dir)
    problem(api.client.post("/v1/networks", content=large, headers=RAW), 413, "200000 bytes")
    problem(api.client.post("/v1/networks", content=pieces(), headers=RAW), 413, "200000 bytes")
    problem(api.client.post("/v1/networks", files={"file": ("n", large)}), 413, "200000 bytes")
    body = {"content-type": "application/json"}
    large_json = b'{"x": "' + b"x" * 30_000 + b'"}'
    problem(
        api.client.post("/v1/certifications", content=large_json, headers=body), 413, "20000 bytes"
    )
    assert files(api.world.settings.blob_dir) == before


def test_a_full_disk_is_a_problem_and_leaves_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(api.world.settings.blob_dir)

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("store.blobs.os.fsync", full)
        response = api.client.post("/v1/networks", content=b"content", headers=RAW)
        problem(response, 507, "disk is full")
    assert files(api.world.settings.blob_dir) == before
    assert len(api.client.get("/v1/networks").json()["items"]) == 1


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 201, "\x00"])
def test_an_odd_name_is_refused(api: Api, name: str) -> None:
    response = api.client.post("/v1/networks", params={"name": name}, content=b"x", headers=RAW)
    problem(response, 422, "query.name")


@pytest.mark.parametrize("path", ["networks", "datasets"])
def test_deleting(api: Api, path: str) -> None:
    made = api.client.post(f"/v1/{path}", content=b"content", headers=RAW).json()
    url = f"/v1/{path}/{made['id']}"
    assert api.client.delete(url).status_code == 204
    problem(api.client.get(url), 404, made["id"])
    problem(api.client.get(f"{url}/file"), 404)
    problem(api.client.delete(url), 404)
    used = api.world.network if path == "networks" else api.world.dataset
    certification = api.world.finish()
    problem(api.client.delete(f"/v1/{path}/{used}"), 409, certification)


def test_pages_follow_each_other(api: Api) -> None:
    ids = [api.world.network]
    for index in range(4):
        response = api.client.post(f"/v1/networks?name=n{index}", content=b"x", headers=RAW)
        ids.append(response.json()["id"])
    found: list[str] = []
    cursor: str | None = None
    while True:
        params = {"limit": "2"} | ({} if cursor is None else {"cursor": cursor})
        page = api.client.get("/v1/networks", params=params).json()
        assert len(page["items"]) <= 2
        found += [entry["id"] for entry in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == ids[::-1]


@pytest.mark.parametrize("path", ["networks", "datasets"])
def test_a_content_is_found_by_its_hash(api: Api, path: str) -> None:
    made = [
        api.client.post(f"/v1/{path}?name={name}", content=b"content", headers=RAW).json()
        for name in ("one", "two")
    ]
    found = api.client.get(f"/v1/{path}", params={"sha256": made[0]["sha256"]}).json()
    assert [entry["id"] for entry in found["items"]] == [made[1]["id"], made[0]["id"]]
    nothing = api.client.get(f"/v1/{path}", params={"sha256": "0" * 64}).json()
    assert nothing == {"items": [], "next_cursor": None}
    refused = api.client.get(f"/v1/{path}", params={"sha256": "'; --"})
    problem(refused, 422, "query.sha256")


@pytest.mark.parametrize("cursor", ["x", "bmV0XzE", "é", "AAAA", "%00"])
def test_a_wrong_cursor_is_refused(api: Api, cursor: str) -> None:
    problem(api.client.get("/v1/networks", params={"cursor": cursor}), 422, "cursor")


def test_a_missing_blob_is_a_404_not_a_crash(api: Api) -> None:
    row = api.world.networks.get(api.world.network)
    Path(api.world.networks.path(row)).unlink()
    problem(api.client.get(f"/v1/networks/{row.id}/file"), 404, row.sha256)


def test_layers_are_noted_when_an_older_upload_comes_again(api: Api) -> None:
    old = {name: value for name, value in TOLD.items() if name != "neurons"}
    known = api.world.upload(api.world.networks, b"old", "old.onnx", old)
    assert api.client.get(f"/v1/networks/{known}").json()["neurons"] is None
    for _ in range(2):
        again = api.client.post("/v1/networks?name=old.onnx", content=b"old", headers=RAW)
        assert (again.status_code, again.json()["id"]) == (200, known)
        assert again.json()["neurons"] == 8
    assert len(api.inspector.seen) == 1
