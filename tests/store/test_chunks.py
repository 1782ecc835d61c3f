"""Chunks are taken once, come back when their worker is gone, and are parked when they are bad."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from store.chunks import ATTEMPTS, ChunkLease, Chunks, Claim
from store.errors import ConflictError
from store.job_rows import LeaseLostError
from store.job_tables import ChunkRow, JobRow
from store.jobs import LeaseState
from store.ranges import to_indices
from store.states import JobState
from tests.helpers.service import SUMMARY, World, comparing, item

QUEUES = ("bounds", "exact")
ERROR = {"type": "SolverFailedError", "message": "it broke"}


class Clock:
    """The database's clock, set by hand."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, tzinfo=UTC)

    def __call__(self, _session: Session) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def take(world: World, owner: str = "w") -> Claim:
    claim = world.chunks.claim(owner, QUEUES)
    assert claim is not None
    return claim


def answer(world: World, claim: Claim, *indices: int) -> None:
    chosen = indices or claim.indices
    world.certifications.add_items(claim, [item(index) for index in chosen])


def rows(world: World, job_id: str) -> list[ChunkRow]:
    query = select(ChunkRow).where(ChunkRow.job_id == job_id).order_by(ChunkRow.number)
    with world.database.read() as session:
        return list(session.scalars(query))


def state(world: World, job_id: str) -> str:
    return world.jobs.get(job_id).state


def test_workers_share_a_job_and_one_of_them_ends_it(world: World) -> None:
    job = world.certify(range(40)).id
    first, second = take(world, "ann"), take(world, "bob")
    assert (first.indices, second.indices) == (tuple(range(16)), tuple(range(16, 32)))
    assert (first.more, first.task, first.grain) == (True, "items", 16)
    third = take(world, "cleo")
    assert (third.indices, third.more) == (tuple(range(32, 40)), False)
    assert world.chunks.claim("dora", QUEUES) is None
    for claim in (second, first, third):
        assert state(world, job) == "running"
        answer(world, claim)
        world.chunks.finish(claim, seconds=1.0)
    whole = take(world, "dora")
    assert (whole.job_id, whole.number) == (job, None)
    assert world.chunks.claim("ann", QUEUES) is None
    world.certifications.succeed(job, "dora", SUMMARY)
    found = world.jobs.get(job)
    assert (found.state, found.done, found.ready, found.attempts) == ("succeeded", 40, False, 1)
    assert [one["index"] for one in world.certifications.items(job)] == list(range(40))


def test_every_chunk_is_taken_once(world: World) -> None:
    world.certify(range(10), methods=["exact"])
    with ThreadPoolExecutor(10) as pool:
        claims = list(pool.map(lambda name: take(world, f"w{name}"), range(10)))
    assert sorted(index for claim in claims for index in claim.indices) == list(range(10))
    assert len({claim.number for claim in claims}) == 10


def test_answers_are_stored_once_and_only_by_the_holder(world: World) -> None:
    job = world.certify([0, 1]).id
    claim = take(world)
    answer(world, claim, 0)
    answer(world, claim, 0, 1)
    assert world.jobs.get(job).done == 2
    late = Claim(job, "certification", "bounds", "other", number=claim.number)
    for move in (
        lambda: answer(world, late, 0),
        lambda: world.chunks.finish(late, seconds=1.0),
        lambda: world.chunks.fail(late, ERROR),
        lambda: world.chunks.release(late),
        lambda: world.chunks.fail_job(late, ERROR),
    ):
        with pytest.raises(LeaseLostError, match="no longer belongs to worker other"):
            move()
    assert world.chunks.heartbeat(late) is LeaseState.LOST
    assert world.chunks.heartbeat(claim) is LeaseState.HELD


def test_a_released_chunk_keeps_its_answers_and_counts_no_attempt(world: World) -> None:
    job = world.certify([0, 1, 2]).id
    claim = take(world)
    answer(world, claim, 0)
    world.chunks.release(claim)
    assert state(world, job) == "queued"
    again = take(world, "other")
    assert again.indices == (1, 2)
    assert [row.attempts for row in rows(world, job)] == [0]


def test_what_takes_too_long_is_handed_back(world: World) -> None:
    job = world.certify([0, 1, 2, 3]).id
    claim = take(world)
    answer(world, claim, 0, 1)
    world.chunks.finish(claim, seconds=9.0, rest=(2, 3))
    assert state(world, job) == "running"
    assert take(world).indices == (2, 3)
    first = rows(world, job)[0]
    assert (first.state, first.count, first.seconds) == ("done", 2, 9.0)


def test_a_bad_input_is_parked_alone(world: World) -> None:
    job = world.certify(range(5)).id
    seen: list[tuple[int, ...]] = []
    while (claim := world.chunks.claim("w", QUEUES)) is not None and claim.number is not None:
        seen.append(claim.indices)
        good = [index for index in claim.indices if index < 3]
        if 3 in claim.indices:
            if good:
                answer(world, claim, *good)
            world.chunks.fail(claim, ERROR)
        else:
            answer(world, claim)
            world.chunks.finish(claim, seconds=1.0)
    assert seen == [(0, 1, 2, 3, 4), (3,), (4,), (3,)]
    found = world.jobs.get(job)
    assert (found.done, found.parked) == (4, 1)
    (parked,) = world.chunks.parked(job)
    assert (parked.indices, parked.error, parked.task) == ((3,), ERROR, "items")


def test_an_attempt_that_answered_nothing_counts_for_all(world: World) -> None:
    job = world.certify(range(20), methods=["exact"]).id
    world.chunks.finish(take(world), seconds=0.01)
    claim = take(world)
    assert len(claim.indices) > 1
    world.chunks.fail(claim, ERROR)
    alone = [row for row in rows(world, job) if row.attempts == 1]
    assert [row.count for row in alone] == [1] * len(claim.indices)
    tried = [index for row in alone for index in to_indices(row.inputs)]
    assert sorted(tried) == list(claim.indices)


def test_a_job_whose_parts_cannot_be_computed_fails_at_once(world: World) -> None:
    job = world.certify(range(40)).id
    first, second = take(world, "ann"), take(world, "bob")
    world.chunks.fail_job(first, ERROR)
    found = world.jobs.get(job)
    assert (found.state, found.error, found.ready) == ("failed", ERROR, False)
    assert world.chunks.check(second) is LeaseState.LOST
    assert world.chunks.claim("cleo", QUEUES) is None


@pytest.mark.parametrize("leave", ["finish", "release", "fail"])
def test_a_cancelled_job_ends_with_its_last_chunk(world: World, leave: str) -> None:
    job = world.certify(range(40)).id
    first, second = take(world, "ann"), take(world, "bob")
    assert world.jobs.request_cancel(job).state == "running"
    assert world.chunks.check(first) is LeaseState.CANCELLED
    assert world.chunks.claim("cleo", QUEUES) is None
    moves: dict[str, Callable[[Claim], object]] = {
        "finish": lambda claim: world.chunks.finish(claim, seconds=1.0),
        "release": world.chunks.release,
        "fail": lambda claim: world.chunks.fail(claim, ERROR),
    }
    answer(world, first, 0)
    moves[leave](first)
    assert state(world, job) == "running"
    moves[leave](second)
    found = world.jobs.get(job)
    assert (found.state, found.done, found.ready) == ("cancelled", 1, False)


def test_a_job_between_two_chunks_is_cancelled_at_once(world: World) -> None:
    job = world.certify(range(40)).id
    claim = take(world)
    answer(world, claim)
    world.chunks.finish(claim, seconds=1.0)
    assert world.jobs.request_cancel(job).state == "cancelled"
    assert world.jobs.request_cancel(job).state == "cancelled"


def test_what_is_done_cannot_be_cancelled(world: World) -> None:
    job = world.finish()
    with pytest.raises(ConflictError):
        world.jobs.request_cancel(job)


def test_a_dead_workers_chunk_comes_back_and_its_late_writer_is_refused(world: World) -> None:
    clock = Clock()
    chunks = Chunks(world.database, lease_seconds=10, clock=clock)
    job = world.certify(range(3)).id
    claim = chunks.claim("dead", QUEUES)
    assert claim is not None
    answer(world, claim, 0)
    clock.move(9)
    assert chunks.heartbeat(claim) is LeaseState.HELD
    clock.move(9)
    assert chunks.expire() == []
    clock.move(2)
    assert chunks.expire() == [job]
    assert chunks.expire() == []
    assert state(world, job) == "queued"
    with pytest.raises(LeaseLostError):
        answer(world, claim, 1)
    assert chunks.heartbeat(claim) is LeaseState.LOST
    again = chunks.claim("alive", QUEUES)
    assert again is not None
    assert again.indices == (1,)
    assert [row.attempts for row in rows(world, job)] == [1, 1]


def test_three_dead_workers_park_a_chunk(world: World) -> None:
    job = world.certify([7]).id
    for number in range(ATTEMPTS):
        claim = take(world, f"w{number}")
        assert claim.number is not None
        assert world.chunks.expire(owner=f"w{number}") == [job]
    (parked,) = world.chunks.parked(job)
    assert parked.error["type"] == "WorkerLostError"
    assert "w2 died" in parked.error["message"]
    assert take(world).number is None


def test_a_clock_that_jumps_ahead_takes_work_twice_and_stores_it_once(world: World) -> None:
    clock = Clock()
    chunks = Chunks(world.database, lease_seconds=10, clock=clock)
    job = world.certify([0]).id
    early = chunks.claim("early", QUEUES)
    assert early is not None
    clock.move(3600)
    assert chunks.expire() == [job]
    late = chunks.claim("late", QUEUES)
    assert late is not None
    with pytest.raises(LeaseLostError):
        answer(world, early)
    answer(world, late)
    assert world.jobs.get(job).done == 1


def test_a_clock_that_is_set_back_delays_by_one_lease(world: World) -> None:
    clock = Clock()
    chunks = Chunks(world.database, lease_seconds=10, clock=clock)
    job = world.certify(range(40)).id
    dead, alive = chunks.claim("dead", QUEUES), chunks.claim("alive", QUEUES)
    assert dead is not None
    assert alive is not None
    clock.move(-3600)
    assert chunks.expire() == []
    assert chunks.heartbeat(alive) is LeaseState.HELD
    clock.move(9)
    assert chunks.heartbeat(alive) is LeaseState.HELD
    clock.move(2)
    assert chunks.expire() == [job]
    assert chunks.check(alive) is LeaseState.HELD
    assert chunks.check(dead) is LeaseState.LOST


def test_a_lease_of_a_chunk_is_kept_like_that_of_a_job(world: World) -> None:
    job = world.certify([0]).id
    lease = ChunkLease(world.chunks, take(world))
    assert lease.heartbeat(job, "w") is LeaseState.HELD
    world.jobs.request_cancel(job)
    assert lease.check(job, "w") is LeaseState.CANCELLED


def test_work_left_between_chunks_is_announced(world: World) -> None:
    chunks = Chunks(world.database, lease_seconds=1000)
    job = world.certify(range(40)).id
    claim = chunks.claim("w", QUEUES)
    assert claim is not None
    assert world.jobs.due(resend_seconds=1000) == []  # its worker goes on with the rest
    chunks.finish(claim, seconds=1.0)
    assert world.jobs.due(resend_seconds=1000, all_queued=True) == [(job, "bounds")]
    while (claim := chunks.claim("w", QUEUES)) is not None and claim.number is not None:
        chunks.finish(claim, seconds=1.0)
    assert world.jobs.due(resend_seconds=1000, all_queued=True) == []


def test_a_comparison_is_cut_by_network_and_measured(world: World) -> None:
    row = world.compare([0, 1, 2])
    claims = []
    while (claim := take(world, f"w{len(claims)}")).number is not None:
        claims.append(claim)
        if len(claims) == 4:
            break
    assert [(one.task, one.position, one.indices) for one in claims] == [
        ("items", 0, (0, 1, 2)),
        ("items", 1, (0, 1, 2)),
        ("layers", 0, (0, 1, 2)),
        ("layers", 1, (0, 1, 2)),
    ]
    for claim in claims[:2]:
        world.comparisons.add_items(claim, [item(index) for index in claim.indices])
    for claim in claims[2:]:
        world.comparisons.set_layers(claim, [])
    for claim in claims:
        world.chunks.finish(claim, seconds=1.0)
    assert take(world).number is None
    with pytest.raises(LeaseLostError):
        world.comparisons.set_layers(comparing(row.id, "other", 0), [])
    assert world.jobs.get(row.id).done == 6


def test_jobs_of_a_version_without_chunks_are_cut_when_they_are_taken(world: World) -> None:
    job = world.certify(range(3)).id
    assert world.jobs.claim(job, "old")
    world.certifications.add_item(job, "old", item(1))
    assert list(world.jobs.expire(max_attempts=5, owner="old")) == [job]
    assert take(world).indices == (0, 2)


def test_a_training_is_one_workers(world: World) -> None:
    job = world.train().id
    claim = take(world)
    assert (claim.job_id, claim.kind, claim.number) == (job, "training", None)
    assert world.chunks.claim("other", QUEUES) is None
    with world.database.read() as session:
        assert session.scalars(select(ChunkRow)).all() == []
    world.jobs.finish(job, "w", JobState.FAILED, error=ERROR)
    assert state(world, job) == "failed"


def test_deleting_a_job_deletes_its_chunks(world: World) -> None:
    job = world.certify([0]).id
    claim = take(world)
    world.chunks.fail_job(claim, ERROR)
    world.certifications.delete(job)
    assert rows(world, job) == []
    with world.database.read() as session:
        assert session.scalars(select(JobRow)).all() == []
    with pytest.raises(LeaseLostError):
        answer(world, claim)
