"""Requests that may safely be sent twice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from store.errors import IdempotencyMismatchError
from store.job_tables import IdempotencyRow
from store.tenancy import project_of

__all__ = ["KEPT", "Replay", "find_replay", "forget", "remember"]

KEPT = timedelta(hours=24)


@dataclass(frozen=True)
class Replay:
    """The Idempotency-Key of a request; keys of one project mean nothing to another.

    Attributes:
        key: As the client chose it.
        route: Method and path.
        request_sha256: Of what is asked, to notice a key used for two things.
    """

    key: str
    route: str
    request_sha256: str


def find_replay(session: Session, replay: Replay) -> str | None:
    """Return the id of what the same request made before, or None.

    Of two equal requests at the same time the second waits here for the first one's transaction.

    Raises:
        IdempotencyMismatchError: The key was used for another request.
    """
    project = project_of(session)
    if session.get_bind().dialect.name == "postgresql":  # SQLite has one writer anyway
        lock = f"{project} {replay.key}"
        session.execute(select(func.pg_advisory_xact_lock(func.hashtext(lock))))
    row = session.get(IdempotencyRow, (project, replay.key, replay.route))
    if row is None:
        return None
    if row.created_at < datetime.now(UTC) - KEPT:
        session.delete(row)
        session.flush()
        return None
    if row.request_sha256 != replay.request_sha256:
        raise IdempotencyMismatchError(
            f"the Idempotency-Key {replay.key!r} was used before with a different request; "
            "use a new key for a new request"
        )
    return row.resource_id


def remember(session: Session, replay: Replay, resource_id: str) -> None:
    """Note what a request made, and drop what is too old to be asked for."""
    now = datetime.now(UTC)
    session.execute(delete(IdempotencyRow).where(IdempotencyRow.created_at < now - KEPT))
    session.add(
        IdempotencyRow(
            key=replay.key,
            route=replay.route,
            request_sha256=replay.request_sha256,
            resource_id=resource_id,
            created_at=now,
        )
    )


def forget(session: Session, resource_id: str) -> None:
    """Free the keys of a resource that is being deleted."""
    session.execute(delete(IdempotencyRow).where(IdempotencyRow.resource_id == resource_id))
