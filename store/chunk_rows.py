"""Rows of chunks inside a transaction: cutting, locking, splitting, parking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from store.job_rows import LeaseLostError, back_to_queue, guarded_update, noted_update
from store.job_tables import ChunkRow, JobRow
from store.plans import ITEMS, Piece
from store.ranges import to_indices, to_ranges
from store.sizing import BATCH
from store.states import JobState

__all__ = [
    "ATTEMPTS",
    "ChunkState",
    "add_chunk",
    "add_pieces",
    "count_chunks",
    "lock_chunk",
    "next_chunk",
    "park_or_retry",
    "settle_job",
    "shrink",
]

ATTEMPTS = 3
"""A chunk is parked when so many attempts at it have failed, or taken their worker down."""


class ChunkState(StrEnum):
    """Where a chunk is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    PARKED = "parked"


def add_pieces(session: Session, job_id: str, pieces: Sequence[Piece]) -> None:
    """Add what a job has to do, one chunk for each piece, to be cut when it is taken."""
    for piece in pieces:
        _insert(session, job_id, piece, attempts=0)


def add_chunk(
    session: Session, like: ChunkRow, indices: Sequence[int], *, attempts: int
) -> ChunkRow:
    """Add a queued chunk of other inputs beside a chunk."""
    piece = Piece(like.task, like.position, list(indices))
    return _insert(session, like.job_id, piece, attempts=attempts)


def _insert(session: Session, job_id: str, piece: Piece, *, attempts: int) -> ChunkRow:
    last = session.scalar(select(func.max(ChunkRow.number)).where(ChunkRow.job_id == job_id))
    row = ChunkRow(
        job_id=job_id,
        number=0 if last is None else last + 1,
        task=piece.task,
        position=piece.position,
        inputs=to_ranges(piece.indices),
        count=len(piece.indices),
        state=ChunkState.QUEUED.value,
        attempts=attempts,
    )
    session.add(row)
    session.flush()
    return row


def count_chunks(session: Session, job_id: str) -> Counter[str]:
    """Return how many chunks of a job are in each state."""
    query = (
        select(ChunkRow.state, func.count())
        .where(ChunkRow.job_id == job_id)
        .group_by(ChunkRow.state)
    )
    return Counter({row[0]: row[1] for row in session.execute(query)})


def next_chunk(session: Session, job_id: str) -> ChunkRow | None:
    """Return the queued chunk to do next: those that have failed come last."""
    return session.scalar(
        select(ChunkRow)
        .where(ChunkRow.job_id == job_id, ChunkRow.state == ChunkState.QUEUED)
        .order_by(ChunkRow.attempts, ChunkRow.number)
        .limit(1)
    )


def lock_chunk(session: Session, job_id: str, number: int, owner: str) -> ChunkRow:
    """Lock a running job and the chunk of it that a worker has; return the chunk.

    Raises:
        LeaseLostError: The chunk is no longer that worker's; the transaction has to be given up.
    """
    job = session.get(JobRow, job_id, with_for_update=True, populate_existing=True)
    row = session.get(ChunkRow, (job_id, number), populate_existing=True)
    if (
        job is None
        or row is None
        or job.state != JobState.RUNNING
        or row.state != ChunkState.RUNNING
        or row.owner != owner
    ):
        raise LeaseLostError(f"chunk {number} of job {job_id} no longer belongs to worker {owner}")
    return row


def shrink(row: ChunkRow, indices: Sequence[int]) -> None:
    """Leave only these inputs to a chunk."""
    row.inputs, row.count = to_ranges(indices), len(indices)


def park_or_retry(
    session: Session, row: ChunkRow, error: Mapping[str, Any], *, done: frozenset[int]
) -> None:
    """Settle a running chunk whose attempt has failed.

    Inputs without an answer are tried again: each of those that may have done it alone, all others
    together. An attempt that answered some inputs counts anew, since the bad one was not tried
    before. After `ATTEMPTS` the chunk is parked.

    Args:
        session: That has locked the job.
        row: The chunk.
        error: What happened: `type` and `message`.
        done: Inputs that have their answer.
    """
    before = to_indices(row.inputs)
    left = [index for index in before if index not in done]
    row.owner = row.lease_expires_at = None
    if not left:
        row.state = ChunkState.DONE
        session.flush()
        return
    progress = len(left) < len(before)
    attempts = 1 if progress else row.attempts + 1
    row.error, row.attempts = dict(error), attempts
    if attempts >= ATTEMPTS:
        row.state = ChunkState.PARKED
        shrink(row, left)
        lost = len(left) if row.task == ITEMS else 0
        guarded_update(session, JobRow.id == row.job_id, parked=JobRow.parked + lost)
    else:
        row.state = ChunkState.QUEUED
        if row.task == ITEMS:
            _split(session, row, left, rest_attempts=0 if progress else attempts)
    session.flush()


def _split(session: Session, row: ChunkRow, left: Sequence[int], *, rest_attempts: int) -> None:
    """Leave a chunk its first input, and give the others chunks of their own.

    Answers come in the order of the inputs and in batches, so that what went wrong is in the
    first batch without answers.
    """
    shrink(row, left[:1])
    for index in left[1:BATCH]:
        add_chunk(session, row, [index], attempts=row.attempts)
    if len(left) > BATCH:
        add_chunk(session, row, left[BATCH:], attempts=rest_attempts)


def settle_job(session: Session, job_id: str, now: datetime, *, back: bool = False) -> bool:
    """Bring a job to the state that fits its chunks, after one of them has changed.

    Args:
        session: That has locked the job.
        job_id: The job.
        now: By the clock of leases.
        back: The worker goes away: a job that nobody is left with is queued again.

    Returns:
        Whether the job has work that nobody has.
    """
    job = session.get_one(JobRow, job_id, populate_existing=True)
    if job.state != JobState.RUNNING:
        return False
    chunks = count_chunks(session, job_id)
    idle, this = chunks[ChunkState.RUNNING] == 0, JobRow.state == JobState.RUNNING
    if idle and job.cancel_requested:
        end: dict[str, object] = {"state": JobState.CANCELLED, "ready": False, "finished_at": now}
        noted_update(session, job_id, this, **end)
        return False
    if idle and back:
        return noted_update(session, job_id, this, **back_to_queue(now))
    ready = idle or chunks[ChunkState.QUEUED] > 0
    guarded_update(session, JobRow.id == job_id, ready=ready)
    return ready
