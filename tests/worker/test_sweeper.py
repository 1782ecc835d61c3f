"""Jobs that nobody works on, or knows of, are found."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from sqlalchemy.exc import OperationalError

from tests.helpers.service import FakeQueue, World, wait_until
from tests.store.test_jobs import let_lease_expire
from worker.sweeper import Sweeper


def test_lost_and_unannounced_jobs_are_announced(world: World) -> None:
    lost, unannounced, alive = (world.certify().id for _ in range(3))
    for job_id in (lost, alive):
        world.jobs.claim(job_id, "w")
    let_lease_expire(world, lost)
    queue = FakeQueue()
    sweeper = Sweeper(world.jobs, world.reaper, queue, world.settings)
    sweeper.sweep()
    assert queue.sent == [(lost, "bounds"), (unannounced, "bounds")]
    sweeper.sweep()
    assert len(queue.sent) == 2


def test_it_goes_on_by_itself_until_it_is_stopped(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = FakeQueue()
    sweeper = Sweeper(world.jobs, world.reaper, queue, world.settings)
    failures = []

    def away(*_arguments: object, **_options: object) -> list[str]:
        failures.append(1)
        raise OperationalError("SELECT", {}, Exception("away"))

    with monkeypatch.context() as patch, ExitStack() as stack:
        patch.setattr("store.jobs.Jobs.expire", away)
        stack.enter_context(sweeper)
        wait_until(lambda: len(failures) > 1)
        patch.undo()
        job_id = world.certify().id
        wait_until(lambda: queue.sent == [(job_id, "bounds")])
    world.certify()
    assert len(queue.sent) == 1
