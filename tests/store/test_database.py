"""Transactions: read or write, whole or not at all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from store.database import Database
from store.job_tables import JobRow
from store.tables import CertificationRow, NetworkRow
from tests.helpers.service import World


def test_what_raises_is_rolled_back(world: World) -> None:
    job_id = world.certify().id
    with pytest.raises(RuntimeError, match="no"), world.database.write() as session:
        session.execute(update(JobRow).values(state="failed"))
        raise RuntimeError("no")
    assert world.jobs.get(job_id).state == "queued"


def test_reading_keeps_nothing(world: World) -> None:
    job_id = world.certify().id
    with world.database.read() as session:
        session.execute(update(JobRow).values(state="failed"))
    assert world.jobs.get(job_id).state == "queued"


def test_writers_wait_for_each_other(world: World) -> None:
    """Reading first and writing later is where SQLite gives up unless told before."""
    job_id = world.certify().id

    def increase(_: int) -> None:
        with world.database.write() as session:
            row = session.scalars(select(JobRow).where(JobRow.id == job_id).with_for_update()).one()
            row.attempts += 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(increase, range(24)))
    assert world.jobs.get(job_id).attempts == 24


def test_references_are_enforced(world: World) -> None:
    world.certify()
    with pytest.raises(IntegrityError), world.database.write() as session:
        session.execute(delete(NetworkRow))
    with world.database.write() as session:
        session.execute(delete(JobRow))
        assert session.scalars(select(CertificationRow)).all() == []


def test_moments_come_back_in_utc(world: World) -> None:
    job_id = world.certify().id
    there = datetime(2030, 1, 2, 3, 4, 5, 678, tzinfo=timezone(timedelta(hours=5)))
    with world.database.write() as session:
        session.execute(update(JobRow).values(finished_at=there))
    found = world.jobs.get(job_id).finished_at
    assert found == there
    assert found is not None
    assert found.tzinfo is UTC or found.utcoffset() == timedelta(0)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_every_way_to_name_postgresql_gives_one_driver(scheme: str) -> None:
    database = Database(f"{scheme}://user:pass@host/name")
    assert database.engine.url.drivername == "postgresql+psycopg"
    assert database.dialect == "postgresql"
    assert "pass" not in repr(database.engine.url)
