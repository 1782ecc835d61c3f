"""What a worker does with the id of a job: claim it, compute what is missing, store it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy.exc import SQLAlchemyError

from models.errors import TightropeError
from reports.numbers import strict
from reports.summary import summarize
from store.blobs import BlobStore
from store.certifications import Certifications
from store.database import Database
from store.errors import NotFoundError, StoreError
from store.jobs import Jobs, JobState, LeaseLostError
from store.settings import Settings
from store.tables import CertificationRow
from worker.lease import Lease, StopReason

__all__ = ["CertificationWork", "Engine", "Runner"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CertificationWork:
    """What an engine needs to know.

    Attributes:
        network, dataset: The files.
        network_name, dataset_name: For messages.
        settings: As the request gave them.
        indices: The inputs still without an answer.
        device: Where to compute.
    """

    network: Path
    network_name: str
    dataset: Path
    dataset_name: str
    settings: Mapping[str, Any]
    indices: Sequence[int]
    device: str


class Engine(Protocol):
    """Computes answers, one mapping per input, as they are ready."""

    def __call__(
        self, work: CertificationWork, cancelled: Callable[[], bool]
    ) -> Iterator[Mapping[str, Any]]:
        """Yield items; stop early once `cancelled` says so."""
        ...


class Runner:
    """Runs jobs.

    Args:
        settings: Of this process.
        engine: What computes.
        owner: Name of this worker, unlike every other's.
        stopping: Set when the worker has to stop; the job at hand then goes back to the queue.
    """

    def __init__(
        self, settings: Settings, engine: Engine, *, owner: str, stopping: threading.Event
    ) -> None:
        database = Database(settings.database)
        self.jobs = Jobs(database, lease_seconds=settings.lease_seconds)
        self._certifications = Certifications(database)
        self._blobs = BlobStore(settings.blob_dir)
        self._settings = settings
        self._engine = engine
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
            with lease:
                self._compute(job_id, lease)
            self._settle(job_id, lease)
        except LeaseLostError as error:
            logger.warning("%s; leaving it", error)
        except SQLAlchemyError:
            logger.exception("the database failed; the job is taken again when its lease ends")
        except Exception as error:  # the job must not stay `running`, whatever happened
            logger.exception("failed")
            self._fail(job_id, error)

    def _compute(self, job_id: str, lease: Lease) -> None:
        """Compute and store the answers that are missing, until done or told to stop."""
        row = self._certifications.get(job_id)
        finished = self._certifications.finished_indices(job_id)
        missing = [index for index in row.settings["indices"] if index not in finished]
        logger.info("%d inputs to certify, %d are done", len(missing), len(finished))
        for item in self._engine(self._work(row, missing), lease.cancelled):
            if lease.cancelled():
                return  # this answer may have been cut short
            self._certifications.add_item(job_id, self._owner, _json_item(item))

    def _work(self, row: CertificationRow, missing: Sequence[int]) -> CertificationWork:
        return CertificationWork(
            network=self._blobs.path(row.network.sha256),
            network_name=row.network.name,
            dataset=self._blobs.path(row.dataset.sha256),
            dataset_name=row.dataset.name,
            settings=row.settings,
            indices=missing,
            device=self._settings.device,
        )

    def _settle(self, job_id: str, lease: Lease) -> None:
        """Bring the job to the state that fits how its work ended."""
        reason = lease.stop_reason
        if reason is StopReason.LOST:
            logger.warning("the job was taken from this worker; leaving it")
        elif reason is StopReason.CANCELLED:
            logger.info("cancelled")
            self.jobs.finish(job_id, self._owner, JobState.CANCELLED)
        else:
            self._succeed(job_id, stopping=reason is StopReason.STOPPING)

    def _succeed(self, job_id: str, *, stopping: bool) -> None:
        row = self._certifications.get(job_id)
        items = self._certifications.items(job_id)
        if len(items) == row.job.total:
            summary = strict(summarize(items, row.settings["methods"]))
            if not isinstance(summary, dict):
                raise TypeError("a summary is a mapping")
            self._certifications.succeed(job_id, self._owner, summary)
            logger.info("succeeded")
        elif stopping:
            logger.info("going back to the queue with %d of %d", len(items), row.job.total)
            self.jobs.release(job_id, self._owner)
        else:
            raise StoreError(f"{len(items)} of {row.job.total} inputs were answered")

    def _fail(self, job_id: str, error: Exception) -> None:
        try:
            self.jobs.finish(job_id, self._owner, JobState.FAILED, error=describe(error))
        except (LeaseLostError, NotFoundError) as lost:
            logger.warning("%s", lost)


def describe(error: Exception) -> dict[str, Any]:
    """Return what the owner of a job may know about its failure.

    Only messages written for users are passed on; others may speak of this machine.
    """
    if isinstance(error, TightropeError):
        return {"type": type(error).__name__, "message": str(error)}
    if isinstance(error, MemoryError):
        message = "there is not enough memory for this network; use a larger machine"
        return {"type": "MemoryError", "message": message}
    return {
        "type": "InternalError",
        "message": "the worker met an error of its own; its log has the details under this job",
    }


def _json_item(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the item with numbers that every database can keep."""
    clean = strict(item)
    if not isinstance(clean, dict):
        raise TypeError("an item is a mapping")
    return clean
