"""Where Alembic meets the tables; run by `store.migrate` with an open connection."""

from __future__ import annotations

from alembic import context

from store import access_tables, job_tables, tables  # noqa: F401 (to be known here)
from store.columns import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite cannot alter columns in place
)
with context.begin_transaction():
    context.run_migrations()
