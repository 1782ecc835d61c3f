"""Trainings, their metrics and artifacts; when and where a worker took up a job."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None

_MOMENT = sa.DateTime(timezone=True)


def _reference(name: str, target: str, *, nullable: bool = False) -> sa.Column[str]:
    key = sa.ForeignKey(f"{target}.id", ondelete="RESTRICT")
    return sa.Column(name, sa.String(40), key, nullable=nullable)


def _part_of_training() -> sa.Column[str]:
    key = sa.ForeignKey("trainings.id", ondelete="CASCADE")
    return sa.Column("training_id", sa.String(40), key, primary_key=True)


def upgrade() -> None:
    """Create the tables, and add what tells how long a job will take."""
    op.add_column("jobs", sa.Column("claimed_at", _MOMENT))
    op.add_column("jobs", sa.Column("claimed_done", sa.Integer, nullable=False, server_default="0"))
    op.create_table(
        "trainings",
        sa.Column(
            "id", sa.String(40), sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True
        ),
        _reference("network_id", "networks", nullable=True),
        _reference("dataset_id", "datasets"),
        _reference("validation_id", "datasets", nullable=True),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("arms", sa.JSON, nullable=False),
        sa.Column("comparison_id", sa.String(40)),
    )
    for column in ("network_id", "dataset_id", "validation_id"):
        op.create_index(f"ix_trainings_{column}", "trainings", [column])
    op.create_table(
        "training_metrics",
        _part_of_training(),
        sa.Column("index", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("arm", sa.String(20), nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
    )
    op.create_table(
        "artifacts",
        _part_of_training(),
        sa.Column("name", sa.String(60), primary_key=True),
        sa.Column("media_type", sa.String(100), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_artifacts_sha256", "artifacts", ["sha256"])


def downgrade() -> None:
    """Drop the tables and columns."""
    for table in ("artifacts", "training_metrics", "trainings"):
        op.drop_table(table)
    for column in ("claimed_done", "claimed_at"):
        op.drop_column("jobs", column)
