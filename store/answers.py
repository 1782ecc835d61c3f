"""Answers for inputs, each written once, whoever computes it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Executable
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from store.tables import Base

__all__ = ["answer_values", "insert_once"]


def _sqlite(table: type[Base], values: Mapping[str, Any]) -> Executable:
    return sqlite.insert(table).values(**values).on_conflict_do_nothing()


def _postgresql(table: type[Base], values: Mapping[str, Any]) -> Executable:
    return postgresql.insert(table).values(**values).on_conflict_do_nothing()


_STATEMENTS = {"sqlite": _sqlite, "postgresql": _postgresql}


def insert_once(session: Session, table: type[Base], values: Mapping[str, Any]) -> None:
    """Insert a row, unless one with its key is there."""
    session.execute(_STATEMENTS[session.get_bind().dialect.name](table, values))


def answer_values(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of an answer: `index`, `verdict`, and the item as reports print it.

    Args:
        item: With `index` and `verdict`; an `input` that came along is left out.
    """
    return {
        "index": item["index"],
        "verdict": item["verdict"],
        "payload": {key: value for key, value in item.items() if key != "input"},
    }
