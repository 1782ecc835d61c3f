"""What a worker does when it is woken: take the work whose turn it is, until there is none.

A message says that there is work, and of which job; whatever work is fairest is taken. Losing or
repeating a message therefore only changes when somebody looks.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from models.errors import TightropeError
from store.blobs import BlobStore
from store.chunks import ChunkLease, Chunks, Claim
from store.database import Database
from store.errors import NotFoundError, StoreError
from store.job_rows import LeaseLostError
from store.jobs import Jobs
from store.reaper import Reaper
from store.settings import Settings
from store.states import JobState
from worker.engines import chunk_handlers, handlers
from worker.errors import EngineDiedError, RemoteError
from worker.lease import Lease, LeaseKeeper, StopReason
from worker.logs import job_logged
from worker.work import Engines
from worker.workplace import Handler, Workplace

__all__ = ["Runner"]

logger = logging.getLogger(__name__)


_TURN_SECONDS = 60.0
"""After so long a worker returns to the broker, which then hears of it and of its last message.

The task of one message goes on for no longer than this and one piece of work. Should that last
longer than the broker's visibility timeout, the message is given out again: another worker looks
for work, finds what nobody has, or nothing.
"""


class Runner:
    """Runs jobs of every kind.

    Args:
        settings: Of this process.
        engines: What computes.
        owner: Name of this worker, unlike every other's.
        stopping: Set when the worker has to stop; the work at hand then goes back to the queue.
        announce: Tells another worker, through the queue named second, that there is work for it.
        threads: Returns how many threads a chunk is computed with; None leaves that as it is.

    Attributes:
        jobs, chunks, reaper: The store.
    """

    def __init__(
        self,
        settings: Settings,
        engines: Engines,
        *,
        owner: str,
        stopping: threading.Event,
        announce: Callable[[str, str], object] = lambda _job_id, _queue: None,
        threads: Callable[[], int | None] = lambda: None,
    ) -> None:
        database = Database(settings.database)
        self.jobs = Jobs(database, lease_seconds=settings.lease_seconds)
        self.chunks = Chunks(database, lease_seconds=settings.lease_seconds)
        self.reaper = Reaper(
            database, lease_seconds=settings.lease_seconds, max_attempts=settings.max_attempts
        )
        blobs = BlobStore(settings.blob_dir)
        place = Workplace(settings, database, blobs, self.jobs, self.chunks, owner, threads)
        self._handlers = handlers(place, engines)
        self._chunk_handlers = chunk_handlers(place, engines)
        self._settings = settings
        self._queues = settings.queues.split(",")
        self._owner = owner
        self._stopping = stopping
        self._announce = announce

    def run(self) -> None:
        """Work until there is nothing left to do. Safe to call in any number of workers at once."""
        began, told = time.monotonic(), False
        while not self._stopping.is_set():
            claim = self.chunks.claim(self._owner, self._queues)
            if claim is None:
                logger.info("nothing to do: what is left is finished or another worker's")
                return
            if claim.more and not told:
                self._announce(claim.job_id, claim.queue)  # who is woken so wakes the next one
                told = True
            with job_logged(claim.job_id):
                self._work(claim)
            if time.monotonic() - began > _TURN_SECONDS:
                self._announce(claim.job_id, claim.queue)
                return

    def _work(self, claim: Claim) -> None:
        """Do a piece of work and settle it, however it ends."""
        whole = claim.number is None
        lease = self._lease(self.jobs if whole else ChunkLease(self.chunks, claim), claim)
        try:
            if whole:
                self._do_whole(claim.job_id, lease)
            else:
                self._do_chunk(claim, lease)
        except LeaseLostError as error:
            logger.warning("%s; leaving it", error)
        except SQLAlchemyError:
            logger.exception("the database failed; the work is taken again when its lease ends")
        except Exception as error:  # the work must not stay `running`, whatever happened
            logger.exception("failed")
            self._fail(claim, error)

    def _lease(self, keeper: LeaseKeeper, claim: Claim) -> Lease:
        return Lease(
            keeper,
            claim.job_id,
            owner=self._owner,
            settings=self._settings,
            stopping=self._stopping,
        )

    def _do_whole(self, job_id: str, lease: Lease) -> None:
        handler = self._handler(job_id)
        with lease:
            handler.compute(job_id, lease)
        self._settle(job_id, handler, lease.stop_reason)

    def _do_chunk(self, claim: Claim, lease: Lease) -> None:
        began = time.monotonic()
        with lease:
            rest = self._chunk_handlers[claim.kind].work(claim, lease)
        reason = lease.stop_reason
        if reason is StopReason.LOST:
            logger.warning("chunk %s was taken from this worker; leaving it", claim.number)
        elif reason is None:
            self.chunks.finish(claim, seconds=time.monotonic() - began, rest=rest)
        else:
            logger.info("chunk %s goes back: %s", claim.number, reason)
            self.chunks.release(claim)

    def _handler(self, job_id: str) -> Handler:
        kind = self.jobs.get(job_id).kind
        if kind not in self._handlers:
            raise StoreError(f"this worker knows no jobs of the kind {kind!r}")
        return self._handlers[kind]

    def _settle(self, job_id: str, handler: Handler, reason: StopReason | None) -> None:
        """Bring the job to the state that fits how its work ended."""
        if reason is StopReason.LOST:
            logger.warning("the job was taken from this worker; leaving it")
        elif reason is StopReason.CANCELLED:
            logger.info("cancelled")
            self.jobs.finish(job_id, self._owner, JobState.CANCELLED)
        elif handler.complete(job_id):
            logger.info("succeeded")
        else:
            self._give_up(job_id, stopping=reason is StopReason.STOPPING)

    def _give_up(self, job_id: str, *, stopping: bool) -> None:
        """Leave a job whose work is not done to a later run, or fail it."""
        job = self.jobs.get(job_id)
        if not stopping:
            raise StoreError(f"{job.done} of {job.total} parts of the job were done")
        logger.info("going back to the queue with %d of %d", job.done, job.total)
        self.jobs.release(job_id, self._owner)

    def _fail(self, claim: Claim, error: Exception) -> None:
        told = describe(error)
        try:
            if claim.number is None and self._may_be_tried_again(claim, error):
                self.reaper.settle(owner=self._owner)
            elif claim.number is None:
                self.jobs.finish(claim.job_id, self._owner, JobState.FAILED, error=told)
            elif isinstance(error, TightropeError) and self.jobs.get(claim.job_id).done == 0:
                # Network, data and settings do not fit each other; no other chunk will tell more.
                self.chunks.fail_job(claim, told)
            else:
                self.chunks.fail(claim, told)
        except (LeaseLostError, NotFoundError) as lost:
            logger.warning("%s", lost)

    def _may_be_tried_again(self, claim: Claim, error: Exception) -> bool:
        """Return whether the process that computes died of a whole job that has attempts left."""
        attempts = self.jobs.get(claim.job_id).attempts
        return isinstance(error, EngineDiedError) and attempts < self._settings.max_attempts


def describe(error: Exception) -> dict[str, Any]:
    """Return what the owner of a job may know about its failure.

    Only messages written for users are passed on; others may speak of this machine.
    """
    if isinstance(error, RemoteError):
        return {"type": error.kind, "message": str(error)}
    if isinstance(error, TightropeError | EngineDiedError):
        return {"type": type(error).__name__, "message": str(error)}
    if isinstance(error, MemoryError):
        message = "there is not enough memory for this network; use a larger machine"
        return {"type": "MemoryError", "message": message}
    return {
        "type": "InternalError",
        "message": "the worker met an error of its own; its log has the details under this job",
    }
