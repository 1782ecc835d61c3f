"""Logins: people who showed a key once and go on with a cookie.

What the cookie holds is kept as a hash only, like the secrets of keys and for the same reason. A
login ends with its time, with a logout, and with its key, whichever comes first.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete

from store.access_tables import ApiKeyRow, LoginRow
from store.database import Database
from store.errors import AuthenticationError

__all__ = ["Logins"]


class Logins:
    """All logins.

    Args:
        database: Where the rows are.
        seconds: How long one lasts.
    """

    def __init__(self, database: Database, *, seconds: float) -> None:
        self._database = database
        self._lasts = timedelta(seconds=seconds)

    def open(self, key_id: str) -> str:
        """Log somebody in with a key that was checked; return what the cookie holds."""
        cookie = secrets.token_urlsafe(32)
        now = datetime.now(UTC)
        row = LoginRow(
            id=_digest(cookie), key_id=key_id, created_at=now, expires_at=now + self._lasts
        )
        with self._database.write() as session:
            session.execute(delete(LoginRow).where(LoginRow.expires_at < now))
            session.add(row)
        return cookie

    def key_of(self, cookie: str, *, now: datetime | None = None) -> ApiKeyRow:
        """Return the key that somebody logged in with; whether it is still good is not checked.

        Args:
            cookie: What the cookie holds.
            now: In place of this moment.

        Raises:
            AuthenticationError: There is no such login, or its time is over.
        """
        with self._database.read() as session:
            row = session.get(LoginRow, _digest(cookie))
        if row is None or row.expires_at <= (now or datetime.now(UTC)):
            raise AuthenticationError("the login is over; log in again")
        return row.key

    def close(self, cookie: str) -> ApiKeyRow | None:
        """Log somebody out; return the key of the login, if there was one."""
        with self._database.write() as session:
            row = session.get(LoginRow, _digest(cookie))
            if row is None:
                return None
            session.delete(row)
            return row.key


def _digest(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()
