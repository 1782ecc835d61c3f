"""What routes work with, opened when the process starts and closed when it ends."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated, Protocol

from anyio import CapacityLimiter
from fastapi import Depends, Request

from api.metrics import Metrics
from store.blobs import BlobStore
from store.certifications import Certifications
from store.comparisons import Comparisons
from store.database import Database
from store.jobs import Jobs
from store.settings import Settings
from store.trainings import Trainings
from store.uploads import DATASETS, NETWORKS, Uploads
from worker.app import JobQueue, create_celery
from worker.inspector import Inspector, SubprocessInspector

__all__ = ["Queue", "Services", "ServicesDependency", "open_services"]

_INSPECTIONS_AT_ONCE = 2


class Queue(Protocol):
    """Tells workers about jobs."""

    def send(self, job_id: str, queue: str) -> bool:
        """Announce a job; return whether the message was taken."""
        ...

    def ping(self) -> None:
        """Raise if the broker does not answer."""
        ...

    def close(self) -> None:
        """Close connections."""
        ...


@dataclass(frozen=True)
class Services:
    """The store, the queue and the inspector of one process.

    Attributes:
        version: Of the software; part of what makes two questions equal.
        inspections: Keeps few files inspected at once, since each may take much memory.
    """

    settings: Settings
    database: Database
    blobs: BlobStore
    networks: Uploads
    datasets: Uploads
    certifications: Certifications
    comparisons: Comparisons
    trainings: Trainings
    jobs: Jobs
    queue: Queue
    inspector: Inspector
    metrics: Metrics
    inspections: CapacityLimiter
    version: str

    def announce(self, job_id: str, queue: str) -> None:
        """Tell workers about a job; failing that, they find it in the database."""
        if self.queue.send(job_id, queue):
            self.jobs.mark_sent(job_id, resend_seconds=self.settings.resend_seconds)

    def close(self) -> None:
        """Close every connection."""
        self.inspector.close()
        self.queue.close()
        self.database.close()


def open_services(
    settings: Settings, *, inspector: Inspector | None = None, queue: Queue | None = None
) -> Services:
    """Return the services for these settings; nothing is connected before it is used.

    Args:
        settings: Of this process.
        inspector: In place of the one that starts processes.
        queue: In place of Celery's.
    """
    database = Database(settings.database)
    blobs = BlobStore(settings.blob_dir)
    return Services(
        settings=settings,
        database=database,
        blobs=blobs,
        networks=Uploads(database, blobs, NETWORKS),
        datasets=Uploads(database, blobs, DATASETS),
        certifications=Certifications(database),
        comparisons=Comparisons(database),
        trainings=Trainings(database, blobs, settings.checkpoint_dir),
        jobs=Jobs(database, lease_seconds=settings.lease_seconds),
        queue=queue or JobQueue(create_celery(settings)),
        inspector=inspector or SubprocessInspector(settings),
        metrics=Metrics(),
        inspections=CapacityLimiter(_INSPECTIONS_AT_ONCE),
        version=version("tightrope"),
    )


def _services_of(request: Request) -> Services:
    services = request.app.state.services
    if not isinstance(services, Services):
        raise TypeError("the application was not made by create_app")
    return services


ServicesDependency = Annotated[Services, Depends(_services_of)]
