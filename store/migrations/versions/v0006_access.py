"""Projects, API keys, logins and the audit log; whose each network, data set and request is."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision: str | None = "0005"
branch_labels: str | None = None
depends_on: str | None = None

_MOMENT = sa.DateTime(timezone=True)
_UPLOADS = ("networks", "datasets")
# SQLite does not name constraints itself; PostgreSQL calls this one TABLE_sha256_name_key.
_NAMES = {"uq": "uq_%(table_name)s_%(column_0_name)s"}


def _project(*, primary_key: bool = False) -> sa.Column[str]:
    return sa.Column(
        "project_id",
        sa.String(40),
        nullable=False,
        server_default="default",
        primary_key=primary_key,
    )


def _on_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def _create_projects() -> None:
    projects = op.create_table(
        "projects",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("name", sa.String(100), nullable=False, unique=True),
        sa.Column("created_at", _MOMENT, nullable=False),
    )
    now = datetime.now(UTC).replace(tzinfo=None) if _on_sqlite() else datetime.now(UTC)
    op.bulk_insert(projects, [{"id": "default", "name": "default", "created_at": now}])


def _create_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column(
            "project_id",
            sa.String(40),
            sa.ForeignKey("projects.id", ondelete="RESTRICT"),
            nullable=False,
        ),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("secret_sha256", sa.String(64), nullable=False),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("limits", sa.JSON, nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("created_by", sa.String(40)),
        sa.Column("expires_at", _MOMENT),
        sa.Column("revoked_at", _MOMENT),
        sa.Column("last_used_at", _MOMENT),
    )
    op.create_index("ix_api_keys_project_id", "api_keys", ["project_id"])
    op.create_table(
        "logins",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column(
            "key_id",
            sa.String(40),
            sa.ForeignKey("api_keys.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("expires_at", _MOMENT, nullable=False),
    )
    for column in ("key_id", "expires_at"):
        op.create_index(f"ix_logins_{column}", "logins", [column])


def _create_audit_log() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("project_id", sa.String(40), nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("key_id", sa.String(40)),
        sa.Column("actor", sa.String(100), nullable=False),
        sa.Column("action", sa.String(60), nullable=False),
        sa.Column("target", sa.String(100)),
        sa.Column("address", sa.String(60)),
    )
    op.create_index("ix_audit_log_project_id_id", "audit_log", ["project_id", "id"])


def _former_name(table: str) -> str:
    """Return the name of the constraint that there was: one content under one name, once."""
    return f"uq_{table}_sha256" if _on_sqlite() else f"{table}_sha256_name_key"


def _own_uploads(table: str) -> None:
    """Say whose each upload is; one content under one name is stored once for each project."""
    with op.batch_alter_table(table, naming_convention=_NAMES) as batch:
        batch.add_column(_project())
        batch.drop_constraint(_former_name(table), type_="unique")
        batch.create_unique_constraint(f"uq_{table}_project_id", ["project_id", "sha256", "name"])
    op.create_index(f"ix_{table}_project_id_id", table, ["project_id", "id"])


def _create_requests(*, owned: bool) -> None:
    """Make the table of idempotency keys anew, with what was in it: its primary key changes."""
    columns = "key, route, request_sha256, resource_id, created_at"
    op.drop_index("ix_idempotency_keys_resource_id", "idempotency_keys")
    op.rename_table("idempotency_keys", "former_requests")
    op.create_table(
        "idempotency_keys",
        *([_project()] if owned else []),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("route", sa.String(100), nullable=False),
        sa.Column("request_sha256", sa.String(64), nullable=False),
        sa.Column("resource_id", sa.String(40), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint(
            *(["project_id"] if owned else []), "key", "route", name="pk_requests"
        ),
    )
    op.execute(
        f"INSERT INTO idempotency_keys ({columns}) SELECT {columns} FROM former_requests"  # noqa: S608 (no input)
    )
    op.drop_table("former_requests")
    op.create_index("ix_idempotency_keys_resource_id", "idempotency_keys", ["resource_id"])


def upgrade() -> None:
    """Create the tables, and give what there is to the project `default`."""
    _create_projects()
    _create_keys()
    _create_audit_log()
    for table in _UPLOADS:
        _own_uploads(table)
    op.add_column("jobs", sa.Column("key_id", sa.String(40)))
    op.create_index("ix_jobs_key_id_state", "jobs", ["key_id", "state"])
    _create_requests(owned=True)


def downgrade() -> None:
    """Drop the tables and columns; projects have to be without each other's uploads."""
    _create_requests(owned=False)
    op.drop_index("ix_jobs_key_id_state", "jobs")
    op.drop_column("jobs", "key_id")
    for table in _UPLOADS:
        op.drop_index(f"ix_{table}_project_id_id", table)
        with op.batch_alter_table(table) as batch:
            batch.drop_constraint(f"uq_{table}_project_id", type_="unique")
            batch.drop_column("project_id")
            batch.create_unique_constraint(_former_name(table), ["sha256", "name"])
    for table in ("audit_log", "logins", "api_keys", "projects"):
        op.drop_table(table)
