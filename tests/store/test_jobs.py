"""Jobs move only as they may, whoever tries at the same time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update

from store.errors import ConflictError, NotFoundError
from store.job_rows import LeaseLostError
from store.job_tables import JobRow
from store.jobs import LeaseState
from store.states import FINAL_STATES, JobState
from tests.helpers.service import World, item, long_ago

Move = Callable[[World, str], object]


def let_lease_expire(world: World, job_id: str) -> None:
    with world.database.write() as session:
        session.execute(
            update(JobRow).where(JobRow.id == job_id).values(lease_expires_at=long_ago())
        )


def state(world: World, job_id: str) -> str:
    return world.jobs.get(job_id).state


def test_a_job_is_claimed_once(world: World) -> None:
    job_id = world.certify().id
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda name: world.jobs.claim(job_id, f"w{name}"), range(8)))
    assert sum(won) == 1
    row = world.jobs.get(job_id)
    assert (row.state, row.owner, row.attempts) == ("running", f"w{won.index(True)}", 1)
    assert row.started_at is not None
    assert row.started_at >= row.created_at


def test_an_expired_lease_can_be_claimed_and_the_late_owner_is_refused(world: World) -> None:
    job_id = world.certify().id
    assert world.jobs.claim(job_id, "early")
    assert not world.jobs.claim(job_id, "late")
    let_lease_expire(world, job_id)
    assert world.jobs.claim(job_id, "late")
    assert world.jobs.heartbeat(job_id, "early") is LeaseState.LOST
    assert world.jobs.check(job_id, "late") is LeaseState.HELD
    with pytest.raises(LeaseLostError, match="no longer belongs"):
        world.jobs.finish(job_id, "early", JobState.FAILED)
    with pytest.raises(LeaseLostError, match="no longer belongs"):
        world.certifications.add_item(job_id, "early", item(0))
    assert world.certifications.items(job_id) == []
    assert state(world, job_id) == "running"


def test_a_heartbeat_extends_the_lease(world: World) -> None:
    job_id = world.certify().id
    world.jobs.claim(job_id, "w")
    let_lease_expire(world, job_id)
    assert world.jobs.heartbeat(job_id, "w") is LeaseState.HELD
    assert world.jobs.expire(max_attempts=3) == []
    assert not world.jobs.claim(job_id, "other")


@pytest.mark.parametrize("end", sorted(FINAL_STATES))
def test_a_final_state_is_final(world: World, end: JobState) -> None:
    job_id = world.certify().id
    world.jobs.claim(job_id, "w")
    world.jobs.finish(job_id, "w", end, error={"type": "X", "message": "m"})
    row = world.jobs.get(job_id)
    assert (row.state, row.owner, row.lease_expires_at) == (end, None, None)
    assert row.finished_at is not None
    assert not world.jobs.claim(job_id, "w")
    assert not world.jobs.release(job_id, "w")
    assert world.jobs.heartbeat(job_id, "w") is LeaseState.LOST
    with pytest.raises(LeaseLostError):
        world.jobs.finish(job_id, "w", JobState.RUNNING)
    assert world.jobs.expire(max_attempts=3, owner="*") == []
    assert state(world, job_id) == end


def test_release_puts_back_without_counting(world: World) -> None:
    job_id = world.certify().id
    world.jobs.claim(job_id, "w")
    assert not world.jobs.release(job_id, "other")
    assert world.jobs.release(job_id, "w")
    row = world.jobs.get(job_id)
    assert (row.state, row.owner, row.attempts) == ("queued", None, 0)
    assert world.jobs.claim(job_id, "v")


def test_a_queued_job_is_cancelled_at_once(world: World) -> None:
    job_id = world.certify().id
    assert world.jobs.request_cancel(job_id).state == "cancelled"
    assert world.jobs.request_cancel(job_id).state == "cancelled"
    assert not world.jobs.claim(job_id, "w")
    assert world.jobs.get(job_id).finished_at is not None


def test_a_running_job_is_asked_to_stop(world: World) -> None:
    job_id = world.certify().id
    world.jobs.claim(job_id, "w")
    row = world.jobs.request_cancel(job_id)
    assert (row.state, row.cancel_requested) == ("running", True)
    assert world.jobs.check(job_id, "w") is LeaseState.CANCELLED
    assert world.jobs.heartbeat(job_id, "w") is LeaseState.CANCELLED


def test_what_has_succeeded_cannot_be_cancelled(world: World) -> None:
    job_id = world.finish()
    with pytest.raises(ConflictError, match="already succeeded"):
        world.jobs.request_cancel(job_id)
    with pytest.raises(NotFoundError, match="no job"):
        world.jobs.request_cancel("job_00000000000000000000000000")


def test_jobs_of_dead_workers_are_settled(world: World) -> None:
    back, cancelled, exhausted, alive = (world.certify().id for _ in range(4))
    for job_id in (back, cancelled, exhausted, alive):
        assert world.jobs.claim(job_id, "w")
    for job_id in (back, cancelled, exhausted):
        let_lease_expire(world, job_id)
    world.jobs.request_cancel(cancelled)
    with world.database.write() as session:
        session.execute(update(JobRow).where(JobRow.id == exhausted).values(attempts=3))
    assert world.jobs.expire(max_attempts=3) == [back]
    states = [state(world, job_id) for job_id in (back, cancelled, exhausted, alive)]
    assert states == ["queued", "cancelled", "failed", "running"]
    error = world.jobs.get(exhausted).error
    assert error is not None
    assert error["type"] == "WorkerLostError"
    assert "died 3 times" in error["message"]


def test_the_jobs_of_one_owner_are_settled_whatever_their_lease(world: World) -> None:
    mine, other = world.certify().id, world.certify().id
    world.jobs.claim(mine, "dead")
    world.jobs.claim(other, "alive")
    assert world.jobs.expire(max_attempts=3, owner="dead") == [mine]
    assert world.jobs.expire(max_attempts=3, owner="*") == [other]


def test_queued_jobs_are_announced_again_and_ever_more_rarely(world: World) -> None:
    job_id = world.certify().id
    assert world.jobs.due(resend_seconds=1000) == [(job_id, "bounds")]
    assert world.jobs.due(resend_seconds=1000) == []
    assert world.jobs.due(resend_seconds=1000, all_queued=True) == [(job_id, "bounds")]
    row = world.jobs.get(job_id)
    assert row.sends == 2
    assert row.next_send_at is not None
    assert 1900 < (row.next_send_at - row.created_at).total_seconds() < 2100
    world.jobs.claim(job_id, "w")
    assert world.jobs.due(resend_seconds=1000, all_queued=True) == []


def test_a_job_that_was_just_sent_is_not_due(world: World) -> None:
    job_id = world.certify().id
    world.jobs.mark_sent(job_id, resend_seconds=1000)
    assert world.jobs.due(resend_seconds=1000) == []


def test_lists_are_newest_first_and_filtered(world: World) -> None:
    first, second, third = (world.certify().id for _ in range(3))
    world.jobs.request_cancel(second)
    assert [row.id for row in world.jobs.page(limit=10)] == [third, second, first]
    assert [row.id for row in world.jobs.page(limit=1, before=third)] == [second]
    assert [row.id for row in world.jobs.page(limit=10, state="queued")] == [third, first]
    counts = world.jobs.count_by_state()
    assert counts == {"queued": 2, "running": 0, "succeeded": 0, "failed": 0, "cancelled": 1}


@pytest.mark.parametrize(
    "job_id", ["", "job_1", "x" * 500, "job_\0", "job_0000000000000000000000000A"]
)
def test_an_odd_id_names_nothing(world: World, job_id: str) -> None:
    with pytest.raises(NotFoundError):
        world.jobs.get(job_id)
