"""Networks, data sets, jobs, certifications, items, idempotency keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None

_MOMENT = sa.DateTime(timezone=True)


def _create_uploads(table: str) -> None:
    op.create_table(
        table,
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
        sa.UniqueConstraint("sha256", "name"),
    )
    op.create_index(f"ix_{table}_sha256", table, ["sha256"])


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("queue", sa.String(20), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("total", sa.Integer, nullable=False),
        sa.Column("done", sa.Integer, nullable=False),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("cached", sa.Boolean, nullable=False),
        sa.Column("error", sa.JSON),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("started_at", _MOMENT),
        sa.Column("finished_at", _MOMENT),
        sa.Column("owner", sa.String(100)),
        sa.Column("lease_expires_at", _MOMENT),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("sends", sa.Integer, nullable=False),
        sa.Column("next_send_at", _MOMENT),
    )
    op.create_index("ix_jobs_state_next_send_at", "jobs", ["state", "next_send_at"])


def _create_certifications() -> None:
    op.create_table(
        "certifications",
        sa.Column(
            "id", sa.String(40), sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column(
            "network_id",
            sa.String(40),
            sa.ForeignKey("networks.id", ondelete="RESTRICT"),
            nullable=False,
        ),
        sa.Column(
            "dataset_id",
            sa.String(40),
            sa.ForeignKey("datasets.id", ondelete="RESTRICT"),
            nullable=False,
        ),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("summary", sa.JSON),
    )
    for column in ("network_id", "dataset_id", "fingerprint"):
        op.create_index(f"ix_certifications_{column}", "certifications", [column])
    op.create_table(
        "items",
        sa.Column(
            "certification_id",
            sa.String(40),
            sa.ForeignKey("certifications.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("index", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("verdict", sa.String(20), nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.Column("input", sa.JSON),
    )


def _create_idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("route", sa.String(100), primary_key=True),
        sa.Column("request_sha256", sa.String(64), nullable=False),
        sa.Column("resource_id", sa.String(40), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
    )
    op.create_index("ix_idempotency_keys_resource_id", "idempotency_keys", ["resource_id"])


def upgrade() -> None:
    """Create every table."""
    _create_uploads("networks")
    _create_uploads("datasets")
    _create_jobs()
    _create_certifications()
    _create_idempotency_keys()


def downgrade() -> None:
    """Drop every table."""
    for table in (
        "idempotency_keys",
        "items",
        "certifications",
        "jobs",
        "datasets",
        "networks",
    ):
        op.drop_table(table)
