"""Bodies that nest too deeply are refused before anything is built from them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.limits import DEEPEST_JSON, nests_deeper
from tests.helpers.api import Api

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='[]{}"\\ a', max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=20,
)


def depth_of(value: object) -> int:
    match value:
        case list():
            return 1 + max((depth_of(entry) for entry in value), default=0)
        case dict():
            return 1 + max((depth_of(entry) for entry in value.values()), default=0)
    return 0


@given(value=JSON, depth=st.integers(0, 6))
def test_the_depth_is_that_of_the_value(value: object, depth: int) -> None:
    assert nests_deeper(json.dumps(value).encode(), depth) == (depth_of(value) > depth)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_json_do_no_harm(body: bytes) -> None:
    assert nests_deeper(body, 0) in (True, False)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b'{"epsilon": ' + b"[" * (DEEPEST_JSON + 1) + b"]" * (DEEPEST_JSON + 1) + b"}",
    ],
)
def test_a_deep_body_is_a_problem_that_says_so(api: Api, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    for path in ("/v1/certifications", "/v1/comparisons", "/v1/trainings"):
        response = api.client.post(path, content=body[:19_000], headers=headers)
        assert response.status_code == 400
        assert response.json()["type"] == "urn:tightrope:problem:malformed-body"
        assert "nests deeper than 32 levels" in response.json()["detail"]


def test_brackets_inside_texts_do_not_count(api: Api) -> None:
    body = json.dumps({"network_id": "[" * 1000, "dataset_id": '\\"[[' * 100, "epsilon": 0.1})
    headers = {"content-type": "application/json"}
    response = api.client.post("/v1/certifications", content=body, headers=headers)
    assert response.json()["type"] == "urn:tightrope:problem:validation"


@pytest.mark.parametrize("body", [b"9" * 10_000, b'{"epsilon": 1e999999}', b"\xff\xfe[\0", b"NaN"])
def test_numbers_without_end_are_refused(api: Api, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    response = api.client.post("/v1/certifications", content=body, headers=headers)
    assert response.status_code in (400, 422)
    assert response.headers["content-type"] == "application/problem+json"
