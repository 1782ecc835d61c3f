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
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, and_, func, or_, select, true, update
from sqlalchemy.orm import Session

from store.chunk_rows import (
    ATTEMPTS,
    ChunkState,
    add_chunk,
    add_pieces,
    count_chunks,
    lock_chunk,
    next_chunk,
    park_or_retry,
    settle_job,
    shrink,
)
from store.clock import Clock, database_clock
from store.database import Database
from store.events import note
from store.jobs import (
    JobState,
    LeaseState,
    claim_whole,
    guarded_update,
    hold_job,
    noted_update,
)
from store.plans import ITEMS, PLANS, answered, grain
from store.ranges import cut, to_indices
from store.sizing import Cost, chunk_size
from store.tables import ChunkRow, JobRow
from store.turns import busy_workers, fairest, is_waiting, note_turn, one_at_a_time

__all__ = ["ATTEMPTS", "ChunkLease", "ChunkState", "Chunks", "Claim", "Parked", "hold"]

_COSTS = 8
"""Chunks that tell what the next one costs."""


@dataclass(frozen=True)
class Claim:
    """Work that a worker has taken.

    Attributes:
        job_id, kind, queue: Of the job.
        owner: The worker.
        number: Of the chunk; None for all that is left of the job, as a whole.
        task: What to do: `items` or `layers`; empty for a whole job.
        position: Of the network in a comparison.
        indices: The inputs without an answer.
        grain: Inputs that are computed together.
        more: There is more work in this queue.
    """

    job_id: str
    kind: str
    queue: str
    owner: str
    number: int | None = None
    task: str = ""
    position: int = 0
    indices: tuple[int, ...] = ()
    grain: int = 1
    more: bool = False


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


class Chunks:
    """All chunks.

    Args:
        database: Where the rows are.
        lease_seconds: How long a worker may be silent.
        clock: By which leases begin and end.
    """

    def __init__(
        self, database: Database, *, lease_seconds: float = 60.0, clock: Clock = database_clock
    ) -> None:
        self._database = database
        self._lease = timedelta(seconds=lease_seconds)
        self._clock = clock

    def claim(self, owner: str, queues: Sequence[str]) -> Claim | None:
        """Take the work whose turn it is; None where there is none for these queues.

        Args:
            owner: The worker.
            queues: Whose jobs it takes.
        """
        with self._database.write() as session:
            one_at_a_time(session)
            busy = busy_workers(session)
            while (job_id := fairest(session, queues, busy)) is not None:
                job = session.get_one(JobRow, job_id, with_for_update=True, populate_existing=True)
                claim = self._take(session, job, owner, workers=busy.total() + 1)
                if claim is not None:
                    note_turn(session, job.project_id, self._clock(session))
                    return claim
                guarded_update(session, JobRow.id == job_id, ready=False)
        return None

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

    def _take(self, session: Session, job: JobRow, owner: str, *, workers: int) -> Claim | None:
        """Take a part of a job, or the whole; None where nothing of it is free."""
        now = self._clock(session)
        if job.kind in PLANS:
            if count_chunks(session, job.id).total() == 0:
                add_pieces(session, job.id, PLANS[job.kind](session, job.id))
            row = next_chunk(session, job.id)
            if row is not None:
                together = grain(session, job.id, job.kind)
                row = _cut(session, row, together, workers)
                self._start(session, job, row, owner, now=now)
                return _claim_of(job, row, together, _more(session, job.queue))
            if count_chunks(session, job.id)[ChunkState.RUNNING]:
                return None
        free = and_(JobRow.ready.is_(True), JobRow.owner.is_(None))
        if not claim_whole(session, job.id, owner, free, now=now, lease=self._lease):
            return None
        return Claim(job.id, job.kind, job.queue, owner, more=_more(session, job.queue))

    def _start(
        self, session: Session, job: JobRow, row: ChunkRow, owner: str, *, now: datetime
    ) -> None:
        """Give a queued chunk to a worker, and note that its job is running."""
        row.state, row.owner = ChunkState.RUNNING, owner
        row.claimed_at, row.lease_expires_at = now, now + self._lease
        session.flush()
        values: dict[str, object] = {
            "ready": count_chunks(session, job.id)[ChunkState.QUEUED] > 0,
            # Should the messages get lost, others hear of the rest this much later.
            "sends": 0,
            "next_send_at": now + self._lease,
        }
        starts = job.state == JobState.QUEUED
        if starts:
            begun = {"state": JobState.RUNNING, "claimed_at": now, "claimed_done": JobRow.done}
            values |= {**begun, "started_at": func.coalesce(JobRow.started_at, now)}
        guarded_update(session, JobRow.id == job.id, **values)
        if starts:
            note(session, job.id)


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


def _cut(session: Session, row: ChunkRow, together: int, workers: int) -> ChunkRow:
    """Return a chunk that takes seconds: the row itself, or one cut from it."""
    if row.task != ITEMS:
        return row
    size = chunk_size(_costs(session, row), grain=together, left=row.count, workers=workers)
    if size >= row.count:
        return row
    head, tail = cut(row.inputs, size)
    shrink(row, to_indices(tail))
    return add_chunk(session, row, to_indices(head), attempts=row.attempts)


def _costs(session: Session, row: ChunkRow) -> list[Cost]:
    """Return what the last chunks of the same network cost."""
    query = (
        select(ChunkRow.count, ChunkRow.seconds)
        .where(
            ChunkRow.job_id == row.job_id,
            ChunkRow.state == ChunkState.DONE,
            ChunkRow.task == ITEMS,
            ChunkRow.position == row.position,
            ChunkRow.seconds.is_not(None),
        )
        .order_by(ChunkRow.number.desc())
        .limit(_COSTS)
    )
    return [Cost(count, seconds or 0.0) for count, seconds in session.execute(query)]


def _more(session: Session, queue: str) -> bool:
    """Return whether there is more work for workers of a queue."""
    return session.scalar(select(JobRow.id).where(*is_waiting([queue])).limit(1)) is not None


def _claim_of(job: JobRow, row: ChunkRow, together: int, more: bool) -> Claim:
    return Claim(
        job_id=job.id,
        kind=job.kind,
        queue=job.queue,
        owner=row.owner or "",
        number=row.number,
        task=row.task,
        position=row.position,
        indices=tuple(to_indices(row.inputs)),
        grain=together,
        more=more,
    )
