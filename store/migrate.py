"""Bring a database to the current schema: `python -m store.migrate`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from store.database import Database
from store.errors import StoreError
from store.settings import get_settings

__all__ = ["check_migrated", "main", "migrate"]

_ADVISORY_LOCK = 7_146_273_905


def migrate(database: Database, *, revision: str = "head") -> None:
    """Run the migrations that a database lacks; several processes may try at once.

    Args:
        database: Where to.
        revision: How far; `head` is the current schema.
    """
    config = _config()
    if database.dialect == "sqlite" and database.url.database is not None:
        Path(database.url.database).parent.mkdir(parents=True, exist_ok=True)
    writer = database.engine.execution_options(tightrope_write=True)
    with writer.connect() as connection, _references_unchecked(connection), connection.begin():
        _wait_for_turn(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


@contextmanager
def _references_unchecked(connection: Connection) -> Iterator[None]:
    """Let SQLite make a table anew, which it can only change that way, while others refer to it."""
    driver = connection.connection.driver_connection
    if connection.dialect.name != "sqlite" or driver is None:
        yield
        return
    driver.execute("PRAGMA foreign_keys = OFF")
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys = ON")


def check_migrated(database: Database) -> None:
    """Check that a database has the current schema, or one that a later version has made of it.

    Raises:
        StoreError: It lacks migrations.
        sqlalchemy.exc.SQLAlchemyError: It does not answer.
    """
    with database.engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    head, known = _revisions()
    if found is None or (found in known and found != head):
        raise StoreError(
            f"the database is at revision {found or 'none'} and this version needs {head}; "
            "run `python -m store.migrate` of this version"
        )


@cache
def _revisions() -> tuple[str | None, frozenset[str]]:
    """Return the last revision, and all of them."""
    scripts = ScriptDirectory.from_config(_config())
    known = frozenset(script.revision for script in scripts.walk_revisions())
    return scripts.get_current_head(), known


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "store:migrations")
    config.set_main_option("path_separator", "os")
    return config


def _wait_for_turn(connection: Connection) -> None:
    """Let one process migrate at a time; SQLite's write lock does that by itself."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})


def main() -> int:
    """Migrate the database that the environment names; return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        migrate(Database(get_settings().database))
    except StoreError as error:
        logging.getLogger(__name__).error("%s", error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
