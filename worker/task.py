"""What a worker does for jobs of one kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from store.blobs import BlobStore
from store.database import Database
from store.jobs import Jobs
from store.settings import Settings
from worker.lease import Lease

__all__ = ["Task", "TaskFactory", "Tasks", "Workplace"]


@dataclass(frozen=True)
class Workplace:
    """What a worker has at hand for every job.

    Attributes:
        settings: Of this process.
        database, blobs, jobs: The store.
        owner: Name of this worker, unlike every other's.
    """

    settings: Settings
    database: Database
    blobs: BlobStore
    jobs: Jobs
    owner: str


class Task(Protocol):
    """Work of one kind. A job may be given to it again and again, each time after a death."""

    def compute(self, job_id: str, lease: Lease) -> None:
        """Compute and store what is missing, until done or told to stop by the lease.

        Raises:
            LeaseLostError: The job is no longer this worker's.
        """
        ...

    def succeed(self, job_id: str) -> bool:
        """Bring a job to a good end if everything is there; return whether it was.

        Raises:
            LeaseLostError: The job is no longer this worker's.
        """
        ...


TaskFactory = Callable[[Workplace], Task]
# By kind of job, as the database names it.
Tasks = Mapping[str, TaskFactory]
