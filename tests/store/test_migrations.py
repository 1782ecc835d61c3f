"""Migrations lead to the schema that the code works with."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect

from store.database import Database
from store.errors import StoreError
from store.migrate import main, migrate
from store.settings import get_settings
from store.tables import Base


def differences(database: Database) -> list[object]:
    with database.engine.connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection), Base.metadata))


def test_migrations_make_the_tables(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'deep' / 'a.sqlite3'}")
    migrate(database)
    assert differences(database) == []
    assert len(inspect(database.engine).get_table_names()) == len(Base.metadata.tables) + 1
    migrate(database)
    database.close()


def test_a_missing_column_would_be_noticed(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'a.sqlite3'}")
    migrate(database)
    with database.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE jobs DROP COLUMN attempts")
    assert differences(database) != []
    database.close()


def test_several_processes_may_migrate_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.sqlite3'}"
    databases = [Database(url) for _ in range(3)]
    migrate(databases[0])
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda database: database.ping(), databases))
    assert differences(databases[2]) == []
    for database in databases:
        database.close()


def test_the_command_migrates_what_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIGHTROPE_DATA_DIR", str(tmp_path))
    get_settings.cache_clear()
    assert main() == 0
    database = Database(f"sqlite:///{tmp_path / 'tightrope.sqlite3'}")
    assert differences(database) == []
    database.close()
    monkeypatch.setenv("TIGHTROPE_DATABASE_URL", "mysql://host/x")
    get_settings.cache_clear()
    assert main() == 2
    get_settings.cache_clear()


def test_other_databases_are_refused() -> None:
    with pytest.raises(StoreError, match="sqlite or postgresql, not 'mysql'"):
        Database("mysql+pymysql://host/x")
