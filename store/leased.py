"""What is leased: work that belongs to a worker for as long as that is heard of."""

from __future__ import annotations

from datetime import timedelta

from store.clock import Clock, database_clock
from store.database import Database

__all__ = ["Leased"]


class Leased:
    """Base of rows that are taken for a time.

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
