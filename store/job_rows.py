"""Rows of jobs inside a transaction: every move of a job's life, guarded in SQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, func, select, update
from sqlalchemy.orm import Session

from store.errors import NotFoundError, StoreError
from store.events import note
from store.identifiers import is_identifier, new_identifier
from store.job_tables import ChunkRow, JobRow
from store.states import JobState, Origin

__all__ = [
    "LeaseLostError",
    "add_job",
    "back_to_queue",
    "cancel_idle",
    "claim_whole",
    "finish_job",
    "get_job",
    "guarded_update",
    "hold_job",
    "noted_update",
    "owned",
    "settle_lost",
]


class LeaseLostError(StoreError):
    """The job no longer belongs to the worker that wrote to it."""


def get_job(session: Session, identifier: str) -> JobRow:
    """Return one job.

    Raises:
        NotFoundError: There is none with that id.
    """
    row = session.get(JobRow, identifier) if is_identifier(identifier) else None
    if row is None:
        raise NotFoundError("job", identifier)
    return row


def add_job(
    session: Session,
    *,
    kind: str,
    queue: str,
    total: int,
    origin: Origin | None = None,
    priority: int = 0,
) -> JobRow:
    """Add a queued job; what it is about goes into another table, under the same id."""
    origin = origin or Origin()
    row = JobRow(
        id=new_identifier("job"),
        kind=kind,
        queue=queue,
        state=JobState.QUEUED.value,
        total=total,
        priority=priority,
        ready=True,
        created_at=datetime.now(UTC),
        webhook_url=origin.webhook_url,
        context=None if origin.context is None else dict(origin.context),
    )
    session.add(row)
    session.flush()
    note(session, row.id)
    return row


def hold_job(session: Session, job_id: str, owner: str) -> None:
    """Lock the owner's running job, inside a transaction that writes a part of its result.

    The job's row comes first: had it been deleted, inserting for it would fail.

    Raises:
        LeaseLostError: It is no longer the owner's; the transaction has to be given up.
    """
    if not guarded_update(session, *owned(job_id, owner), owner=owner):
        raise LeaseLostError(f"job {job_id} no longer belongs to worker {owner}")


def guarded_update(session: Session, *conditions: ColumnElement[bool], **values: object) -> bool:
    """Change the one job that meets all conditions; return whether there was one."""
    statement = update(JobRow).where(*conditions).values(**values)
    result = session.execute(statement, execution_options={"synchronize_session": False})
    return cast("CursorResult[Any]", result).rowcount == 1


def claim_whole(
    session: Session,
    job_id: str,
    owner: str,
    free: ColumnElement[bool],
    *,
    now: datetime,
    lease: timedelta,
) -> bool:
    """Take a job that is free as a whole; return whether it is now the owner's."""
    return noted_update(
        session,
        job_id,
        free,
        JobRow.cancel_requested.is_(False),
        state=JobState.RUNNING,
        owner=owner,
        ready=False,
        lease_expires_at=now + lease,
        started_at=func.coalesce(JobRow.started_at, now),
        claimed_at=now,
        claimed_done=JobRow.done,
        attempts=JobRow.attempts + 1,
    )


def finish_job(
    session: Session,
    job_id: str,
    owner: str,
    state: JobState,
    *,
    error: dict[str, Any] | None = None,
) -> None:
    """Bring the owner's job to an end, inside a transaction that writes its result.

    Raises:
        LeaseLostError: It is no longer the owner's; the transaction has to be given up.
    """
    if not noted_update(
        session,
        job_id,
        *owned(job_id, owner),
        state=state,
        error=error,
        ready=False,
        finished_at=datetime.now(UTC),
        owner=None,
        lease_expires_at=None,
    ):
        raise LeaseLostError(f"job {job_id} no longer belongs to worker {owner}")


def noted_update(
    session: Session, job_id: str, *conditions: ColumnElement[bool], **values: object
) -> bool:
    """Change the state of a job that meets all conditions, and write that down."""
    changed = guarded_update(session, JobRow.id == job_id, *conditions, **values)
    if changed:
        note(session, job_id)
    return changed


def cancel_idle(session: Session, job_id: str) -> None:
    """Cancel a running job that no worker has anything of: nobody else would."""
    held = select(ChunkRow.number).where(ChunkRow.job_id == job_id, ChunkRow.state == "running")
    noted_update(
        session,
        job_id,
        JobRow.state == JobState.RUNNING,
        JobRow.owner.is_(None),
        ~held.exists(),
        state=JobState.CANCELLED,
        ready=False,
        finished_at=datetime.now(UTC),
    )


def owned(job_id: str, owner: str) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions that a running job is its owner's."""
    return (JobRow.id == job_id, JobRow.owner == owner, JobRow.state == JobState.RUNNING)


def back_to_queue(now: datetime) -> dict[str, object]:
    """Return what a job that goes back to the queue is set to."""
    return {
        "ready": True,
        "state": JobState.QUEUED,
        "owner": None,
        "lease_expires_at": None,
        "sends": 0,
        "next_send_at": now,
    }


def settle_lost(
    session: Session, row: JobRow, running: ColumnElement[bool], max_attempts: int
) -> bool:
    """Settle one job whose worker is gone; return whether it went back to the queue."""
    now = datetime.now(UTC)
    end: dict[str, object] = {
        "owner": None,
        "lease_expires_at": None,
        "ready": False,
        "finished_at": now,
    }
    if row.cancel_requested:
        noted_update(session, row.id, running, state=JobState.CANCELLED, **end)
        return False
    if row.attempts >= max_attempts:
        message = (
            f"the job's worker died {row.attempts} times; "
            "it may need more memory than there is, see the worker's log"
        )
        error = {"type": "WorkerLostError", "message": message}
        noted_update(session, row.id, running, state=JobState.FAILED, error=error, **end)
        return False
    return noted_update(session, row.id, running, **back_to_queue(now))
