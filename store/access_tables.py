"""Tables of who may do what, and of who did it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from store.columns import Base

__all__ = ["ApiKeyRow", "AuditRow", "LoginRow", "ProjectRow"]


class ProjectRow(Base):
    """Whose networks, data and jobs are kept apart from everybody else's.

    Attributes:
        id: `default` for the one that is always there.
        name: For people; no two projects have the same.
    """

    __tablename__ = "projects"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    created_at: Mapped[datetime]


class ApiKeyRow(Base):
    """What a client shows to be let in; the secret itself is kept nowhere.

    Attributes:
        name: For people.
        secret_sha256: Of the id and the secret.
        scopes: What it may do.
        limits: Where its limits differ from the settings'.
        expires_at: From when on it is worth nothing; None for never.
        revoked_at: When it was made worthless.
        last_used_at: To within a minute.
        created_by: Id of the key that made it; None for the command line.
    """

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    project_id: Mapped[str] = mapped_column(
        ForeignKey("projects.id", ondelete="RESTRICT"), index=True
    )
    name: Mapped[str] = mapped_column(String(100))
    secret_sha256: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[list[str]] = mapped_column(JSON)
    limits: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    created_by: Mapped[str | None] = mapped_column(String(40))
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]

    project: Mapped[ProjectRow] = relationship(lazy="joined", innerjoin=True)


class LoginRow(Base):
    """A person who logged in with a key; worth nothing once the key is.

    Attributes:
        id: Hash of the cookie, which itself is kept nowhere.
    """

    __tablename__ = "logins"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    key_id: Mapped[str] = mapped_column(ForeignKey("api_keys.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)

    key: Mapped[ApiKeyRow] = relationship(lazy="joined", innerjoin=True)


class AuditRow(Base):
    """Something that somebody did; written once and never changed.

    Attributes:
        project_id: In which project.
        key_id: With which key; None for the command line, or where no keys are asked for.
        actor: The key's name, or who acted without one.
        action: Name of the operation, as in the OpenAPI document.
        target: Id of what was made, changed or deleted.
        address: Where the request came from; None for the command line.
    """

    __tablename__ = "audit_log"
    __table_args__ = (Index("ix_audit_log_project_id_id", "project_id", "id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    project_id: Mapped[str] = mapped_column(String(40))
    at: Mapped[datetime]
    key_id: Mapped[str | None] = mapped_column(String(40))
    actor: Mapped[str] = mapped_column(String(100))
    action: Mapped[str] = mapped_column(String(60))
    target: Mapped[str | None] = mapped_column(String(100))
    address: Mapped[str | None] = mapped_column(String(60))
