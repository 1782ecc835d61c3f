"""A lease notices what happens to its job, and keeps it alive."""

from __future__ import annotations

import threading
import time

import pytest
from sqlalchemy import update
from sqlalchemy.exc import OperationalError

from store.job_tables import JobRow
from store.jobs import LeaseState
from tests.helpers.service import World, wait_until
from worker.lease import Lease, StopReason


def lease_of(world: World, stopping: threading.Event | None = None) -> tuple[str, Lease]:
    job_id = world.certify().id
    world.jobs.claim(job_id, "w")
    event = stopping or threading.Event()
    return job_id, Lease(world.jobs, job_id, owner="w", settings=world.settings, stopping=event)


def test_a_lease_is_kept_for_as_long_as_it_is_open(world: World) -> None:
    job_id, lease = lease_of(world)
    first = world.jobs.get(job_id).lease_expires_at
    assert first is not None
    with lease:
        wait_until(lambda: (world.jobs.get(job_id).lease_expires_at or first) > first)
        assert not lease.cancelled()
    last = world.jobs.get(job_id).lease_expires_at
    time.sleep(2 * world.settings.heartbeat_seconds)
    assert world.jobs.get(job_id).lease_expires_at == last


def test_a_cancellation_is_noticed(world: World) -> None:
    job_id, lease = lease_of(world)
    with lease:
        world.jobs.request_cancel(job_id)
        wait_until(lease.cancelled)
        assert lease.stop_reason is StopReason.CANCELLED


def test_a_loss_is_noticed(world: World) -> None:
    _, lease = lease_of(world)
    with lease:
        with world.database.write() as session:
            session.execute(update(JobRow).values(owner="other"))
        wait_until(lease.cancelled)
        assert lease.stop_reason is StopReason.LOST


def test_a_stop_is_noticed_at_once(world: World) -> None:
    stopping = threading.Event()
    _, lease = lease_of(world, stopping)
    with lease:
        assert not lease.cancelled()
        stopping.set()
        assert lease.stop_reason is StopReason.STOPPING


def test_a_database_that_is_away_for_long_means_a_loss(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def away(_jobs: object, job_id: str, _owner: str) -> LeaseState:
        calls.append(job_id)
        raise OperationalError("SELECT", {}, Exception("away"))

    _, lease = lease_of(world)
    monkeypatch.setattr("store.jobs.Jobs.check", away)
    monkeypatch.setattr("store.jobs.Jobs.heartbeat", away)
    with lease:
        wait_until(lambda: len(calls) > 3)
        wait_until(lease.cancelled)
    assert lease.stop_reason is StopReason.LOST
    assert len(calls) > 5
