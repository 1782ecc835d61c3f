"""Projects take turns; within one, priority decides, then age."""

from __future__ import annotations

from collections import Counter

from sqlalchemy import update

from store.chunks import Claim
from store.job_tables import JobRow
from tests.helpers.service import World


def ask(world: World, project: str, *, inputs: int = 1, priority: int = 0) -> str:
    """Queue a job of a project whose inputs are taken one by one."""
    job: str = world.certify(range(inputs), methods=["exact"]).id
    with world.database.write() as session:
        session.execute(
            update(JobRow)
            .where(JobRow.id == job)
            .values(project_id=project, priority=priority, queue="exact")
        )
    return job


def take(world: World, owner: str, queues: tuple[str, ...] = ("bounds", "exact")) -> Claim:
    claim = world.chunks.claim(owner, queues)
    assert claim is not None
    return claim


def test_a_large_job_does_not_starve_small_ones(world: World) -> None:
    large = ask(world, "large", inputs=50)
    small = [ask(world, name) for name in ("small", "tiny")]
    served = [take(world, f"w{number}").job_id for number in range(5)]
    assert set(served[:3]) == {large, *small}
    assert served[3:] == [large, large]


def test_one_worker_alternates_between_projects(world: World) -> None:
    jobs = {ask(world, name, inputs=20): name for name in ("a", "b", "c")}
    served = []
    for _ in range(12):
        claim = take(world, "w")
        served.append(jobs[claim.job_id])
        world.chunks.finish(claim, seconds=10.0)
    assert all(set(served[first : first + 3]) == {"a", "b", "c"} for first in range(0, 12, 3))


def test_running_chunks_count_against_a_project(world: World) -> None:
    busy, idle = ask(world, "busy", inputs=9), ask(world, "idle", inputs=9)
    held = [take(world, f"w{number}") for number in range(4)]
    assert Counter(claim.job_id for claim in held) == {busy: 2, idle: 2}
    for claim in held:
        if claim.job_id == idle:
            world.chunks.finish(claim, seconds=10.0)
    assert [take(world, f"v{number}").job_id for number in range(2)] == [idle, idle]


def test_priority_then_age(world: World) -> None:
    old, urgent = ask(world, "p"), ask(world, "p", priority=5)
    young, idle = ask(world, "p"), ask(world, "p", priority=-10)
    order = [take(world, f"w{number}").job_id for number in range(4)]
    assert order == [urgent, old, young, idle]


def test_a_worker_takes_its_own_queues_alone(world: World) -> None:
    exact, bounds = ask(world, "p", priority=10), world.certify([0]).id
    assert take(world, "v", ("bounds",)).job_id == bounds
    assert world.chunks.claim("w", ("bounds",)) is None
    assert take(world, "w", ("exact",)).job_id == exact


def test_trainings_take_turns_as_well(world: World) -> None:
    training = world.train().id
    other = ask(world, "other", inputs=3)
    served = [take(world, f"w{number}").job_id for number in range(2)]
    assert sorted(served) == sorted([training, other])
    assert take(world, "x").job_id == other


def test_thousands_of_waiting_jobs_are_no_trouble(world: World) -> None:
    first = ask(world, "p")
    for _ in range(30):
        ask(world, "p")
    best = ask(world, "p", priority=1)
    assert [take(world, name).job_id for name in ("v", "w")] == [best, first]
