"""Migrations lead to the schema that the code works with."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import JSON, Connection, column, delete, inspect
from sqlalchemy import table as table_of
from sqlalchemy.exc import IntegrityError

from store.certifications import Certifications
from store.columns import Base, UtcDateTime
from store.database import Database
from store.errors import StoreError
from store.idempotency import Replay, find_replay
from store.migrate import main, migrate
from store.projects import Projects
from store.settings import get_settings
from store.tables import NetworkRow
from store.tenancy import Tenant

NOW = datetime.now(UTC)
NETWORK, DATASET, JOB = (f"{kind}_{'0' * 26}" for kind in ("net", "dat", "job"))


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


def insert(connection: Connection, table: str, **values: Any) -> None:  # noqa: ANN401
    """Insert a row as the tables were then."""
    types: dict[type, Any] = {datetime: UtcDateTime(), dict: JSON()}
    columns: list[Any] = [column(name, types.get(type(value))) for name, value in values.items()]
    connection.execute(table_of(table, *columns).insert().values(**values))


@pytest.fixture(params=["sqlite", "postgresql"])
def former(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database of the version before projects, with something in each of its tables."""
    url = f"sqlite:///{tmp_path / 'a.sqlite3'}"
    if request.param == "postgresql":
        server: str = request.getfixturevalue("postgres_url")
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute("DROP DATABASE IF EXISTS former")
            connection.execute("CREATE DATABASE former")
        url = server.rpartition("/")[0] + "/former"
    database = Database(url)
    migrate(database, revision="0005")
    upload = {"name": "n", "sha256": "aa", "size_bytes": 1, "created_at": NOW, "details": {}}
    job = {"kind": "certification", "queue": "bounds", "state": "succeeded", "total": 1, "done": 1,
           "cancel_requested": False, "cached": False, "attempts": 0, "sends": 0}  # fmt: skip
    asked = {"network_id": NETWORK, "dataset_id": DATASET, "settings": {}, "fingerprint": "f"}
    replayed = {"key": "k", "route": "r", "request_sha256": "0" * 64, "resource_id": JOB}
    with database.engine.execution_options(tightrope_write=True).begin() as connection:
        insert(connection, "networks", id=NETWORK, **upload)
        insert(connection, "datasets", id=DATASET, **upload)
        insert(connection, "jobs", id=JOB, created_at=NOW, **job)
        insert(connection, "certifications", id=JOB, **asked)
        insert(connection, "items", certification_id=JOB, index=0, verdict="verified", payload={})
        insert(connection, "idempotency_keys", created_at=NOW, **replayed)
    yield database
    database.close()


def test_what_was_there_belongs_to_the_default_project(former: Database) -> None:
    """Rows of the version before keep their ids, references and replays."""
    migrate(former)
    assert differences(former) == []
    home = former.of(Tenant())
    row = Certifications(home).get(JOB)
    assert (row.network.id, row.network.project_id, row.job.project_id) == (
        NETWORK,
        *2 * ["default"],
    )
    assert len(Certifications(home).items(JOB)) == 1
    with home.write() as session:
        assert find_replay(session, Replay("k", "r", "0" * 64)) == JOB
    assert [one.id for one in Projects(former).page(limit=5)] == ["default"]
    with pytest.raises(IntegrityError), former.write() as session:
        session.execute(delete(NetworkRow))  # references are checked again
    with former.write() as session:
        again = {"name": "n", "sha256": "aa", "size_bytes": 1, "details": {}, "created_at": NOW}
        session.add(NetworkRow(id="net_b", project_id="p", **again))
    with pytest.raises(IntegrityError), former.write() as session:
        session.add(NetworkRow(id="net_c", project_id="p", **again))
