"""Comparisons: their networks, and the answers of each."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None


def _reference(name: str, target: str, *, ondelete: str, primary: bool = False) -> sa.Column[str]:
    key = sa.ForeignKey(f"{target}.id", ondelete=ondelete)
    return sa.Column(name, sa.String(40), key, primary_key=primary, nullable=False)


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "comparisons",
        _reference("id", "jobs", ondelete="CASCADE", primary=True),
        _reference("dataset_id", "datasets", ondelete="RESTRICT"),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("result", sa.JSON),
    )
    for column in ("dataset_id", "fingerprint"):
        op.create_index(f"ix_comparisons_{column}", "comparisons", [column])
    op.create_table(
        "compared_networks",
        _reference("comparison_id", "comparisons", ondelete="CASCADE", primary=True),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        _reference("network_id", "networks", ondelete="RESTRICT"),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("tightness", sa.JSON),
    )
    for column in ("network_id", "fingerprint"):
        op.create_index(f"ix_compared_networks_{column}", "compared_networks", [column])
    op.create_table(
        "compared_items",
        _reference("comparison_id", "comparisons", ondelete="CASCADE", primary=True),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("index", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("verdict", sa.String(20), nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
    )


def downgrade() -> None:
    """Drop the tables."""
    for table in ("compared_items", "compared_networks", "comparisons"):
        op.drop_table(table)
