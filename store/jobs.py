"""The life of a job, guarded in SQL.

Every move is one UPDATE that names the state it starts from, so that of several processes that
try, one succeeds and the others notice::

    queued ──claim──> running ──finish──> succeeded | failed | cancelled
      ^                  │
      └──release/expire──┘

A running job belongs to its owner for as long as its lease lasts. Whoever finds an expired lease
may put the job back; the late owner then finds its own moves refused (`LeaseLostError`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import and_, func, or_, select

from store.errors import ConflictError
from store.job_rows import (
    back_to_queue,
    cancel_idle,
    claim_whole,
    finish_job,
    get_job,
    guarded_update,
    noted_update,
    owned,
    settle_lost,
)
from store.job_tables import JobRow
from store.leased import Leased
from store.states import JobState

__all__ = ["Jobs", "LeaseState"]

_LONGEST_RESEND = timedelta(hours=1)


class LeaseState(StrEnum):
    """What a heartbeat finds: go on, stop because somebody asked, or stop because it is lost."""

    HELD = "held"
    CANCELLED = "cancelled"
    LOST = "lost"


class Jobs(Leased):
    """All jobs; arguments as of `Leased`."""

    def get(self, job_id: str) -> JobRow:
        """Return one job.

        Raises:
            NotFoundError: There is none with that id.
        """
        with self._database.read() as session:
            return get_job(session, job_id)

    def page(
        self, *, limit: int, before: str | None = None, state: str | None = None
    ) -> list[JobRow]:
        """Return at most `limit` jobs, newest first, older than `before`, in that state."""
        query = select(JobRow).order_by(JobRow.id.desc()).limit(limit)
        if before is not None:
            query = query.where(JobRow.id < before)
        if state is not None:
            query = query.where(JobRow.state == state)
        with self._database.read() as session:
            return list(session.scalars(query))

    def count_by_state(self) -> dict[str, int]:
        """Return how many jobs are in each state; every state is listed."""
        query = select(JobRow.state, func.count()).group_by(JobRow.state)
        with self._database.read() as session:
            counts: dict[str, int] = {row[0]: row[1] for row in session.execute(query)}
        return {state.value: counts.get(state.value, 0) for state in JobState}

    def claim(self, job_id: str, owner: str) -> bool:
        """Take a whole job that is queued, or running under an expired lease.

        Returns:
            Whether it is now the owner's; False also when it has been deleted meanwhile.
        """
        with self._database.write() as session:
            now = self._clock(session)
            free = or_(
                JobRow.state == JobState.QUEUED,
                and_(JobRow.state == JobState.RUNNING, JobRow.lease_expires_at < now),
            )
            return claim_whole(session, job_id, owner, free, now=now, lease=self._lease)

    def heartbeat(self, job_id: str, owner: str) -> LeaseState:
        """Extend the owner's lease."""
        with self._database.write() as session:
            ends = self._clock(session) + self._lease
            held = guarded_update(session, *owned(job_id, owner), lease_expires_at=ends)
        return self.check(job_id, owner) if held else LeaseState.LOST

    def check(self, job_id: str, owner: str) -> LeaseState:
        """Return whether the owner should go on, without writing."""
        with self._database.read() as session:
            row = session.get(JobRow, job_id)
        if row is None or row.owner != owner or row.state != JobState.RUNNING:
            return LeaseState.LOST
        return LeaseState.CANCELLED if row.cancel_requested else LeaseState.HELD

    def finish(
        self, job_id: str, owner: str, state: JobState, *, error: dict[str, Any] | None = None
    ) -> None:
        """Bring the owner's job to an end.

        Raises:
            LeaseLostError: It is no longer the owner's.
        """
        with self._database.write() as session:
            finish_job(session, job_id, owner, state, error=error)

    def release(self, job_id: str, owner: str) -> bool:
        """Put the owner's job back into the queue without counting the attempt."""
        with self._database.write() as session:
            return noted_update(
                session,
                job_id,
                *owned(job_id, owner),
                attempts=JobRow.attempts - 1,
                **back_to_queue(self._clock(session)),
            )

    def request_cancel(self, job_id: str) -> JobRow:
        """Cancel a queued job at once, ask a running one to stop.

        Raises:
            NotFoundError: There is none with that id.
            ConflictError: It has already succeeded or failed.
        """
        with self._database.write() as session:
            get_job(session, job_id)
            if not noted_update(
                session,
                job_id,
                JobRow.state == JobState.QUEUED,
                state=JobState.CANCELLED,
                cancel_requested=True,
                ready=False,
                finished_at=datetime.now(UTC),
            ):
                noted_update(
                    session,
                    job_id,
                    JobRow.state == JobState.RUNNING,
                    JobRow.cancel_requested.is_(False),
                    cancel_requested=True,
                )
                cancel_idle(session, job_id)
            session.expire_all()
            row = get_job(session, job_id)
            if row.state in (JobState.SUCCEEDED, JobState.FAILED):
                raise ConflictError(f"job {job_id} has already {row.state}; nothing to cancel")
            return row

    def expire(self, *, max_attempts: int, owner: str | None = None) -> Sequence[str]:
        """Settle running jobs whose worker is gone.

        A job whose cancellation was asked for is cancelled, one that took down too many workers
        fails, every other goes back to the queue.

        Args:
            max_attempts: How many workers a job may take down.
            owner: Given, the jobs of this owner are settled, whatever their lease; `*` in its
                place means every owner.

        Returns:
            Ids of the jobs put back.
        """
        with self._database.write() as session:
            if owner is None:
                gone = JobRow.lease_expires_at < self._clock(session)
            else:
                gone = JobRow.owner.is_not(None) if owner == "*" else JobRow.owner == owner
            running = and_(JobRow.state == JobState.RUNNING, gone)
            rows = session.scalars(select(JobRow).where(running).order_by(JobRow.id)).all()
            return [row.id for row in rows if settle_lost(session, row, running, max_attempts)]

    def due(self, *, resend_seconds: float, all_queued: bool = False) -> list[tuple[str, str]]:
        """Return `(id, queue)` of jobs with work that nobody has, to tell the queue of them.

        Messages can be lost and a repeated one does no harm, so each is sent again after
        `resend_seconds`, then after twice as long, and so on up to an hour.

        Args:
            resend_seconds: The first of these pauses.
            all_queued: Whether to take every such job, because the messages are gone.
        """
        now = datetime.now(UTC)
        live = (JobState.QUEUED.value, JobState.RUNNING.value)
        waiting = and_(JobRow.state.in_(live), JobRow.ready.is_(True))
        if not all_queued:
            unsent = or_(JobRow.next_send_at.is_(None), JobRow.next_send_at <= now)
            waiting = and_(waiting, unsent)
        with self._database.write() as session:
            rows = session.scalars(select(JobRow).where(waiting).order_by(JobRow.id)).all()
            for row in rows:
                pause = timedelta(seconds=resend_seconds * 2 ** min(row.sends, 20))
                row.next_send_at = now + min(pause, _LONGEST_RESEND)
                row.sends += 1
            return [(row.id, row.queue) for row in rows]

    def mark_sent(self, job_id: str, *, resend_seconds: float) -> None:
        """Note that the queue has just been told about a job."""
        later = datetime.now(UTC) + timedelta(seconds=resend_seconds)
        with self._database.write() as session:
            guarded_update(session, JobRow.id == job_id, sends=JobRow.sends + 1, next_send_at=later)
