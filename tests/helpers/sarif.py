"""The part of SARIF 2.1.0 that reports use, with what GitHub's code scanning asks for besides.

Section numbers are those of the standard (OASIS, SARIF 2.1.0).
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote, urlsplit

import jsonschema_rs

_TEXT = {"type": "string", "minLength": 1}
_LEVEL = {"enum": ["none", "note", "warning", "error"]}


def _object(required: dict[str, Any], **optional: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object that has nothing else."""
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


def _list(entries: dict[str, Any], least: int = 0) -> dict[str, Any]:
    return {"type": "array", "items": entries, "minItems": least}


_MESSAGE = _object({"text": _TEXT})  # 3.11
_ARTIFACT_LOCATION = _object({"uri": _TEXT}, uriBaseId=_TEXT)  # 3.4
# GitHub shows nothing without a region.
_LOCATION = _object(
    {
        "physicalLocation": _object(
            {
                "artifactLocation": _ARTIFACT_LOCATION,
                "region": _object({"startLine": {"type": "integer", "minimum": 1}}),
            }
        )
    },
    logicalLocations=_list(_object({"name": _TEXT}, kind={"const": "resource"})),  # 3.33.7
)  # 3.28
_RULE = _object(
    {
        "id": _TEXT,
        "shortDescription": _MESSAGE,
        "fullDescription": _MESSAGE,
        "help": _MESSAGE,
    },
    name={"type": "string", "pattern": "^[A-Za-z]+$"},
    defaultConfiguration=_object({"level": _LEVEL}),
    properties=_object({"tags": _list(_TEXT)}),
)  # 3.49; GitHub requires the texts
_RESULT = _object(
    {
        "ruleId": _TEXT,
        "message": _MESSAGE,
        "locations": {**_list(_LOCATION, 1), "maxItems": 10},
        "partialFingerprints": {
            "type": "object",
            "properties": {"primaryLocationLineHash": {"pattern": "^[0-9a-f]{16}:1$"}},
            "required": ["primaryLocationLineHash"],
            "additionalProperties": _TEXT,
        },
    },
    ruleIndex={"type": "integer", "minimum": 0},
    level=_LEVEL,
    properties={"type": "object"},
)  # 3.27
_INVOCATION = _object(
    {"executionSuccessful": {"type": "boolean"}},
    startTimeUtc={"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"},
    toolExecutionNotifications=_list(_object({"message": _MESSAGE}, level=_LEVEL)),
)  # 3.20
_RUN = _object(
    {
        "tool": _object({"driver": _object({"name": _TEXT}, version=_TEXT, rules=_list(_RULE, 1))}),
        "results": {**_list(_RESULT), "maxItems": 25_000},
    },
    automationDetails=_object({"id": {"type": "string", "pattern": "/$"}}),
    invocations=_list(_INVOCATION),
    artifacts=_list(
        _object(
            {"location": _ARTIFACT_LOCATION},
            hashes={"type": "object", "additionalProperties": _TEXT},
        )
    ),
    columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
)  # 3.14
SCHEMA = _object(
    {"version": {"const": "2.1.0"}, "runs": {**_list(_RUN, 1), "maxItems": 20}},
    **{"$schema": {"type": "string", "format": "uri"}},
)  # 3.13


def check_sarif(text: str) -> dict[str, Any]:
    """Check a log against the schema and the rules between its parts; return its one run."""
    log = json.loads(text)
    jsonschema_rs.validate(SCHEMA, log)
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    ids = [rule["id"] for rule in rules]
    assert len(ids) == len(set(ids))  # 3.49.3
    prints = []
    for result in run["results"]:
        # 3.27.6: the index leads to the rule of that id.
        assert ids[result["ruleIndex"]] == result["ruleId"]
        for location in result["locations"]:
            check_uri(location["physicalLocation"]["artifactLocation"]["uri"])
        prints.append(result["partialFingerprints"]["primaryLocationLineHash"])
    assert len(prints) == len(set(prints)), "alerts are told apart by their fingerprints"
    return dict(run)


def check_uri(uri: str) -> None:
    """Check that a URI is relative, encoded, and stays in the repository (3.4.3, 3.10)."""
    parts = urlsplit(uri)
    assert uri.isascii()
    assert not any(letter.isspace() for letter in uri)
    assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("", "", "", "")
    assert not parts.path.startswith("/")
    assert ".." not in unquote(parts.path).split("/")
