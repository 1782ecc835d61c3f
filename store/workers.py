"""Which workers are alive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete, select

from store.database import Database
from store.job_tables import WorkerRow

__all__ = ["Workers"]

_FORGOTTEN = timedelta(days=1)


class Workers:
    """All workers, those that died lately among them.

    Args:
        database: Where the rows are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def seen(
        self,
        name: str,
        *,
        queues: str,
        device: str,
        version: str,
        cores: int | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Note that a worker is alive; forget those that have not been for long.

        Args:
            name: Unlike every other worker's.
            queues: What it takes, separated by commas.
            device: Where it computes.
            version: Of its software.
            cores: That it may use.
            facts: Versions and solvers that it has, once it knows.
        """
        now = datetime.now(UTC)
        with self._database.write() as session:
            row = session.get(WorkerRow, name)
            if row is None:
                row = WorkerRow(name=name, started_at=now)
                session.add(row)
            row.queues, row.device, row.version, row.seen_at = queues, device, version, now
            row.cores, row.facts = cores, None if facts is None else dict(facts)
            session.execute(delete(WorkerRow).where(WorkerRow.seen_at < now - _FORGOTTEN))

    def gone(self, name: str) -> None:
        """Forget a worker that stops."""
        with self._database.write() as session:
            session.execute(delete(WorkerRow).where(WorkerRow.name == name))

    def living(self, *, seconds: float) -> list[WorkerRow]:
        """Return the workers that were seen in the last so many seconds, by name."""
        since = datetime.now(UTC) - timedelta(seconds=seconds)
        query = select(WorkerRow).where(WorkerRow.seen_at >= since).order_by(WorkerRow.name)
        with self._database.read() as session:
            return list(session.scalars(query))

    def alive(self, *, seconds: float) -> dict[str, int]:
        """Return how many workers take each queue, of those seen in the last so many seconds."""
        since = datetime.now(UTC) - timedelta(seconds=seconds)
        query = select(WorkerRow.queues).where(WorkerRow.seen_at >= since)
        with self._database.read() as session:
            found = list(session.scalars(query))
        names = [name for queues in found for name in _split(queues)]
        return {name: names.count(name) for name in sorted(set(names))}


def _split(queues: str) -> Iterator[str]:
    yield from dict.fromkeys(queues.split(","))
