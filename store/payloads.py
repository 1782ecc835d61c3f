"""Answers as pages read them: without what only the page of a single input shows."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ColumnElement, case, cast, func, type_coerce
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import InstrumentedAttribute

from store.tables import ComparedItemRow, ItemRow

__all__ = ["without_example"]

_Payload = InstrumentedAttribute[dict[str, Any]]

# They have none, and go out as they are: to look into each takes longer than all else.
_NEVER = ("verified", "unknown")


def without_example(
    table: type[ItemRow | ComparedItemRow], dialect: str
) -> ColumnElement[dict[str, Any]]:
    """Return a column of answers without their counterexamples: pictures have thousands of values.

    Args:
        table: Of answers.
        dialect: Of the database.
    """
    removed = _REMOVED[dialect](table.payload)
    return type_coerce(case((table.verdict.in_(_NEVER), table.payload), else_=removed), JSON())


def _of_sqlite(payload: _Payload) -> ColumnElement[Any]:
    return func.json_remove(payload, "$.counterexample")


def _of_postgresql(payload: _Payload) -> ColumnElement[Any]:
    # Both cases have to be of one type.
    return cast(cast(payload, JSONB).op("-")("counterexample"), JSON)


_REMOVED = {"sqlite": _of_sqlite, "postgresql": _of_postgresql}
