"""Answers as pages read them: without what only the page of a single input shows."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ColumnElement, cast, func, type_coerce
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import InstrumentedAttribute

__all__ = ["without_example"]

_Payload = InstrumentedAttribute[dict[str, Any]]


def without_example(payload: _Payload, dialect: str) -> ColumnElement[dict[str, Any]]:
    """Return a column of answers without their counterexamples: pictures have thousands of values.

    Args:
        payload: The column.
        dialect: Of the database.
    """
    return type_coerce(_REMOVED[dialect](payload), JSON())


def _of_sqlite(payload: _Payload) -> ColumnElement[Any]:
    return func.json_remove(payload, "$.counterexample")


def _of_postgresql(payload: _Payload) -> ColumnElement[Any]:
    return cast(payload, JSONB).op("-")("counterexample")


_REMOVED = {"sqlite": _of_sqlite, "postgresql": _of_postgresql}
