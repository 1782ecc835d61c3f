"""What a worker does with the id of a job: claim it, compute what is missing, store it."""

from __future__ import annotations

import logging
import threading
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from models.errors import TightropeError
from store.blobs import BlobStore
from store.database import Database
from store.errors import NotFoundError, StoreError
from store.jobs import Jobs, JobState, LeaseLostError
from store.settings import Settings
from worker.engines import Engines, handlers
from worker.errors import EngineDiedError, RemoteError
from worker.lease import Lease, StopReason
from worker.workplace import Handler, Workplace

__all__ = ["Runner"]

logger = logging.getLogger(__name__)


class Runner:
    """Runs jobs of every kind.

    Args:
        settings: Of this process.
        engines: What computes.
        owner: Name of this worker, unlike every other's.
        stopping: Set when the worker has to stop; the job at hand then goes back to the queue.
    """

    def __init__(
        self, settings: Settings, engines: Engines, *, owner: str, stopping: threading.Event
    ) -> None:
        database = Database(settings.database)
        self.jobs = Jobs(database, lease_seconds=settings.lease_seconds)
        place = Workplace(settings, database, BlobStore(settings.blob_dir), self.jobs, owner)
        self._handlers = handlers(place, engines)
        self._settings = settings
        self._owner = owner
        self._stopping = stopping

    def run(self, job_id: str) -> None:
        """Run one job as far as it goes. Safe to call twice, or in two workers at once."""
        if self._stopping.is_set() or not self.jobs.claim(job_id, self._owner):
            logger.info("nothing to do: the job is finished, deleted or another worker's")
            return
        lease = Lease(
            self.jobs,
            job_id,
            owner=self._owner,
            settings=self._settings,
            stopping=self._stopping,
        )
        try:
            handler = self._handler(job_id)
            with lease:
                handler.compute(job_id, lease)
            self._settle(job_id, handler, lease.stop_reason)
        except LeaseLostError as error:
            logger.warning("%s; leaving it", error)
        except SQLAlchemyError:
            logger.exception("the database failed; the job is taken again when its lease ends")
        except Exception as error:  # the job must not stay `running`, whatever happened
            logger.exception("failed")
            self._fail(job_id, error)

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

    def _fail(self, job_id: str, error: Exception) -> None:
        try:
            self.jobs.finish(job_id, self._owner, JobState.FAILED, error=describe(error))
        except (LeaseLostError, NotFoundError) as lost:
            logger.warning("%s", lost)


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
