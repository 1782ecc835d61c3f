"""What the tables of certifications, comparisons and trainings have in common beside their jobs."""

from __future__ import annotations

from typing import TypeVar

from sqlalchemy import ColumnElement, Select, delete, select
from sqlalchemy.orm import Session

from store.errors import ConflictError
from store.idempotency import forget
from store.jobs import FINAL_STATES
from store.tables import CertificationRow, ComparisonRow, JobRow, TrainingRow

__all__ = ["delete_with_job", "newest_first"]

Part = TypeVar("Part", CertificationRow, ComparisonRow, TrainingRow)


def newest_first(
    table: type[Part],
    *conditions: ColumnElement[bool],
    limit: int,
    before: str | None,
    state: str | None,
) -> Select[Part]:
    """Return the query of one page of a list.

    Args:
        table: Of what.
        conditions: That all have to meet.
        limit: At most so many.
        before: Only those older than the one with this id.
        state: Only those whose job is in this state.
    """
    query = select(table).join(table.job).where(*conditions)
    if before is not None:
        query = query.where(table.id < before)
    if state is not None:
        query = query.where(JobRow.state == state)
    return query.order_by(table.id.desc()).limit(limit)


def delete_with_job(session: Session, row: CertificationRow | ComparisonRow | TrainingRow) -> None:
    """Delete a row with its job and everything that hangs on it.

    Raises:
        ConflictError: It is queued or running.
    """
    if row.job.state not in FINAL_STATES:
        raise ConflictError(
            f"{row.job.kind} {row.id} is {row.job.state}; cancel it, "
            "and delete it once it is cancelled"
        )
    forget(session, row.id)
    session.execute(delete(JobRow).where(JobRow.id == row.id))
    session.flush()
