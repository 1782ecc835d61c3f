"""What happens to jobs, written down by the transaction that makes it happen.

Whoever changes a job calls `note` in the same transaction, after the change. The row of the job is
locked then, so that the ids of one job's events have the order in which they were committed, and a
reader that goes on after the last id it saw misses nothing. Events of different jobs may be
committed in another order than that of their ids; `since` is for readers that know it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, func, insert, or_, select
from sqlalchemy.orm import Session

from store.database import Database
from store.identifiers import new_identifier
from store.job_tables import DeliveryRow, EventRow, JobRow
from store.states import FINAL_STATES, JobState

__all__ = ["Event", "Events", "Topic", "note", "note_items", "note_metrics"]

_ITEMS_OF_ONE_EVENT = 1000
_KEPT = frozenset({"project", "kind", "state", "done", "total", "cancel_requested", "cached"})


class Topic(StrEnum):
    """What an event is about.

    `state`: the job is in another state, or asked to stop. `progress`: more of it is done.
    `items`: inputs have their answers. `metrics`: a training has new points.
    """

    STATE = "state"
    PROGRESS = "progress"
    ITEMS = "items"
    METRICS = "metrics"


@dataclass(frozen=True, eq=False)
class Event:
    """One event, the same only as itself.

    Attributes:
        id: Grows with every event of a job.
        payload: `project`, `kind`, `state`, `done`, `total`, `cancel_requested` and `cached` of the
            job as it was then, and the `error` of one that failed; `items` as pairs of index and
            verdict, with the `position` of the network in comparisons; `points` of a training.
    """

    id: int
    job_id: str
    topic: Topic
    payload: Mapping[str, Any]
    created_at: datetime

    @property
    def final(self) -> bool:
        """Whether nothing will follow."""
        return self.topic is Topic.STATE and self.payload["state"] in FINAL_STATES


def note(session: Session, job_id: str, topic: Topic = Topic.STATE, **news: object) -> None:
    """Write down that a job changed, in the transaction that has just changed it.

    A final state is also put down for delivery to the job's webhook, where it has one.

    Args:
        session: With the change, flushed or not.
        job_id: Of the job; nothing is written where there is none.
        topic: What changed.
        news: What is new, beside the state of the job.
    """
    row = session.execute(
        select(
            JobRow.project_id.label("project"),
            JobRow.kind,
            JobRow.state,
            JobRow.done,
            JobRow.total,
            JobRow.cancel_requested,
            JobRow.cached,
            JobRow.error,
            JobRow.webhook_url,
            JobRow.created_at,
            JobRow.started_at,
            JobRow.claimed_at,
            JobRow.finished_at,
        )
        .where(JobRow.id == job_id)
        .with_for_update()
    ).one_or_none()
    if row is None:
        return
    now = datetime.now(UTC)
    job = {name: value for name, value in row._mapping.items() if name in _KEPT}
    if topic is Topic.STATE:
        job |= _times(row)
    if row.error is not None:
        job["error"] = row.error
    session.execute(
        insert(EventRow).values(
            job_id=job_id, topic=topic.value, payload={**job, **news}, created_at=now
        )
    )
    if topic is Topic.STATE and row.state in FINAL_STATES and row.webhook_url is not None:
        session.add(_delivery(job_id, row.webhook_url, now))


def _times(job: Row[Any]) -> dict[str, Any]:
    """Return what figures are made of; each is told once of a job."""
    if job.finished_at is not None:
        return {"seconds": max((job.finished_at - job.created_at).total_seconds(), 0.0)}
    if job.started_at is None:
        return {"new": True}
    first = job.started_at == job.claimed_at and not job.cancel_requested
    if job.state == JobState.RUNNING and first:
        return {"waited_seconds": max((job.started_at - job.created_at).total_seconds(), 0.0)}
    return {}


def _delivery(job_id: str, url: str, now: datetime) -> DeliveryRow:
    return DeliveryRow(
        id=new_identifier("dlv"),
        job_id=job_id,
        url=url,
        state="pending",
        created_at=now,
        next_attempt_at=now,
    )


def note_items(
    session: Session,
    job_id: str,
    items: Iterable[tuple[int, str]],
    *,
    position: int | None = None,
) -> None:
    """Write down that inputs have their answers, some hundreds in each event.

    Args:
        session: With the answers, and with the job's `done` as it is now.
        job_id: Of the job.
        items: Index and verdict of each.
        position: Of the network, in comparisons.
    """
    place = {} if position is None else {"position": position}
    pairs = iter(items)
    while part := [list(pair) for pair in islice(pairs, _ITEMS_OF_ONE_EVENT)]:
        note(session, job_id, Topic.ITEMS, items=part, **place)


def note_metrics(session: Session, job_id: str, points: Sequence[Mapping[str, Any]]) -> None:
    """Write down that a training has new points, or is just further than before."""
    if points:
        note(session, job_id, Topic.METRICS, points=[dict(point) for point in points])
    else:
        note(session, job_id, Topic.PROGRESS)


class Events:
    """All events.

    Args:
        database: Where the rows are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_job(self, job_id: str, *, after: int = 0, limit: int = 500) -> list[Event]:
        """Return at most `limit` events of a job beyond the id `after`, in their order."""
        return self._read(EventRow.job_id == job_id, EventRow.id > after, limit=limit)

    def last_of_job(self, job_id: str) -> int:
        """Return the id of a job's latest event; 0 where there is none."""
        query = select(func.max(EventRow.id)).where(EventRow.job_id == job_id)
        with self._database.read() as session:
            return session.scalar(query) or 0

    def since(self, after: int, *, missing: Collection[int] = (), limit: int = 5000) -> list[Event]:
        """Return events of every job beyond the id `after`, and those of `missing` that are there.

        Args:
            after: The largest id known.
            missing: Smaller ids that were not there yet: their transactions may be slower.
            limit: At most so many.
        """
        wanted = EventRow.id > after
        return self._read(or_(wanted, EventRow.id.in_(missing)) if missing else wanted, limit=limit)

    def latest(self, *, known: int) -> tuple[int, list[int]]:
        """Return the largest id, and which of the `known` ids before it are there already."""
        with self._database.read() as session:
            largest = session.scalar(select(func.max(EventRow.id))) or 0
            query = select(EventRow.id).where(EventRow.id > largest - known)
            return largest, list(session.scalars(query))

    def prune(self, before: datetime, *, limit: int = 10_000) -> int:
        """Delete events of finished jobs from before a moment; return how many.

        Args:
            before: Those as old or younger are kept.
            limit: At most so many at once, so that nobody waits long for the database.
        """
        old = (
            select(EventRow.id)
            .join(JobRow, JobRow.id == EventRow.job_id)
            .where(EventRow.created_at < before, JobRow.state.in_(FINAL_STATES))
            .limit(limit)
        )
        with self._database.write() as session:
            gone = session.scalars(old).all()
            session.execute(delete(EventRow).where(EventRow.id.in_(gone)))
            return len(gone)

    def _read(self, *conditions: ColumnElement[bool], limit: int) -> list[Event]:
        query = (
            select(
                EventRow.id,
                EventRow.job_id,
                EventRow.topic,
                EventRow.payload,
                EventRow.created_at,
            )
            .where(*conditions)
            .order_by(EventRow.id)
            .limit(limit)
        )
        with self._database.read() as session:
            return [_event(row) for row in session.execute(query)]


def _event(row: Row[Any]) -> Event:
    return Event(row.id, row.job_id, Topic(row.topic), row.payload, row.created_at)
