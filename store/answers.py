"""Answers for inputs, each written once, whoever computes it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from sqlalchemy import ColumnElement, CursorResult, Executable, Select, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from store.jobs import guarded_update
from store.tables import Base, ComparedItemRow, ItemRow, JobRow

__all__ = ["answer_values", "count_done", "insert_once", "select_answers"]

Answer = TypeVar("Answer", ItemRow, ComparedItemRow)


def _sqlite(table: type[Base], values: Mapping[str, Any]) -> Executable:
    return sqlite.insert(table).values(**values).on_conflict_do_nothing()


def _postgresql(table: type[Base], values: Mapping[str, Any]) -> Executable:
    return postgresql.insert(table).values(**values).on_conflict_do_nothing()


_STATEMENTS = {"sqlite": _sqlite, "postgresql": _postgresql}


def insert_once(session: Session, table: type[Base], values: Mapping[str, Any]) -> bool:
    """Insert a row, unless one with its key is there; return whether it was inserted."""
    statement = _STATEMENTS[session.get_bind().dialect.name](table, values)
    return cast("CursorResult[Any]", session.execute(statement)).rowcount == 1


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


def select_answers(
    table: type[Answer],
    *conditions: ColumnElement[bool],
    limit: int | None,
    after: int,
    verdict: str | None,
) -> Select[dict[str, Any]]:
    """Return the query of answers in the order of the data set.

    Args:
        table: Where they are.
        conditions: That all have to meet.
        limit: At most so many.
        after: Only those beyond this index.
        verdict: Only these.
    """
    query = select(table.payload).where(*conditions, table.index > after)
    if verdict is not None:
        query = query.where(table.verdict == verdict)
    return query.order_by(table.index).limit(limit)


def count_done(session: Session, job_id: str, belongs: ColumnElement[bool]) -> None:
    """Count the answers that belong to a job as its finished units of work."""
    done = session.scalar(select(func.count()).where(belongs))
    guarded_update(session, JobRow.id == job_id, done=done)
