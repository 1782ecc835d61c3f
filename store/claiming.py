"""Taking work: whose turn it is, and as much of it as should take seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from store.chunk_rows import ChunkState, add_chunk, add_pieces, count_chunks, next_chunk, shrink
from store.clock import Clock
from store.events import note
from store.job_rows import claim_whole, guarded_update
from store.job_tables import ChunkRow, JobRow
from store.plans import ITEMS, PLANS, grain
from store.ranges import cut, to_indices
from store.sizing import Cost, chunk_size
from store.states import JobState
from store.turns import busy_workers, fairest, is_waiting, note_turn, one_at_a_time

__all__ = ["Claim", "take_work"]

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


def take_work(
    session: Session, owner: str, queues: Sequence[str], *, clock: Clock, lease: timedelta
) -> Claim | None:
    """Take the work whose turn it is; None where there is none.

    Args:
        session: That is committed once the work is taken.
        owner: The worker.
        queues: Whose jobs it takes.
        clock: By which leases begin and end.
        lease: How long the worker may be silent.
    """
    one_at_a_time(session)
    busy = busy_workers(session)
    workers = busy.total() + 1
    while (job_id := fairest(session, queues, busy)) is not None:
        job = session.get_one(JobRow, job_id, with_for_update=True, populate_existing=True)
        now = clock(session)
        claim = _take_part(session, job, owner, workers=workers, now=now, lease=lease)
        if claim is not None:
            note_turn(session, job.project_id, now)
            return claim
        guarded_update(session, JobRow.id == job_id, ready=False)
    return None


def _take_part(
    session: Session, job: JobRow, owner: str, *, workers: int, now: datetime, lease: timedelta
) -> Claim | None:
    """Take a part of a job, or the whole; None where nothing of it is free."""
    if job.kind in PLANS:
        if count_chunks(session, job.id).total() == 0:
            add_pieces(session, job.id, PLANS[job.kind](session, job.id))
        row = next_chunk(session, job.id)
        if row is not None:
            together = grain(session, job.id, job.kind)
            row = _cut(session, row, together, workers)
            _start(session, job, row, owner, now=now, lease=lease)
            return _claim_of(job, row, together, _more(session, job.queue))
        if count_chunks(session, job.id)[ChunkState.RUNNING]:
            return None
    free = and_(JobRow.ready.is_(True), JobRow.owner.is_(None))
    if not claim_whole(session, job.id, owner, free, now=now, lease=lease):
        return None
    return Claim(job.id, job.kind, job.queue, owner, more=_more(session, job.queue))


def _start(
    session: Session,
    job: JobRow,
    row: ChunkRow,
    owner: str,
    *,
    now: datetime,
    lease: timedelta,
) -> None:
    """Give a queued chunk to a worker, and note that its job is running."""
    row.state, row.owner = ChunkState.RUNNING, owner
    row.claimed_at, row.lease_expires_at = now, now + lease
    session.flush()
    values: dict[str, object] = {
        "ready": count_chunks(session, job.id)[ChunkState.QUEUED] > 0,
        # Should the messages get lost, others hear of the rest this much later.
        "sends": 0,
        "next_send_at": now + lease,
    }
    starts = job.state == JobState.QUEUED
    if starts:
        begun = {"state": JobState.RUNNING, "claimed_at": now, "claimed_done": JobRow.done}
        values |= {**begun, "started_at": func.coalesce(JobRow.started_at, now)}
    guarded_update(session, JobRow.id == job.id, **values)
    if starts:
        note(session, job.id)


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
