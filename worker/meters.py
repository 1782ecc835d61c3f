"""What one process counts, until it is added to the figures of all."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from store.counters import Counters
from store.figures import counted, timed

__all__ = ["Meters"]


class Meters:
    """Counts and times of one process; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, float] = {}

    def count(self, name: str, **labels: str) -> None:
        """Count one occurrence."""
        self._add(counted(name, **labels))

    def time(self, name: str, seconds: float, **labels: str) -> None:
        """Note how long something took."""
        self._add(timed(name, seconds, **labels))

    def flush(self, counters: Counters) -> None:
        """Add what has come together to the figures of all processes.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: The database does not answer; it is kept for later.
        """
        with self._lock:
            increments, self._waiting = self._waiting, {}
        try:
            counters.add(increments)
        except BaseException:
            self._add(increments.items())
            raise

    def _add(self, increments: Iterable[tuple[str, float]]) -> None:
        with self._lock:
            for name, value in increments:
                self._waiting[name] = self._waiting.get(name, 0.0) + value
