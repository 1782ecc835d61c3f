"""Several real workers on one job, with real servers, killed, forgotten and told twice."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import redis
from sqlalchemy import select

from store.job_tables import ChunkRow
from tests.helpers.processes import SLOW_WORKER, environment, running
from tests.helpers.servers import postgres
from tests.helpers.servers import redis as redis_server
from tests.helpers.service import World, item, service_settings, wait_until
from worker.app import JobQueue, create_celery


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """URLs of PostgreSQL and Redis."""
    folder = tmp_path_factory.mktemp("servers")
    with postgres(folder / "postgres") as database, redis_server(folder / "redis") as broker:
        yield database, broker


@pytest.fixture
def world(servers: tuple[str, str], tmp_path: Path) -> Iterator[World]:
    database, broker = servers
    redis.Redis.from_url(broker).flushall()
    settings = service_settings(
        tmp_path,
        database_url=database,
        broker_url=broker,
        resend_seconds=0.5,
        visibility_timeout_seconds=1,
    )
    made = World(settings)
    yield made
    made.close()


@contextmanager
def working(world: World, name: str, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    command = (*SLOW_WORKER, "--name", name, *more)
    log = world.settings.data_dir / f"{name}.log"
    with running(command, log=log, env=environment(world.settings)) as process:
        yield process


def log_of(world: World, name: str) -> str:
    return (world.settings.data_dir / f"{name}.log").read_text()


def ask(world: World, inputs: int, *, seconds: float) -> str:
    """Ask for inputs that take so long each, and announce them."""
    row = world.certify(range(inputs), methods=["exact"], timeout_seconds=seconds)
    queue = JobQueue(create_celery(world.settings))
    assert queue.send(row.id, "bounds")
    queue.close()
    return row.id


def state(world: World, job_id: str) -> str:
    return world.jobs.get(job_id).state


def holders(world: World) -> set[str | None]:
    query = select(ChunkRow.owner).where(ChunkRow.state == "running")
    with world.database.read() as session:
        return set(session.scalars(query))


def check_complete(world: World, job_id: str, inputs: int) -> None:
    """Nothing is missing, nothing is there twice, and every answer is what the engine says."""
    assert world.certifications.items(job_id) == [item(index) for index in range(inputs)]
    found = world.jobs.get(job_id)
    assert (found.state, found.done, found.parked) == ("succeeded", inputs, 0)


def test_one_message_wakes_two_workers_and_one_of_them_may_die(world: World) -> None:
    job = ask(world, 20, seconds=0.2)
    with working(world, "ann") as ann, working(world, "bob"):
        wait_until(lambda: holders(world) == {"ann", "bob"})
        ann.kill()
        ann.wait()
        wait_until(lambda: state(world, job) == "succeeded")
    check_complete(world, job, 20)
    assert f"job {job} lost a worker" in log_of(world, "bob")


def test_an_input_that_kills_its_workers_is_given_up(world: World) -> None:
    job = ask(world, 4, seconds=0.02)
    with ExitStack() as stack:
        for number in range(5):
            name = f"w{number}"
            process = stack.enter_context(working(world, name, "--bad", "2"))
            wait_until(lambda p=process: p.poll() is not None or state(world, job) == "succeeded")  # type: ignore[misc]
            world.reaper.settle(owner=name)
    answers = world.certifications.items(job)
    assert [answer["verdict"] for answer in answers] == ["verified"] * 2 + ["unknown", "verified"]
    assert "given up after 3 attempts: the worker w2 died" in answers[2]["reason"]
    found = world.jobs.get(job)
    assert (found.state, found.done, found.parked) == ("succeeded", 4, 1)


def test_redis_may_forget_everything(world: World) -> None:
    job = ask(world, 20, seconds=0.1)
    client = redis.Redis.from_url(world.settings.broker or "")
    client.flushall()
    with working(world, "ann"), working(world, "bob"):
        wait_until(lambda: world.jobs.get(job).done >= 2)
        client.flushall()
        wait_until(lambda: state(world, job) == "succeeded")
    check_complete(world, job, 20)


def test_a_solve_beyond_the_visibility_timeout_is_not_done_twice(world: World) -> None:
    """The message comes again after a second, while its worker still computes for three."""
    job = ask(world, 1, seconds=3.0)
    with working(world, "ann"), working(world, "bob"):
        wait_until(lambda: state(world, job) == "succeeded")
    check_complete(world, job, 1)
    logs = log_of(world, "ann") + log_of(world, "bob")
    assert logs.count("1 inputs to certify") == 1


def test_cancelling_reaches_every_worker(world: World) -> None:
    job = ask(world, 40, seconds=600.0)
    with working(world, "ann"), working(world, "bob"):
        wait_until(lambda: holders(world) == {"ann", "bob"})
        world.jobs.request_cancel(job)
        wait_until(lambda: state(world, job) == "cancelled")
    assert holders(world) == set()
