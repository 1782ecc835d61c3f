"""The tables of work: jobs, their chunks and events, who works, and what is counted."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Double,
    ForeignKey,
    Index,
    Integer,
    String,
    false,
)
from sqlalchemy.orm import Mapped, mapped_column

from store.columns import Base

__all__ = [
    "ChunkRow",
    "CounterRow",
    "DeliveryRow",
    "EventRow",
    "IdempotencyRow",
    "JobRow",
    "TurnRow",
    "WorkerRow",
]


class JobRow(Base):
    """Work that takes time.

    Attributes:
        kind: What table has the rest, such as `certification`.
        state: `queued`, `running`, `succeeded`, `failed`, `cancelled`.
        total, done: Units of work, for progress.
        cancel_requested: Somebody wants the running job to stop.
        error: Why it failed: `type` and `message`.
        cached: The result was taken over from an earlier job.
        owner: Worker that has the lease.
        lease_expires_at: When another worker may take the running job.
        claimed_at, claimed_done: When its worker took it, and how much was done by then.
        attempts: How often workers have taken it.
        sends, next_send_at: How often the queue was told, and when to tell it again.
        webhook_url: Where to tell that it is finished.
        context: What the request brought along for logs and traces: `request_id`, `traceparent`.
        project_id: Whose it is; workers take turns between projects.
        key_id: Of the API key that asked for it; None where nobody was asked for one.
        priority: From -10 to 10; among jobs of one project the highest goes first.
        ready: There is work that nobody has: a chunk, or the whole where it is not cut.
        parked: Units of work that were given up after too many attempts.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_state_next_send_at", "state", "next_send_at"),
        Index("ix_jobs_state_id", "state", "id"),
        Index("ix_jobs_project_id_id", "project_id", "id"),
        Index("ix_jobs_ready", "queue", "ready", "project_id", "priority", "id"),
        Index("ix_jobs_key_id_state", "key_id", "state"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    queue: Mapped[str] = mapped_column(String(20))
    state: Mapped[str] = mapped_column(String(12))
    total: Mapped[int]
    done: Mapped[int] = mapped_column(default=0)
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    cached: Mapped[bool] = mapped_column(default=False)
    error: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    owner: Mapped[str | None] = mapped_column(String(100))
    lease_expires_at: Mapped[datetime | None]
    claimed_at: Mapped[datetime | None]
    claimed_done: Mapped[int] = mapped_column(default=0, server_default="0")
    attempts: Mapped[int] = mapped_column(default=0)
    sends: Mapped[int] = mapped_column(default=0)
    next_send_at: Mapped[datetime | None]
    webhook_url: Mapped[str | None] = mapped_column(String(2000))
    context: Mapped[dict[str, Any] | None]
    project_id: Mapped[str] = mapped_column(String(40), server_default="default")
    key_id: Mapped[str | None] = mapped_column(String(40))
    priority: Mapped[int] = mapped_column(default=0, server_default="0")
    ready: Mapped[bool] = mapped_column(default=False, server_default=false())
    parked: Mapped[int] = mapped_column(default=0, server_default="0")


class ChunkRow(Base):
    """A part of a job that one worker takes at a time.

    Attributes:
        number: Counts the chunks of a job in the order in which they were cut.
        task: `items` for answers, `layers` for the tightness of a network.
        position: Of the network in a comparison; 0 in a certification.
        inputs: Ranges `[first, beyond]` of positions in the data set.
        count: How many inputs these are.
        state: `queued`, `running`, `done`, `parked`.
        owner: Worker that has the lease.
        lease_expires_at: When another worker may take it.
        attempts: How often it has failed, or a worker has died of it.
        error: Why it failed last: `type` and `message`.
        claimed_at, seconds: When its worker took it, and how long that one needed.
    """

    __tablename__ = "chunks"
    __table_args__ = (
        Index("ix_chunks_job_id_state", "job_id", "state"),
        Index("ix_chunks_state_lease_expires_at", "state", "lease_expires_at"),
    )

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    task: Mapped[str] = mapped_column(String(10))
    position: Mapped[int]
    inputs: Mapped[list[list[int]]]
    count: Mapped[int]
    state: Mapped[str] = mapped_column(String(10))
    owner: Mapped[str | None] = mapped_column(String(100))
    lease_expires_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(default=0)
    error: Mapped[dict[str, Any] | None]
    claimed_at: Mapped[datetime | None]
    seconds: Mapped[float | None]


class TurnRow(Base):
    """When a project was last given a worker's time."""

    __tablename__ = "turns"

    project_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    served_at: Mapped[datetime]


class IdempotencyRow(Base):
    """A request that was answered under an Idempotency-Key.

    Attributes:
        project_id: Whose key it is; the same key of another project is another key.
        route: Method and path, since keys belong to one kind of request.
        request_sha256: Of what was asked.
        resource_id: What it made.
    """

    __tablename__ = "idempotency_keys"

    project_id: Mapped[str] = mapped_column(String(40), primary_key=True, server_default="default")
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    route: Mapped[str] = mapped_column(String(100), primary_key=True)
    request_sha256: Mapped[str] = mapped_column(String(64))
    resource_id: Mapped[str] = mapped_column(String(40), index=True)
    created_at: Mapped[datetime]


class EventRow(Base):
    """Something that happened to a job, written by the transaction that made it happen.

    Attributes:
        id: Grows; among the events of one job in the order in which they were committed.
        topic: `state`, `progress`, `items` or `metrics`.
        payload: The job as it was then, and what is new.
    """

    __tablename__ = "job_events"
    __table_args__ = (
        Index("ix_job_events_job_id_id", "job_id", "id"),
        # Ids of deleted events are not given out again: whoever reads on would miss them.
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    topic: Mapped[str] = mapped_column(String(12))
    payload: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(index=True)


class DeliveryRow(Base):
    """A webhook that is to be told, or was told, that its job is finished.

    Attributes:
        state: `pending`, `delivered` or `failed`.
        attempts: How often it was tried.
        next_attempt_at: When it is tried again; while it is being tried, when it counts as lost.
        status: What the receiver answered last.
        error: Why the last attempt failed.
    """

    __tablename__ = "deliveries"
    __table_args__ = (Index("ix_deliveries_state_next_attempt_at", "state", "next_attempt_at"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    url: Mapped[str] = mapped_column(String(2000))
    state: Mapped[str] = mapped_column(String(12))
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    next_attempt_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    status: Mapped[int | None]
    error: Mapped[str | None] = mapped_column(String(500))


class WorkerRow(Base):
    """A worker process, and when it was last alive.

    Attributes:
        cores: That it may use; None where it did not say.
        facts: Versions and solvers that it has; None until it knows.
    """

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    queues: Mapped[str] = mapped_column(String(100))
    device: Mapped[str] = mapped_column(String(20))
    version: Mapped[str] = mapped_column(String(40))
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    cores: Mapped[int | None]
    facts: Mapped[dict[str, Any] | None]


class CounterRow(Base):
    """A figure that only grows, summed over all processes that ever were.

    Attributes:
        series: Name and labels, as Prometheus writes them.
    """

    __tablename__ = "counters"

    series: Mapped[str] = mapped_column(String(400), primary_key=True)
    value: Mapped[float] = mapped_column(Double)
