"""Chunks of jobs, turns of projects, priorities, and what makes two questions alike."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision: str | None = "0004"
branch_labels: str | None = None
depends_on: str | None = None

_MOMENT = sa.DateTime(timezone=True)
_JOB_COLUMNS = ("project_id", "priority", "ready", "parked")
_JOB_INDICES = {
    "ix_jobs_state_id": ["state", "id"],
    "ix_jobs_project_id_id": ["project_id", "id"],
    "ix_jobs_ready": ["queue", "ready", "project_id", "priority", "id"],
}
_ASKING = ("certifications", "compared_networks")


def _extend_jobs() -> None:
    op.add_column(
        "jobs", sa.Column("project_id", sa.String(40), nullable=False, server_default="default")
    )
    op.add_column("jobs", sa.Column("priority", sa.Integer, nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("ready", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("jobs", sa.Column("parked", sa.Integer, nullable=False, server_default="0"))
    # Workers of the version before have left these to be done.
    op.execute(sa.text("UPDATE jobs SET ready = true WHERE state = 'queued'"))
    for name, columns in _JOB_INDICES.items():
        op.create_index(name, "jobs", columns)


def _create_chunks() -> None:
    op.create_table(
        "chunks",
        sa.Column(
            "job_id", sa.String(40), sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("task", sa.String(10), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("inputs", sa.JSON, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("owner", sa.String(100)),
        sa.Column("lease_expires_at", _MOMENT),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("error", sa.JSON),
        sa.Column("claimed_at", _MOMENT),
        sa.Column("seconds", sa.Double),
    )
    op.create_index("ix_chunks_job_id_state", "chunks", ["job_id", "state"])
    op.create_index("ix_chunks_state_lease_expires_at", "chunks", ["state", "lease_expires_at"])


def upgrade() -> None:
    """Create the tables, and extend those of jobs and of what they ask."""
    _extend_jobs()
    _create_chunks()
    op.create_table(
        "turns",
        sa.Column("project_id", sa.String(40), primary_key=True),
        sa.Column("served_at", _MOMENT, nullable=False),
    )
    for table in _ASKING:
        op.add_column(table, sa.Column("question", sa.String(64)))
        op.create_index(f"ix_{table}_question", table, ["question"])


def downgrade() -> None:
    """Drop the tables, indices and columns."""
    for table in _ASKING:
        op.drop_index(f"ix_{table}_question", table)
        op.drop_column(table, "question")
    op.drop_table("turns")
    op.drop_table("chunks")
    for name in _JOB_INDICES:
        op.drop_index(name, "jobs")
    for column in _JOB_COLUMNS:
        op.drop_column("jobs", column)
