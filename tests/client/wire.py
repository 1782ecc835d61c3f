"""Values that the server's own schemas allow, for the tests of those who read them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from hypothesis import strategies as st
from pydantic import BaseModel

_SMALL = 2**31 - 1
_LEAVES: Mapping[str, st.SearchStrategy[Any]] = {
    "integer": st.integers(0, _SMALL),
    "number": st.floats(-1e9, 1e9),
    "boolean": st.booleans(),
    "null": st.none(),
    "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
}


@cache
def values_of(model: type[BaseModel]) -> st.SearchStrategy[Any]:
    """Return JSON-like values of a model, as the server writes them."""
    schema = model.model_json_schema(mode="serialization")
    return _values(schema, schema.get("$defs", {}))


def _values(schema: Mapping[str, Any], known: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    if "$ref" in schema:
        return _values(known[schema["$ref"].rpartition("/")[2]], known)
    if "anyOf" in schema:
        return st.one_of([_values(choice, known) for choice in schema["anyOf"]])
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]])
    if schema.get("format") == "date-time":
        return st.datetimes().map(lambda moment: moment.isoformat() + "Z")
    return _typed(schema, known)


def _typed(schema: Mapping[str, Any], known: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    kind = schema.get("type")
    if kind == "array":
        least, most = schema.get("minItems", 0), min(schema.get("maxItems", 3), 3)
        return st.lists(_values(schema["items"], known), min_size=least, max_size=most)
    if kind == "object":
        return _object(schema, known)
    return _LEAVES[kind] if kind else st.one_of(*_LEAVES.values())


def _object(schema: Mapping[str, Any], known: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    if "properties" not in schema:
        rest = schema.get("additionalProperties", True)
        entry = {} if rest is True else rest
        return st.dictionaries(_LEAVES["string"], _values(entry, known), max_size=3)
    fields = {name: _values(entry, known) for name, entry in schema["properties"].items()}
    needed = schema.get("required", [])
    return st.fixed_dictionaries(
        {name: fields[name] for name in needed},
        optional={name: entry for name, entry in fields.items() if name not in needed},
    )
