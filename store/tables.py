"""The tables of what is certified, compared and trained; `store.job_tables` has those of work."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from store.columns import Base
from store.job_tables import JobRow

__all__ = [
    "ArtifactRow",
    "CertificationRow",
    "ComparedItemRow",
    "ComparedNetworkRow",
    "ComparisonRow",
    "DatasetRow",
    "ItemProofRow",
    "ItemRow",
    "MetricRow",
    "NetworkRow",
    "TrainingRow",
    "UploadMixin",
]


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
