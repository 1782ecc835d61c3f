"""The life of a chunk, guarded in SQL: a part of a job that one worker holds at a time.

::

    queued ──claim──> running ──finish──> done
      ^                  │
      ├─────release──────┤
      └───fail, expire───┴──> parked, after the third attempt

Chunks are cut when they are taken: of what is left of a job as much as should take seconds, by what
its earlier chunks took. An attempt that fails, or that a worker dies of, comes apart into single
inputs, so that a bad one is parked alone. The job's own lease is for what is not cut: a training,
and the figures at the end, which whoever asks for work next after the last chunk makes.

Every transaction locks the job's row before it changes a chunk, so that two of them cannot wait for
each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, and_, or_, select, true, update
from sqlalchemy.orm import Session

from store.chunk_rows import (
    ATTEMPTS,
    ChunkState,
    add_chunk,
    lock_chunk,
    park_or_retry,
    settle_job,
    shrink,
)
from store.claiming import Claim, take_work
from store.job_rows import hold_job, noted_update
from store.job_tables import ChunkRow, JobRow
from store.jobs import LeaseState
from store.leased import Leased
from store.plans import ITEMS, answered
from store.ranges import to_indices
from store.states import JobState

__all__ = ["ATTEMPTS", "ChunkLease", "ChunkState", "Chunks", "Claim", "Parked", "hold"]


@dataclass(frozen=True)
class Parked:
    """A chunk that was given up.

    Attributes:
        position: Of the network in a comparison.
        task: What was to be done.
        indices: The inputs.
        error: What happened last: `type` and `message`.
    """

    position: int
    task: str
    indices: tuple[int, ...]
    error: Mapping[str, Any]


def hold(session: Session, claim: Claim) -> None:
    """Lock what a worker has taken, inside a transaction that writes a part of the result.

    Raises:
        LeaseLostError: It is no longer that worker's; the transaction has to be given up.
    """
    if claim.number is None:
        hold_job(session, claim.job_id, claim.owner)
    else:
        lock_chunk(session, claim.job_id, claim.number, claim.owner)


class Chunks(Leased):
    """All chunks; arguments as of `Leased`."""

    def claim(self, owner: str, queues: Sequence[str]) -> Claim | None:
        """Take the work whose turn it is; None where there is none for these queues.

        Args:
            owner: The worker.
            queues: Whose jobs it takes.
        """
        with self._database.write() as session:
            return take_work(session, owner, queues, clock=self._clock, lease=self._lease)

    def heartbeat(self, claim: Claim) -> LeaseState:
        """Extend the lease of a chunk."""
        with self._database.write() as session:
            ends = self._clock(session) + self._lease
            statement = update(ChunkRow).where(*_held(claim)).values(lease_expires_at=ends)
            held = cast("CursorResult[Any]", session.execute(statement)).rowcount == 1
        return self.check(claim) if held else LeaseState.LOST

    def check(self, claim: Claim) -> LeaseState:
        """Return whether the owner of a chunk should go on, without writing."""
        query = (
            select(JobRow.cancel_requested)
            .join(ChunkRow, ChunkRow.job_id == JobRow.id)
            .where(*_held(claim), JobRow.state == JobState.RUNNING)
        )
        with self._database.read() as session:
            cancelled = session.scalar(query)
        if cancelled is None:
            return LeaseState.LOST
        return LeaseState.CANCELLED if cancelled else LeaseState.HELD

    def finish(self, claim: Claim, *, seconds: float, rest: Sequence[int] = ()) -> None:
        """End a chunk well.

        Args:
            claim: The chunk.
            seconds: That it took.
            rest: Inputs that are handed back, because it took too long.

        Raises:
            LeaseLostError: It is no longer that worker's.
        """
        with self._database.write() as session:
            row = _locked(session, claim)
            if rest:
                add_chunk(session, row, rest, attempts=row.attempts)
                gone = frozenset(rest)
                shrink(row, [index for index in claim.indices if index not in gone])
            row.state, row.seconds, row.lease_expires_at = ChunkState.DONE, seconds, None
            session.flush()
            settle_job(session, claim.job_id, self._clock(session))

    def fail(self, claim: Claim, error: Mapping[str, Any]) -> None:
        """Count an attempt that failed: try what has no answer again, or park it.

        Args:
            claim: The chunk.
            error: What happened: `type` and `message`.

        Raises:
            LeaseLostError: It is no longer that worker's.
        """
        with self._database.write() as session:
            row = _locked(session, claim)
            park_or_retry(session, row, error, done=_done(session, row, claim.kind))
            settle_job(session, claim.job_id, self._clock(session))

    def release(self, claim: Claim) -> None:
        """Hand a chunk back without counting an attempt.

        Raises:
            LeaseLostError: It is no longer that worker's.
        """
        with self._database.write() as session:
            row = _locked(session, claim)
            done = _done(session, row, claim.kind)
            left = [index for index in to_indices(row.inputs) if index not in done]
            shrink(row, left)
            row.owner = row.lease_expires_at = None
            row.state = ChunkState.QUEUED if left else ChunkState.DONE
            session.flush()
            settle_job(session, claim.job_id, self._clock(session), back=True)

    def fail_job(self, claim: Claim, error: Mapping[str, Any]) -> None:
        """Fail a chunk's whole job, because none of its chunks can be computed.

        Raises:
            LeaseLostError: The chunk is no longer that worker's.
        """
        with self._database.write() as session:
            row = _locked(session, claim)
            row.state, row.error, row.lease_expires_at = ChunkState.PARKED, dict(error), None
            session.flush()
            noted_update(
                session,
                claim.job_id,
                JobRow.state == JobState.RUNNING,
                state=JobState.FAILED,
                error=dict(error),
                ready=False,
                finished_at=self._clock(session),
            )

    def parked(self, job_id: str) -> list[Parked]:
        """Return the chunks of a job that were given up."""
        query = (
            select(ChunkRow)
            .where(ChunkRow.job_id == job_id, ChunkRow.state == ChunkState.PARKED)
            .order_by(ChunkRow.number)
        )
        with self._database.read() as session:
            return [
                Parked(row.position, row.task, tuple(to_indices(row.inputs)), row.error or {})
                for row in session.scalars(query)
            ]

    def expire(self, *, owner: str | None = None) -> list[str]:
        """Count an attempt against every chunk whose worker is gone.

        Args:
            owner: Given, the chunks of this owner are settled, whatever their lease; `*` in its
                place means every owner.

        Returns:
            Ids of the jobs that have work again.
        """
        with self._database.read() as session:
            gone = self._gone(self._clock(session), owner)
            found = session.execute(select(ChunkRow.job_id, ChunkRow.number).where(*gone)).all()
        back = []
        for job_id, number in found:
            with self._database.write() as session:
                if self._settle(session, job_id, number, owner):
                    back.append(job_id)
        return list(dict.fromkeys(back))

    def _gone(self, now: datetime, owner: str | None) -> tuple[ColumnElement[bool], ...]:
        running = ChunkRow.state == ChunkState.RUNNING
        if owner is not None:
            return running, true() if owner == "*" else ChunkRow.owner == owner
        # Twice a lease ahead: the clock was set back since that lease was written.
        ends = ChunkRow.lease_expires_at
        return running, or_(ends < now, ends > now + 2 * self._lease)

    def _settle(self, session: Session, job_id: str, number: int, owner: str | None) -> bool:
        """Settle one chunk whose worker may be gone; return whether its job has work again."""
        job = session.get(JobRow, job_id, with_for_update=True)
        now = self._clock(session)
        this = and_(ChunkRow.job_id == job_id, ChunkRow.number == number)
        row = session.scalar(select(ChunkRow).where(this, *self._gone(now, owner)))
        if job is None or row is None:
            return False
        if owner is None and row.lease_expires_at is not None and row.lease_expires_at > now:
            row.lease_expires_at = now + self._lease  # its worker, if alive, extends it as ever
            return False
        message = f"the worker {row.owner} died, or was silent for too long, while it had this"
        error = {"type": "WorkerLostError", "message": message}
        park_or_retry(session, row, error, done=_done(session, row, job.kind))
        return settle_job(session, job_id, now, back=True)


class ChunkLease:
    """The lease of one chunk, in the words in which that of a job is kept.

    Args:
        chunks: The store.
        claim: The chunk.
    """

    def __init__(self, chunks: Chunks, claim: Claim) -> None:
        self._chunks = chunks
        self._claim = claim

    def heartbeat(self, job_id: str, owner: str) -> LeaseState:
        """Extend it."""
        del job_id, owner
        return self._chunks.heartbeat(self._claim)

    def check(self, job_id: str, owner: str) -> LeaseState:
        """Return whether to go on."""
        del job_id, owner
        return self._chunks.check(self._claim)


def _held(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    return (
        ChunkRow.job_id == claim.job_id,
        ChunkRow.number == claim.number,
        ChunkRow.owner == claim.owner,
        ChunkRow.state == ChunkState.RUNNING,
    )


def _locked(session: Session, claim: Claim) -> ChunkRow:
    """Return a worker's chunk, locked.

    Raises:
        LeaseLostError: It is no longer that worker's.
    """
    number = -1 if claim.number is None else claim.number
    return lock_chunk(session, claim.job_id, number, claim.owner)


def _done(session: Session, row: ChunkRow, kind: str) -> frozenset[int]:
    """Return which inputs of a chunk need nothing more."""
    if row.task != ITEMS:
        return frozenset()
    return answered(session, row.job_id, kind, row.position)
