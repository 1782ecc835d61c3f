"""One database, SQLite or PostgreSQL, behind two kinds of transaction: read and write."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.orm import Session

from store.errors import StoreError
from store.tenancy import Tenant, TenantSession

__all__ = ["Database"]

_SQLITE_BUSY_SECONDS = 20
_WRITE = "tightrope_write"
_DRIVERS = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}


class Database:
    """Connections to one database.

    Reading and writing are told apart because SQLite has one writer: a transaction that reads
    first and writes later fails at once when another wrote in between, one that announces
    itself as a writer waits for its turn.

    Args:
        url: SQLAlchemy URL; `sqlite` or `postgresql`.

    Attributes:
        tenant: Whose rows its sessions see and make; None for everybody's.

    Raises:
        StoreError: The URL is of neither kind.
    """

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        parsed = parsed.set(drivername=_DRIVERS.get(parsed.drivername, parsed.drivername))
        self.url = parsed
        self.dialect = parsed.get_backend_name()
        if self.dialect not in ("sqlite", "postgresql"):
            raise StoreError(f"the database must be sqlite or postgresql, not {self.dialect!r}")
        self.engine: Engine = create_engine(parsed, pool_pre_ping=self.dialect == "postgresql")
        if self.dialect == "sqlite":
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        self._writer = self.engine.execution_options(**{_WRITE: True})
        self.tenant: Tenant | None = None

    def of(self, tenant: Tenant) -> Database:
        """Return the same database as one project sees it; it shares the connections."""
        other = copy.copy(self)
        other.tenant = tenant
        return other

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a session for reading; nothing it changes is kept."""
        with self._session(self.engine) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a session that commits when its block ends, and rolls back when it raises."""
        with self._session(self._writer) as session, session.begin():
            yield session

    def ping(self) -> None:
        """Ask the database for a sign of life.

        Raises:
            sqlalchemy.exc.OperationalError: There is none.
        """
        with self.engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    def _session(self, engine: Engine) -> Session:
        info = None if self.tenant is None else self.tenant.session_info()
        return TenantSession(engine, expire_on_commit=False, info=info)


def _prepare_sqlite(connection: DBAPIConnection, _record: object) -> None:
    """Set one SQLite connection up; transactions are begun by `_begin_sqlite` alone."""
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_SQLITE_BUSY_SECONDS * 1000}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
