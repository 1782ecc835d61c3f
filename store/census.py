"""How much there is of everything at this moment, for those who run the service."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy import func, select

from store.database import Database
from store.figures import series
from store.job_tables import ChunkRow, DeliveryRow, JobRow
from store.states import FINAL_STATES, JobState
from store.workers import Workers

__all__ = ["Census"]

_QUEUES = ("bounds", "exact")
_CHUNK_STATES = ("running", "parked")


class Census:
    """Counts rows, each kind by an index.

    Args:
        database: Where the rows are.
        alive_seconds: A worker that was silent for longer is taken for dead.
    """

    def __init__(self, database: Database, *, alive_seconds: float) -> None:
        self._database = database
        self._alive_seconds = alive_seconds

    def gauges(self) -> Iterator[tuple[str, float]]:
        """Yield series with their values."""
        yield from self._jobs()
        yield from self._queues()
        yield from self._chunks()
        alive = Workers(self._database).alive(seconds=self._alive_seconds)
        for queue in _QUEUES:
            yield series("tightrope_workers", queue=queue), alive.get(queue, 0)
        pending = select(func.count()).where(DeliveryRow.state == "pending")
        with self._database.read() as session:
            yield "tightrope_webhooks_pending", session.scalar(pending) or 0

    def _jobs(self) -> Iterator[tuple[str, float]]:
        query = select(JobRow.state, func.count()).group_by(JobRow.state)
        with self._database.read() as session:
            counts: dict[str, int] = {row[0]: row[1] for row in session.execute(query)}
        for state in JobState:
            yield series("tightrope_jobs", state=state.value), counts.get(state.value, 0)

    def _queues(self) -> Iterator[tuple[str, float]]:
        live = [state.value for state in JobState if state not in FINAL_STATES]
        query = (
            select(JobRow.queue, func.count(), func.min(JobRow.created_at))
            .where(JobRow.state.in_(live), JobRow.ready.is_(True))
            .group_by(JobRow.queue)
        )
        with self._database.read() as session:
            found = {row[0]: (row[1], row[2]) for row in session.execute(query)}
        now = datetime.now(UTC)
        for queue in _QUEUES:
            number, oldest = found.get(queue, (0, now))
            age = max((now - oldest).total_seconds(), 0.0)
            yield series("tightrope_queue_jobs", queue=queue), number
            yield series("tightrope_queue_oldest_seconds", queue=queue), age

    def _chunks(self) -> Iterator[tuple[str, float]]:
        query = (
            select(ChunkRow.state, func.count())
            .where(ChunkRow.state.in_(_CHUNK_STATES))
            .group_by(ChunkRow.state)
        )
        with self._database.read() as session:
            counts: dict[str, int] = {row[0]: row[1] for row in session.execute(query)}
        for state in _CHUNK_STATES:
            yield series("tightrope_chunks", state=state), counts.get(state, 0)
