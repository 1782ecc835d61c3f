"""Whoever has no key has nothing parsed, and announces no large bodies either."""

from __future__ import annotations

import socket

import pytest

from store.keys import Scope
from tests.api.checks import problem
from tests.helpers.api import Api

PATHS = ("/v1/certifications", "/v1/comparisons", "/v1/trainings", "/v1/keys", "/v1/networks")


def first_line(api: Api, path: str, *headers: str) -> str:
    """Return the status line of an answer to a request whose body never comes."""
    url = api.client.base_url
    head = [f"POST {path} HTTP/1.1", f"Host: {url.host}:{url.port}", *headers]
    with socket.create_connection((url.host, url.port or 80), timeout=20) as connection:
        connection.sendall("\r\n".join([*head, "", ""]).encode())
        return connection.makefile("rb").readline().decode().strip()


@pytest.mark.parametrize("path", PATHS)
def test_no_body_is_waited_for_without_a_key(guarded: Api, path: str) -> None:
    json = ("Content-Type: application/json", "Content-Length: 15000")
    assert " 401 " in first_line(guarded, path, *json)
    wrong = "Authorization: Bearer trk_wrong"
    assert " 401 " in first_line(guarded, path, wrong, *json)


def test_a_body_that_is_too_large_is_refused_before_anything_else(guarded: Api) -> None:
    json = ("Content-Type: application/json", "Content-Length: 1500000")
    assert " 413 " in first_line(guarded, "/v1/certifications", *json)


def test_what_is_wrong_with_a_body_is_for_those_with_a_key(guarded: Api) -> None:
    path, json = "/v1/certifications", {"content-type": "application/json"}
    refused = guarded.client.post(path, content=b"{", headers=json)
    problem(refused, 401, "asks for a key")
    key = {"Authorization": f"Bearer {guarded.key(Scope.SUBMIT).token}"}
    problem(guarded.client.post(path, content=b"{", headers={**json, **key}), 422)


def test_a_refusal_is_an_answer_like_all_others(guarded: Api) -> None:
    refused = guarded.client.post("/v1/certifications", json={})
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert refused.headers["cache-control"] == "no-store"
    assert refused.json()["instance"] == "/v1/certifications"
    assert guarded.client.post("/v1/nowhere", json={}).status_code == 401


def test_who_asks_is_found_out_once(guarded: Api) -> None:
    limited = guarded.key(Scope.SUBMIT)
    buckets = guarded.app.state.services.throttle
    taken: list[str] = []
    take = buckets.take

    def counted(name: str, rate: object) -> float:
        taken.append(name)
        return float(take(name, rate))

    buckets.take = counted
    try:
        sent = {"Authorization": f"Bearer {limited.token}"}
        assert guarded.client.post("/v1/certifications", json={}, headers=sent).status_code == 422
    finally:
        del buckets.take
    assert taken == [f"key:{limited.row.id}"]
