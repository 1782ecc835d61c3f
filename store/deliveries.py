"""Webhooks that are to be told that a job is finished, and how that went.

A delivery is put down by the transaction that ends its job, so that none is forgotten. Whoever
delivers takes it for a while; one whose deliverer died is taken again, so that a receiver may be
told twice: it can tell by the delivery's id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from store.database import Database
from store.job_rows import get_job
from store.job_tables import DeliveryRow, JobRow

__all__ = ["Deliveries", "Delivery"]

_LONGEST_ERROR = 500


@dataclass(frozen=True)
class Delivery:
    """One attempt to make.

    Attributes:
        id: The same for every attempt.
        url: Where to.
        attempt: From 1.
        created_at: When the job ended.
        project_id: Whose job it is.
        job: What to tell of it.
    """

    id: str
    url: str
    attempt: int
    created_at: datetime
    project_id: str
    job: dict[str, Any]


class Deliveries:
    """All deliveries.

    Args:
        database: Where the rows are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_job(self, job_id: str) -> Sequence[DeliveryRow]:
        """Return the deliveries of a job.

        Raises:
            NotFoundError: There is no such job.
        """
        query = select(DeliveryRow).where(DeliveryRow.job_id == job_id).order_by(DeliveryRow.id)
        with self._database.read() as session:
            get_job(session, job_id)
            return session.scalars(query).all()

    def take(self, *, limit: int, seconds: float) -> list[Delivery]:
        """Take deliveries that are due.

        Args:
            limit: At most so many.
            seconds: After which somebody else may take them.
        """
        now = datetime.now(UTC)
        query = (
            select(DeliveryRow)
            .where(DeliveryRow.state == "pending", DeliveryRow.next_attempt_at <= now)
            .order_by(DeliveryRow.next_attempt_at)
            .limit(limit)
        )
        with self._database.read() as session:
            if session.scalars(query.limit(1)).first() is None:
                return []  # SQLite has one writer: it is not held up for nothing
        with self._database.write() as session:
            taken = []
            for row in session.scalars(query.with_for_update(skip_locked=True)):
                row.attempts += 1
                row.next_attempt_at = now + timedelta(seconds=seconds)
                taken.append(_delivery(session, row))
            return taken

    def settle(
        self,
        delivery: Delivery,
        *,
        status: int | None,
        error: str | None,
        again_after: float | None = None,
    ) -> None:
        """Note how an attempt went.

        Args:
            delivery: That was tried.
            status: What the receiver answered.
            error: Why it failed; None where it did not.
            again_after: Seconds until the next attempt; None for no other.
        """
        now = datetime.now(UTC)
        with self._database.write() as session:
            row = session.get(DeliveryRow, delivery.id)
            if row is None or row.state != "pending":
                return  # its job was deleted, or somebody else was quicker
            row.status, row.error = status, None if error is None else error[:_LONGEST_ERROR]
            if error is not None and again_after is not None:
                row.next_attempt_at = now + timedelta(seconds=again_after)
                return
            row.state = "delivered" if error is None else "failed"
            row.next_attempt_at, row.finished_at = None, now


def _delivery(session: Session, row: DeliveryRow) -> Delivery:
    job = session.get_one(JobRow, row.job_id)
    return Delivery(row.id, row.url, row.attempts, row.created_at, job.project_id, _told(job))


def _told(job: JobRow) -> dict[str, Any]:
    """Return what a webhook is told of a job."""
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "progress": {"done": job.done, "total": job.total},
        "cached": job.cached,
        "error": job.error,
        "created_at": job.created_at.isoformat(),
        "started_at": None if job.started_at is None else job.started_at.isoformat(),
        "finished_at": None if job.finished_at is None else job.finished_at.isoformat(),
        "url": f"/v1/jobs/{job.id}",
    }
