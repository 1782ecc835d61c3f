"""What workers say of themselves."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision: str | None = "0007"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Add the columns."""
    op.add_column("workers", sa.Column("cores", sa.Integer))
    op.add_column("workers", sa.Column("facts", sa.JSON))


def downgrade() -> None:
    """Remove them."""
    op.drop_column("workers", "facts")
    op.drop_column("workers", "cores")
