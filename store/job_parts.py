"""What the tables of certifications, comparisons and trainings have in common beside their jobs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from sqlalchemy import ColumnElement, Select, delete, select
from sqlalchemy.orm import Session

from store.database import Database
from store.errors import ConflictError, NotFoundError
from store.idempotency import Replay, find_replay, forget, remember
from store.identifiers import is_identifier
from store.job_tables import JobRow
from store.quota import refuse_beyond_quota
from store.states import FINAL_STATES
from store.tables import CertificationRow, ComparisonRow, TrainingRow

__all__ = ["JobParts", "delete_with_job"]

Part = TypeVar("Part", CertificationRow, ComparisonRow, TrainingRow)
New = TypeVar("New")


class JobParts(ABC, Generic[Part, New]):
    """Rows of one kind, each beside the job with the same id.

    Args:
        database: Where the rows are.
    """

    _kind: str
    _table: type[Part]

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, new: New, *, replay: Replay | None = None) -> tuple[Part, bool]:
        """Store a request.

        Args:
            new: The request.
            replay: Its Idempotency-Key, where it has one.

        Returns:
            The row, and whether it is new: a replayed request gives what it gave before.

        Raises:
            NotFoundError: There is no such network or data set.
            IdempotencyMismatchError: The key was used for another request.
            QuotaError: The tenant's key has as many jobs waiting as it may have.
        """
        with self._database.write() as session:
            if replay is not None and (known := find_replay(session, replay)) is not None:
                return self._find(session, known), False
            row = self._add(session, new)
            refuse_beyond_quota(session, row.job)
            if replay is not None:
                remember(session, replay, row.id)
            return row, True

    def get(self, identifier: str) -> Part:
        """Return one, with its job, networks and data sets.

        Raises:
            NotFoundError: There is none with that id.
        """
        with self._database.read() as session:
            return self._find(session, identifier)

    def page(
        self,
        *,
        limit: int,
        before: str | None = None,
        state: str | None = None,
        network_id: str | None = None,
    ) -> list[Part]:
        """Return at most `limit`, newest first, older than `before`, that pass the filters."""
        wanted = [] if network_id is None else [self._asks_about(network_id)]
        query = _newest_first(self._table, *wanted, limit=limit, before=before, state=state)
        with self._database.read() as session:
            return list(session.scalars(query))

    def delete(self, identifier: str) -> None:
        """Remove one with its job and everything that hangs on it.

        Raises:
            NotFoundError: There is none with that id.
            ConflictError: It is queued or running.
        """
        with self._database.write() as session:
            delete_with_job(session, self._find(session, identifier))

    def _find(self, session: Session, identifier: str) -> Part:
        """Return one, inside a transaction.

        Raises:
            NotFoundError: There is none with that id.
        """
        row = session.get(self._table, identifier) if is_identifier(identifier) else None
        if row is None:
            raise NotFoundError(self._kind, identifier)
        return row

    @abstractmethod
    def _add(self, session: Session, new: New) -> Part:
        """Add the row of a request, with its job and all that is known of the answer.

        Raises:
            NotFoundError: There is no such network or data set.
        """

    @abstractmethod
    def _asks_about(self, network_id: str) -> ColumnElement[bool]:
        """Return the condition on rows that the network is a part of what they ask."""


def _newest_first(
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
    # Both have the same ids; an index of the jobs by state has them in order.
    key = table.id if state is None else JobRow.id
    query = select(table).join(table.job).where(*conditions)
    if before is not None:
        query = query.where(key < before)
    if state is not None:
        query = query.where(JobRow.state == state)
    return query.order_by(key.desc()).limit(limit)


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
