"""Events of jobs, deliveries of webhooks, live workers, figures that processes add to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision: str | None = "0003"
branch_labels: str | None = None
depends_on: str | None = None

_MOMENT = sa.DateTime(timezone=True)


def _job() -> sa.Column[str]:
    key = sa.ForeignKey("jobs.id", ondelete="CASCADE")
    return sa.Column("job_id", sa.String(40), key, nullable=False)


def upgrade() -> None:
    """Create the tables, and add what a request brings along for its job."""
    op.add_column("jobs", sa.Column("webhook_url", sa.String(2000)))
    op.add_column("jobs", sa.Column("context", sa.JSON))
    _create_events()
    _create_deliveries()
    op.create_table(
        "workers",
        sa.Column("name", sa.String(100), primary_key=True),
        sa.Column("queues", sa.String(100), nullable=False),
        sa.Column("device", sa.String(20), nullable=False),
        sa.Column("version", sa.String(40), nullable=False),
        sa.Column("started_at", _MOMENT, nullable=False),
        sa.Column("seen_at", _MOMENT, nullable=False),
    )
    op.create_table(
        "counters",
        sa.Column("series", sa.String(400), primary_key=True),
        sa.Column("value", sa.Double, nullable=False),
    )


def _create_events() -> None:
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "job_events",
        sa.Column("id", number, primary_key=True, autoincrement=True),
        _job(),
        sa.Column("topic", sa.String(12), nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_job_events_job_id_id", "job_events", ["job_id", "id"])
    op.create_index("ix_job_events_created_at", "job_events", ["created_at"])


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", sa.String(40), primary_key=True),
        _job(),
        sa.Column("url", sa.String(2000), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("next_attempt_at", _MOMENT),
        sa.Column("finished_at", _MOMENT),
        sa.Column("status", sa.Integer),
        sa.Column("error", sa.String(500)),
    )
    op.create_index("ix_deliveries_job_id", "deliveries", ["job_id"])
    op.create_index(
        "ix_deliveries_state_next_attempt_at", "deliveries", ["state", "next_attempt_at"]
    )


def downgrade() -> None:
    """Drop the tables and columns."""
    for table in ("counters", "workers", "deliveries", "job_events"):
        op.drop_table(table)
    for column in ("context", "webhook_url"):
        op.drop_column("jobs", column)
