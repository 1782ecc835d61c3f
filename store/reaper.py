"""Puts back what dead workers had: whole jobs and chunks."""

from __future__ import annotations

from store.chunks import Chunks
from store.database import Database
from store.jobs import Jobs

__all__ = ["Reaper"]


class Reaper:
    """Finds work whose worker is gone.

    Args:
        database: Where the rows are.
        lease_seconds: How long a worker may be silent.
        max_attempts: How many workers a whole job may take down.
    """

    def __init__(
        self, database: Database, *, lease_seconds: float = 60.0, max_attempts: int = 5
    ) -> None:
        self._jobs = Jobs(database, lease_seconds=lease_seconds)
        self._chunks = Chunks(database, lease_seconds=lease_seconds)
        self._max_attempts = max_attempts

    def settle(self, *, owner: str | None = None) -> list[str]:
        """Count an attempt against what dead workers had, and put it back or give it up.

        Args:
            owner: Given, what this worker had is settled, whatever its leases; `*` in its place
                means every worker.

        Returns:
            Ids of the jobs that have work again.
        """
        jobs = self._jobs.expire(max_attempts=self._max_attempts, owner=owner)
        return list(dict.fromkeys([*jobs, *self._chunks.expire(owner=owner)]))
