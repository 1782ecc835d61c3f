"""Answers for inputs, each written once, whoever computes it again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, TypeVar, cast

from sqlalchemy import ColumnElement, Executable, Select, Table, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from store.job_rows import guarded_update
from store.job_tables import JobRow
from store.tables import ComparedItemRow, ItemRow

__all__ = ["add_done", "answer_values", "insert_once", "select_answers"]

Answer = TypeVar("Answer", ItemRow, ComparedItemRow)


_ROWS_OF_ONE_STATEMENT = 500
_KEPT_APART = frozenset({"input", "proof_file"})


def _sqlite(table: Table) -> Executable:
    return sqlite.insert(table).on_conflict_do_nothing().returning(table.c["index"])


def _postgresql(table: Table) -> Executable:
    return postgresql.insert(table).on_conflict_do_nothing().returning(table.c["index"])


_STATEMENTS = {"sqlite": _sqlite, "postgresql": _postgresql}


def insert_once(
    session: Session, table: type[Answer], rows: Iterable[Mapping[str, Any]]
) -> list[int]:
    """Insert answers, each unless one with its key is there.

    Args:
        session: That holds what they belong to.
        table: Of answers.
        rows: Their columns.

    Returns:
        The indices of those that were inserted, in the order of the rows.
    """
    # Rows as parameters, not as a part of the statement: compiling that costs more than the rest.
    statement = _STATEMENTS[session.get_bind().dialect.name](cast("Table", table.__table__))
    inserted: set[int] = set()
    order: list[int] = []
    pending = iter(rows)
    while part := list(islice(pending, _ROWS_OF_ONE_STATEMENT)):
        inserted.update(session.execute(statement, part).scalars())
        order.extend(row["index"] for row in part)
    return [index for index in order if index in inserted]


def add_done(session: Session, job_id: str, number: int) -> None:
    """Count answers that were just stored among a job's finished units of work."""
    guarded_update(session, JobRow.id == job_id, done=JobRow.done + number)


def answer_values(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of an answer: `index`, `verdict`, and the item as reports print it.

    Args:
        item: With `index` and `verdict`; an `input` and a `proof_file` that came along are left
            out.
    """
    return {
        "index": item["index"],
        "verdict": item["verdict"],
        "payload": {key: value for key, value in item.items() if key not in _KEPT_APART},
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
