"""What routes work with, opened when the process starts and closed when it ends."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Annotated, Any, Protocol

from anyio import CapacityLimiter
from fastapi import Depends, Request

from api.keyring import Keyring
from api.metrics import Metrics
from api.remembered import Remembered
from api.throttle import Throttle, open_throttle
from store.audit import AuditLog
from store.blobs import BlobStore
from store.certifications import Certifications
from store.comparisons import Comparisons
from store.database import Database
from store.jobs import Jobs
from store.keys import KeyLimits, Keys
from store.logins import Logins
from store.projects import Projects
from store.settings import Settings
from store.tenancy import Tenant
from store.trainings import Trainings
from store.uploads import DATASETS, NETWORKS, Uploads
from worker.app import JobQueue, create_celery
from worker.inspector import Inspector, SubprocessInspector
from worker.tracing import NO_TRACING, Tracing, open_tracing

__all__ = [
    "InstallationDependency",
    "Queue",
    "Services",
    "ServicesDependency",
    "open_services",
]

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

    Those of the whole installation see everything; those of a request, made by `of`, see and add
    to one project alone.

    Attributes:
        keys, logins, projects, audit, throttle: Who may do what, who did it, and how often.
        keyring: What was found out about keys and logins a moment ago.
        remembered: What pages have made of many answers.
        limits: Of the one who asks; None for no limit.
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
    keys: Keys
    logins: Logins
    projects: Projects
    audit: AuditLog
    throttle: Throttle
    keyring: Keyring
    queue: Queue
    inspector: Inspector
    metrics: Metrics
    inspections: CapacityLimiter
    version: str
    tracing: Tracing = NO_TRACING
    remembered: Remembered = field(default_factory=Remembered)
    limits: KeyLimits = field(default_factory=KeyLimits)

    def of(self, tenant: Tenant, limits: KeyLimits) -> Services:
        """Return the services as one project sees them, for a request within these limits."""
        database = self.database.of(tenant)
        return replace(self, **_stores(self.settings, database, self.blobs), limits=limits)

    def announce(self, job_id: str, queue: str) -> None:
        """Tell workers about a job; failing that, they find it in the database."""
        if self.queue.send(job_id, queue):
            self.jobs.mark_sent(job_id, resend_seconds=self.settings.resend_seconds)

    def close(self) -> None:
        """Close every connection."""
        self.inspector.close()
        self.queue.close()
        self.throttle.close()
        self.tracing.close()
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
    stores = _stores(settings, database, blobs)
    return Services(
        settings=settings,
        blobs=blobs,
        keyring=Keyring(stores["keys"], stores["logins"], seconds=settings.key_cache_seconds),
        throttle=open_throttle(settings),
        queue=queue or JobQueue(create_celery(settings)),
        inspector=inspector or SubprocessInspector(settings),
        metrics=Metrics(),
        tracing=open_tracing(settings, service="tightrope-api", version=version("tightrope")),
        inspections=CapacityLimiter(_INSPECTIONS_AT_ONCE),
        version=version("tightrope"),
        **stores,
    )


def _stores(settings: Settings, database: Database, blobs: BlobStore) -> dict[str, Any]:
    """Return everything that stands on the database, as its tenant sees it."""
    return {
        "database": database,
        "networks": Uploads(database, blobs, NETWORKS),
        "datasets": Uploads(database, blobs, DATASETS),
        "certifications": Certifications(database),
        "comparisons": Comparisons(database),
        "trainings": Trainings(database, blobs, settings.checkpoint_dir),
        "jobs": Jobs(database, lease_seconds=settings.lease_seconds),
        "keys": Keys(database),
        "logins": Logins(database, seconds=settings.login_seconds),
        "projects": Projects(database),
        "audit": AuditLog(database),
    }


# Asynchronous, because a thread for so little costs every request more than all it does.
async def _installation_of(request: Request) -> Services:
    services = request.app.state.services
    if not isinstance(services, Services):
        raise TypeError("the application was not made by create_app")
    return services


async def _services_of(request: Request) -> Services:
    services = getattr(request.state, "services", None)
    if not isinstance(services, Services):
        raise TypeError(
            f"{request.url.path} does not say what it needs; give its route "
            "dependencies=[needs(Scope.…)] of api.principal"
        )
    return services


ServicesDependency = Annotated[Services, Depends(_services_of)]
"""The services as the project of the one who asks sees them; the route has to say `needs(…)`."""

InstallationDependency = Annotated[Services, Depends(_installation_of)]
"""The services of the whole installation, for what operators ask."""
