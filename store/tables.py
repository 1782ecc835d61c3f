"""The tables."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

__all__ = [
    "ArtifactRow",
    "Base",
    "CertificationRow",
    "ChunkRow",
    "ComparedItemRow",
    "ComparedNetworkRow",
    "ComparisonRow",
    "CounterRow",
    "DatasetRow",
    "DeliveryRow",
    "EventRow",
    "IdempotencyRow",
    "ItemProofRow",
    "ItemRow",
    "JobRow",
    "MetricRow",
    "NetworkRow",
    "TrainingRow",
    "TurnRow",
    "UploadMixin",
    "UtcDateTime",
    "WorkerRow",
]


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC, aware in Python whatever the database keeps."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store UTC; SQLite, which knows no zones, gets it without one."""
        if value is None:
            return None
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return an aware moment in UTC."""
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Base of the tables."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime(),
        dict[str, Any]: JSON(none_as_null=True),
        list[float]: JSON(none_as_null=True),
        list[list[int]]: JSON(none_as_null=True),
    }


class UploadMixin:
    """What networks and data sets have in common: a name for people and a file.

    Attributes:
        project_id: Whose it is.
        details: What inspection found out about the file.
    """

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    project_id: Mapped[str] = mapped_column(String(40), server_default="default")
    name: Mapped[str] = mapped_column(String(200))
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime]
    details: Mapped[dict[str, Any]]


class NetworkRow(UploadMixin, Base):
    """An uploaded network."""

    __tablename__ = "networks"
    __table_args__ = (
        UniqueConstraint("project_id", "sha256", "name", name="uq_networks_project_id"),
        Index("ix_networks_project_id_id", "project_id", "id"),
    )


class DatasetRow(UploadMixin, Base):
    """An uploaded data set."""

    __tablename__ = "datasets"
    __table_args__ = (
        UniqueConstraint("project_id", "sha256", "name", name="uq_datasets_project_id"),
        Index("ix_datasets_project_id_id", "project_id", "id"),
    )


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


class CertificationRow(Base):
    """What a certification was asked and what came out; its job has the same id.

    Attributes:
        settings: As the request gave them, defaults filled in.
        fingerprint: Equal for requests that have the same answer.
        question: Equal for requests that differ in inputs and methods alone.
        summary: Once it has succeeded.
    """

    __tablename__ = "certifications"

    id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    network_id: Mapped[str] = mapped_column(
        ForeignKey("networks.id", ondelete="RESTRICT"), index=True
    )
    dataset_id: Mapped[str] = mapped_column(
        ForeignKey("datasets.id", ondelete="RESTRICT"), index=True
    )
    settings: Mapped[dict[str, Any]]
    fingerprint: Mapped[str] = mapped_column(String(64), index=True)
    question: Mapped[str | None] = mapped_column(String(64), index=True)
    summary: Mapped[dict[str, Any] | None]

    job: Mapped[JobRow] = relationship(lazy="joined", innerjoin=True)
    network: Mapped[NetworkRow] = relationship(lazy="joined", innerjoin=True)
    dataset: Mapped[DatasetRow] = relationship(lazy="joined", innerjoin=True)


class ItemRow(Base):
    """The answer for one input; written once, whoever computes it again.

    Attributes:
        index: Position in the data set.
        payload: The item as reports print it.
        input: The input itself, flat, where a counterexample is to be shown beside it.
    """

    __tablename__ = "items"

    certification_id: Mapped[str] = mapped_column(
        ForeignKey("certifications.id", ondelete="CASCADE"), primary_key=True
    )
    index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    verdict: Mapped[str] = mapped_column(String(20))
    payload: Mapped[dict[str, Any]]
    input: Mapped[list[float] | None]


class ItemProofRow(Base):
    """The proof of a verified input, as the checker accepted it."""

    __tablename__ = "item_proofs"

    certification_id: Mapped[str] = mapped_column(
        ForeignKey("certifications.id", ondelete="CASCADE"), primary_key=True
    )
    index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    content: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)


class TrainingRow(Base):
    """What a training was asked and what came out; its job has the same id.

    Attributes:
        network_id: What is fine-tuned; None where an architecture starts from initial weights.
        validation_id: Data set of its own for validation; None where a share of the data is kept.
        settings: As the request gave them, defaults filled in.
        arms: What each arm came to, by its name, once it is finished.
        comparison_id: Where both arms are compared.
    """

    __tablename__ = "trainings"

    id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    network_id: Mapped[str | None] = mapped_column(
        ForeignKey("networks.id", ondelete="RESTRICT"), index=True
    )
    dataset_id: Mapped[str] = mapped_column(
        ForeignKey("datasets.id", ondelete="RESTRICT"), index=True
    )
    validation_id: Mapped[str | None] = mapped_column(
        ForeignKey("datasets.id", ondelete="RESTRICT"), index=True
    )
    settings: Mapped[dict[str, Any]]
    arms: Mapped[dict[str, Any]]
    comparison_id: Mapped[str | None] = mapped_column(String(40))

    job: Mapped[JobRow] = relationship(lazy="joined", innerjoin=True)
    network: Mapped[NetworkRow | None] = relationship(lazy="joined")
    dataset: Mapped[DatasetRow] = relationship(
        lazy="joined", innerjoin=True, foreign_keys=[dataset_id]
    )
    validation: Mapped[DatasetRow | None] = relationship(
        lazy="joined", foreign_keys=[validation_id]
    )


class MetricRow(Base):
    """A step or an epoch of a training, as far as it is kept.

    Attributes:
        index: From 0, in the order in which they were written.
        arm: Which of the networks that are trained.
        position: Grows along an arm; a resumed training does not write what is there already.
    """

    __tablename__ = "training_metrics"

    training_id: Mapped[str] = mapped_column(
        ForeignKey("trainings.id", ondelete="CASCADE"), primary_key=True
    )
    index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    arm: Mapped[str] = mapped_column(String(20))
    position: Mapped[int] = mapped_column(BigInteger)
    payload: Mapped[dict[str, Any]]


class ArtifactRow(Base):
    """A file that a training left, among the other files by the hash of its content."""

    __tablename__ = "artifacts"

    training_id: Mapped[str] = mapped_column(
        ForeignKey("trainings.id", ondelete="CASCADE"), primary_key=True
    )
    name: Mapped[str] = mapped_column(String(60), primary_key=True)
    media_type: Mapped[str] = mapped_column(String(100))
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)


class ComparisonRow(Base):
    """Networks beside a baseline on the same inputs; its job has the same id.

    Attributes:
        settings: As the request gave them, defaults filled in.
        fingerprint: Equal for requests that have the same answer.
        result: The figures, once it has succeeded.
        networks: The baseline, then the candidates.
    """

    __tablename__ = "comparisons"

    id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    dataset_id: Mapped[str] = mapped_column(
        ForeignKey("datasets.id", ondelete="RESTRICT"), index=True
    )
    settings: Mapped[dict[str, Any]]
    fingerprint: Mapped[str] = mapped_column(String(64), index=True)
    result: Mapped[dict[str, Any] | None]

    job: Mapped[JobRow] = relationship(lazy="joined", innerjoin=True)
    dataset: Mapped[DatasetRow] = relationship(lazy="joined", innerjoin=True)
    networks: Mapped[list[ComparedNetworkRow]] = relationship(
        lazy="selectin", order_by="ComparedNetworkRow.position", viewonly=True
    )


class ComparedNetworkRow(Base):
    """A network of a comparison.

    Attributes:
        position: 0 for the baseline.
        fingerprint, question: That a certification of this network would have.
        tightness: `layers`, once they are measured.
    """

    __tablename__ = "compared_networks"

    comparison_id: Mapped[str] = mapped_column(
        ForeignKey("comparisons.id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    network_id: Mapped[str] = mapped_column(
        ForeignKey("networks.id", ondelete="RESTRICT"), index=True
    )
    fingerprint: Mapped[str] = mapped_column(String(64), index=True)
    question: Mapped[str | None] = mapped_column(String(64), index=True)
    tightness: Mapped[dict[str, Any] | None]

    network: Mapped[NetworkRow] = relationship(lazy="joined", innerjoin=True)


class ComparedItemRow(Base):
    """The answer of one network of a comparison for one input; written once.

    Attributes:
        position: Of the network.
        index: Of the input in the data set.
        payload: The item as reports print it.
    """

    __tablename__ = "compared_items"

    comparison_id: Mapped[str] = mapped_column(
        ForeignKey("comparisons.id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    verdict: Mapped[str] = mapped_column(String(20))
    payload: Mapped[dict[str, Any]]


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
