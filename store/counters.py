"""Figures that only grow, summed over every process that ever ran, and kept in the database.

Workers come and go, and nobody scrapes a process that has died; what it had counted stays here, so
that any API process can tell all of it. Processes add what has come together since the last time,
in one short transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Executable, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from store.database import Database
from store.events import Topic
from store.figures import counted, timed
from store.job_tables import CounterRow, EventRow
from store.states import FINAL_STATES, JobState

__all__ = ["Counters"]

# What is younger may still be joined by events with smaller ids.
_SETTLED = timedelta(seconds=10)
_CURSOR = "cursor"
_ROWS_OF_ONE_STATEMENT = 500
Rows = list[dict[str, Any]]


class Counters:
    """All figures.

    Args:
        database: Where the rows are.
        settled: Events are counted once they are so old.
    """

    def __init__(self, database: Database, *, settled: timedelta = _SETTLED) -> None:
        self._database = database
        self._settled = settled

    def read(self) -> dict[str, float]:
        """Return every series with its value."""
        query = select(CounterRow.series, CounterRow.value).where(CounterRow.series != _CURSOR)
        with self._database.read() as session:
            return {row.series: row.value for row in session.execute(query)}

    def add(self, increments: Mapping[str, float]) -> None:
        """Add to series; those that are new begin at 0."""
        if increments:
            with self._database.write() as session:
                _add(session, increments)

    def count_jobs(self, *, limit: int = 1000) -> int:
        """Count what has happened to jobs since the last time, whoever asked then.

        Every event is counted once: where the count has come to is kept beside the figures, in the
        same transaction.

        Returns:
            How many events were counted; at most `limit`.
        """
        with self._database.write() as session:
            cursor = self._take_cursor(session)
            if cursor is None:
                return 0
            query = (
                select(EventRow.id, EventRow.payload)
                .where(
                    EventRow.id > cursor,
                    EventRow.topic == Topic.STATE.value,
                    EventRow.created_at < datetime.now(UTC) - self._settled,
                )
                .order_by(EventRow.id)
                .limit(limit)
            )
            events = session.execute(query).all()
            if not events:
                return 0
            increments: dict[str, float] = {}
            for event in events:
                for name, value in _increments(event.payload):
                    increments[name] = increments.get(name, 0.0) + value
            _add(session, increments)
            session.execute(
                update(CounterRow)
                .where(CounterRow.series == _CURSOR)
                .values(value=float(events[-1].id))
            )
            return len(events)

    def _take_cursor(self, session: Session) -> int | None:
        """Lock and return where the count has come to; None while another process has it."""
        _add(session, {_CURSOR: 0.0}, ignore=True)
        query = select(CounterRow.value).where(CounterRow.series == _CURSOR)
        value = session.scalar(query.with_for_update(skip_locked=True))
        return None if value is None else int(value)


def _sqlite(rows: Rows, *, ignore: bool) -> Executable:
    statement = sqlite.insert(CounterRow).values(rows)
    if ignore:
        return statement.on_conflict_do_nothing()
    sums = {"value": CounterRow.value + statement.excluded.value}
    return statement.on_conflict_do_update(index_elements=["series"], set_=sums)


def _postgresql(rows: Rows, *, ignore: bool) -> Executable:
    statement = postgresql.insert(CounterRow).values(rows)
    if ignore:
        return statement.on_conflict_do_nothing()
    sums = {"value": CounterRow.value + statement.excluded.value}
    return statement.on_conflict_do_update(index_elements=["series"], set_=sums)


_STATEMENTS = {"sqlite": _sqlite, "postgresql": _postgresql}


def _add(session: Session, increments: Mapping[str, float], *, ignore: bool = False) -> None:
    """Add to series inside a transaction, in the order that everybody keeps to.

    Args:
        session: Of the transaction.
        increments: By series.
        ignore: Leave series alone that are there.
    """
    rows = [{"series": name, "value": increments[name]} for name in sorted(increments)]
    statement = _STATEMENTS[session.get_bind().dialect.name]
    for start in range(0, len(rows), _ROWS_OF_ONE_STATEMENT):
        session.execute(statement(rows[start : start + _ROWS_OF_ONE_STATEMENT], ignore=ignore))


def _increments(job: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield what a change of a job's state adds to the figures."""
    kind, state = job["kind"], job["state"]
    if state == JobState.QUEUED and job.get("new"):
        yield from counted("tightrope_jobs_submitted_total", kind=kind)
    if state == JobState.RUNNING and job.get("waited_seconds") is not None:
        yield from timed("tightrope_job_wait_seconds", job["waited_seconds"], kind=kind)
    if state in FINAL_STATES:
        yield from counted("tightrope_jobs_finished_total", kind=kind, state=state)
        if job["cached"]:
            yield from counted("tightrope_cache_hits_total", kind=kind)
        else:
            yield from timed("tightrope_job_duration_seconds", job.get("seconds", 0.0), kind=kind)
