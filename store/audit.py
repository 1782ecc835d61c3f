"""The audit log: who did what to what, when, and from where."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select

from store.access_tables import AuditRow
from store.database import Database
from store.identifiers import new_identifier
from store.tenancy import DEFAULT_PROJECT

__all__ = ["AuditLog", "Deed"]


@dataclass(frozen=True)
class Deed:
    """What somebody did.

    Attributes:
        action: Name of the operation, as in the OpenAPI document.
        actor: Name of the key, or who acted without one.
        target: Id of what was made, changed or deleted.
        project_id: In which project.
        key_id: With which key.
        address: Where the request came from.
    """

    action: str
    actor: str
    target: str | None = None
    project_id: str = DEFAULT_PROJECT
    key_id: str | None = None
    address: str | None = None


class AuditLog:
    """The log of every project, or that of one; nothing in it is ever changed.

    Args:
        database: Where the rows are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, deed: Deed) -> None:
        """Write down what somebody did."""
        row = AuditRow(
            id=new_identifier("aud"),
            project_id=deed.project_id,
            at=datetime.now(UTC),
            key_id=deed.key_id,
            actor=deed.actor,
            action=deed.action,
            target=deed.target,
            address=deed.address,
        )
        with self._database.write() as session:
            session.add(row)

    def page(
        self,
        *,
        limit: int,
        before: str | None = None,
        key_id: str | None = None,
        action: str | None = None,
    ) -> list[AuditRow]:
        """Return at most `limit` entries, newest first, older than `before`, of a key or kind."""
        query = select(AuditRow).order_by(AuditRow.id.desc()).limit(limit)
        if before is not None:
            query = query.where(AuditRow.id < before)
        if key_id is not None:
            query = query.where(AuditRow.key_id == key_id)
        if action is not None:
            query = query.where(AuditRow.action == action)
        with self._database.read() as session:
            return list(session.scalars(query))
