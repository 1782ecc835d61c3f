"""The OpenAPI document as its page shows it: operations by resource, and the types they name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Entry", "Group", "Operation", "TypeEntry", "groups_of", "types_of"]

_METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True)
class Entry:
    """A parameter, or a field of a type.

    Attributes:
        name: As it is written.
        kind: Its type in words; `types` has those that are named.
        place: `path`, `query` or `header`; empty for fields.
        required: Whether it has to be there.
        text: What it means.
    """

    name: str
    kind: str
    place: str
    required: bool
    text: str


@dataclass(frozen=True)
class Operation:
    """What can be done.

    Attributes:
        anchor: Its name, unlike every other's.
        method, path: Of HTTP.
        title: In few words.
        text: Paragraphs.
        scope: That the key needs; empty for none in particular.
        parameters: Beside the body.
        body: Type of the body in words; empty for none.
        example: Of the body, as JSON; empty for none.
        answers: Status, and what it means.
    """

    anchor: str
    method: str
    path: str
    title: str
    text: tuple[str, ...]
    scope: str
    parameters: tuple[Entry, ...]
    body: str
    example: str
    answers: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Group:
    """The operations of one kind of resource."""

    name: str
    text: str
    operations: tuple[Operation, ...]


@dataclass(frozen=True)
class TypeEntry:
    """A type of bodies and answers."""

    name: str
    text: str
    fields: tuple[Entry, ...]


def groups_of(document: Mapping[str, Any]) -> list[Group]:
    """Return every operation of a document, in the order of its tags."""
    found: dict[str, list[Operation]] = {tag["name"]: [] for tag in document["tags"]}
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                operation = _operation(document, path, method, item[method])
                found[item[method]["tags"][0]].append(operation)
    return [
        Group(tag["name"], tag["description"], tuple(found[tag["name"]]))
        for tag in document["tags"]
    ]


def types_of(document: Mapping[str, Any]) -> list[TypeEntry]:
    """Return the types that have fields, by name."""
    schemas: Mapping[str, Any] = document["components"]["schemas"]
    return [
        TypeEntry(name, schema.get("description", ""), tuple(_fields(schema)))
        for name, schema in sorted(schemas.items())
        if "properties" in schema
    ]


def _operation(
    document: Mapping[str, Any], path: str, method: str, stated: Mapping[str, Any]
) -> Operation:
    content = stated.get("requestBody", {}).get("content", {})
    schema: Mapping[str, Any] = next((one.get("schema", {}) for one in content.values()), {})
    named = str(schema.get("$ref", "")).rpartition("/")[2]
    full = document["components"]["schemas"].get(named, {})
    example = full.get("example") or next(iter(full.get("examples", [])), None)
    return Operation(
        anchor=stated["operationId"],
        method=method.upper(),
        path=path,
        title=stated["summary"],
        text=tuple(filter(None, stated.get("description", "").split("\n\n"))),
        scope=next((scope for one in stated.get("security", []) for scope in _scopes(one)), ""),
        parameters=tuple(_parameter(one) for one in stated.get("parameters", [])),
        body=named or ", ".join(content),
        example="" if example is None else json.dumps(example, indent=2, ensure_ascii=False),
        answers=tuple(
            (status, answer["description"]) for status, answer in stated["responses"].items()
        ),
    )


def _scopes(requirement: Mapping[str, list[str]]) -> Iterator[str]:
    for scopes in requirement.values():
        yield from scopes


def _parameter(stated: Mapping[str, Any]) -> Entry:
    return Entry(
        name=stated["name"],
        kind=_kind(stated["schema"]),
        place=stated["in"],
        required=stated.get("required", False),
        text=stated.get("description", ""),
    )


def _fields(schema: Mapping[str, Any]) -> Iterator[Entry]:
    required = schema.get("required", ())
    for name, field in schema["properties"].items():
        text = field.get("description", "")
        yield Entry(name, _kind(field), "", name in required, text)


def _kind(schema: Mapping[str, Any]) -> str:
    """Return a type in words, such as `array of number` or `string or null`."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    for choices in ("anyOf", "oneOf", "allOf"):
        if choices in schema:
            return " or ".join(dict.fromkeys(_kind(choice) for choice in schema[choices]))
    if "enum" in schema or "const" in schema:
        values = schema.get("enum") or [schema["const"]]
        return " | ".join(json.dumps(value) for value in values)
    if schema.get("type") == "array" and "items" in schema:
        return f"array of {_kind(schema['items'])}"
    return str(schema.get("format") or schema.get("type", "any value"))
