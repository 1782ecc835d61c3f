"""The page of the interface says what the document says, and loads nothing from elsewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from api.reference import groups_of, types_of
from tests.helpers.api import Api

DOCUMENT: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "docs" / "openapi.json").read_text(encoding="utf-8")
)
METHODS = {"get", "post", "put", "patch", "delete"}


def test_every_operation_is_shown_once() -> None:
    stated = {
        operation["operationId"]
        for path in DOCUMENT["paths"].values()
        for method, operation in path.items()
        if method in METHODS
    }
    shown = [operation.anchor for group in groups_of(DOCUMENT) for operation in group.operations]
    assert sorted(shown) == sorted(stated)
    assert all(group.operations and group.text for group in groups_of(DOCUMENT))


def test_an_operation_says_what_it_takes() -> None:
    by_name = {one.anchor: one for group in groups_of(DOCUMENT) for one in group.operations}
    asked = by_name["create_certification"]
    assert (asked.method, asked.path) == ("POST", "/v1/certifications")
    assert (asked.scope, asked.body) == ("submit", "CertificationCreate")
    assert json.loads(asked.example)["epsilon"] >= 0
    assert {"202", "422"} <= dict(asked.answers).keys()
    status = by_name["get_job"]
    (wait,) = [entry for entry in status.parameters if entry.name == "wait"]
    assert (wait.place, wait.kind, wait.required) == ("query", "number", False)
    assert wait.text.startswith("Hold the answer")


def test_types_tell_their_fields() -> None:
    types = {one.name: one for one in types_of(DOCUMENT)}
    fields = {field.name: field for field in types["JobPublic"].fields}
    assert fields["state"].kind.startswith('"queued" | "running"')
    assert fields["progress"].kind == "Progress"
    assert fields["started_at"].kind == "date-time or null"
    assert fields["id"].required
    assert {field.name: field.kind for field in types["JobPage"].fields}["items"] == (
        "array of JobPublic"
    )


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({}, "any value"),
        ({"const": "inf"}, '"inf"'),
        ({"type": "array"}, "array"),
        (
            {"anyOf": [{"type": "integer"}, {"type": "integer"}, {"type": "null"}]},
            "integer or null",
        ),
    ],
)
def test_types_in_words(schema: dict[str, Any], kind: str) -> None:
    components = {"components": {"schemas": {"One": {"properties": {"field": schema}}}}}
    assert types_of(components)[0].fields[0].kind == kind


def test_the_page_loads_nothing_from_elsewhere(api: Api) -> None:
    response = api.client.get("/docs")
    assert response.status_code == 200
    assert "https://" not in response.headers["content-security-policy"]
    sources = re.findall(r'(?:src|href)="([^"]+)"', response.text)
    assert sources
    assert all(source.startswith(("/", "#")) for source in sources)
    assert "<code>POST /v1/certifications</code>" in response.text
    assert 'id="type-JobPublic"' in response.text
