"""A worker's hold on a job: kept alive, and let go when somebody wants it to stop."""

from __future__ import annotations

import logging
import threading
import time
from enum import StrEnum
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from store.jobs import LeaseState
from store.settings import Settings
from worker.beside import Beside

__all__ = ["Lease", "LeaseKeeper", "StopReason"]

logger = logging.getLogger(__name__)


class StopReason(StrEnum):
    """Why work on a job stops early."""

    CANCELLED = "cancelled"
    LOST = "lost"
    STOPPING = "stopping"


class LeaseKeeper(Protocol):
    """Knows whether somebody still has something: `Jobs` of whole jobs, `ChunkLease` of chunks."""

    def heartbeat(self, job_id: str, owner: str) -> LeaseState:
        """Extend the owner's lease."""
        ...

    def check(self, job_id: str, owner: str) -> LeaseState:
        """Return whether the owner should go on, without writing."""
        ...


class Lease(Beside):
    """Watches over one job, or a chunk of it, from a thread of its own, while a context is open.

    The solver asks `cancelled` between steps as often as it likes; the database is asked every
    `cancel_poll_seconds`, and told of the worker's life every `heartbeat_seconds`.

    Args:
        keeper: Who knows.
        job_id: The job, it or its chunk already claimed by `owner`.
        owner: Name of this worker.
        settings: For the intervals.
        stopping: Set when the whole worker has to stop.
    """

    def __init__(
        self,
        keeper: LeaseKeeper,
        job_id: str,
        *,
        owner: str,
        settings: Settings,
        stopping: threading.Event,
    ) -> None:
        super().__init__({f"lease-{job_id}": self._watch})
        self._keeper = keeper
        self._job_id = job_id
        self._owner = owner
        self._settings = settings
        self._stopping = stopping
        self._state = LeaseState.HELD

    @property
    def stop_reason(self) -> StopReason | None:
        """Why to stop, or None while work may go on."""
        if self._state is LeaseState.CANCELLED:
            return StopReason.CANCELLED
        if self._state is LeaseState.LOST:
            return StopReason.LOST
        return StopReason.STOPPING if self._stopping.is_set() else None

    def cancelled(self) -> bool:
        """Return whether to stop, for whatever reason."""
        return self.stop_reason is not None

    def _watch(self) -> None:
        extended = time.monotonic()
        while not self._done.wait(self._settings.cancel_poll_seconds):
            now = time.monotonic()
            beat = now - extended >= self._settings.heartbeat_seconds
            ask = self._keeper.heartbeat if beat else self._keeper.check
            try:
                self._state = ask(self._job_id, self._owner)
            except SQLAlchemyError as error:
                logger.warning("the database does not answer: %s", error)
                if now - extended > self._settings.lease_seconds:
                    self._state = LeaseState.LOST  # by now another worker may have the job
            else:
                extended = now if beat else extended
            if self._state is not LeaseState.HELD:
                return
