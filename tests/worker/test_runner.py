"""A job is computed once, whatever happens to the worker that has it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import pairwise

import pytest
from sqlalchemy import update
from sqlalchemy.exc import OperationalError

from models.errors import DataError
from store.errors import NotFoundError
from store.job_tables import ChunkRow, JobRow
from tests.helpers.engines import ScriptedEngine, certifying
from tests.helpers.service import World, item, wait_until
from worker.runner import Runner, describe


@pytest.fixture
def stopping() -> threading.Event:
    return threading.Event()


@pytest.fixture
def run(world: World, stopping: threading.Event) -> Callable[[str, ScriptedEngine], JobRow]:
    """Run a job in a worker called `w`, and return what became of it."""

    def run_job(job_id: str, engine: ScriptedEngine) -> JobRow:
        Runner(world.settings, certifying(engine), owner="w", stopping=stopping).run()
        return world.jobs.get(job_id)

    return run_job


Run = Callable[[str, ScriptedEngine], JobRow]


def test_a_job_is_computed_and_summed_up(world: World, run: Run) -> None:
    row = world.certify([0, 2])
    engine = ScriptedEngine()
    job = run(row.id, engine)
    assert (job.state, job.done, job.error, job.owner) == ("succeeded", 2, None, None)
    summary = world.certifications.get(row.id).summary
    assert summary is not None
    assert summary["count"] == 2
    assert summary["certified_accuracy"] == {"crown": 1.0}
    assert engine.work is not None
    assert engine.work.network.read_bytes() == b"network"
    assert engine.work.dataset.read_bytes() == b"dataset"
    assert (engine.work.network_name, engine.work.dataset_name) == ("n.onnx", "d.npz")


def test_a_job_that_is_done_is_not_done_again(world: World, run: Run) -> None:
    row = world.certify([0])
    engine = ScriptedEngine()
    run(row.id, engine)
    run(row.id, engine)
    with pytest.raises(NotFoundError):
        run("job_00000000000000000000000000", engine)
    assert engine.asked == [[0]]


def test_only_what_is_missing_is_computed(world: World, run: Run) -> None:
    row = world.certify([0, 1, 2, 3])
    world.jobs.claim(row.id, "dead")
    world.certifications.add_item(row.id, "dead", item(2, "unknown"))
    world.jobs.expire(max_attempts=3, owner="dead")
    engine = ScriptedEngine()
    job = run(row.id, engine)
    assert engine.asked == [[0, 1, 3]]
    assert (job.state, job.attempts) == ("succeeded", 2)
    assert [entry["verdict"] for entry in world.certifications.items(row.id)] == [
        "verified",
        "verified",
        "unknown",
        "verified",
    ]


def test_numbers_that_json_does_not_know_become_null(world: World, run: Run) -> None:
    row = world.certify([0])
    changes = {"lower": {"crown": float("-inf")}, "upper": float("nan")}
    assert run(row.id, ScriptedEngine(changes=changes)).state == "succeeded"
    stored = world.certifications.items(row.id)[0]
    assert (stored["lower"], stored["upper"]) == ({"crown": None}, None)


def test_a_bad_input_fails_the_job_with_its_reason(world: World, run: Run) -> None:
    def refuse(_index: int) -> None:
        raise DataError("input 3 holds NaN")

    job = run(world.certify().id, ScriptedEngine(refuse))
    assert job.state == "failed"
    assert job.error == {"type": "DataError", "message": "input 3 holds NaN"}


@pytest.mark.parametrize(
    ("error", "kind"),
    [(ZeroDivisionError("secret"), "InternalError"), (MemoryError(), "MemoryError")],
)
def test_other_errors_say_nothing_of_the_inside(
    world: World, run: Run, error: Exception, kind: str
) -> None:
    def fail(_index: int) -> None:
        raise error

    job = run(world.certify().id, ScriptedEngine(fail))
    assert job.state == "failed"
    assert job.error is not None
    assert job.error["type"] == kind
    assert "secret" not in job.error["message"]
    assert describe(error) == job.error


def test_an_input_that_is_left_out_three_times_is_given_up(world: World, run: Run) -> None:
    row = world.certify([0, 1, 2])
    engine = ScriptedEngine(left_out=[1])
    job = run(row.id, engine)
    assert (job.state, job.done, job.parked) == ("succeeded", 3, 1)
    assert engine.asked == [[0, 1, 2], [1], [1]]
    answers = world.certifications.items(row.id)
    assert [answer["verdict"] for answer in answers] == ["verified", "unknown", "verified"]
    assert answers[1]["reason"].startswith("given up after 3 attempts: the worker met an error")
    summary = world.certifications.get(row.id).summary
    assert summary is not None
    assert (summary["count"], summary["unknown"]) == (3, 1)
    assert summary["certified_accuracy"] == {"crown": pytest.approx(2 / 3)}


def test_a_cancelled_job_keeps_what_it_has(world: World, run: Run) -> None:
    row = world.certify([0, 1, 2])
    seen = threading.Event()

    def cancel(index: int) -> None:
        if index == 1:
            world.jobs.request_cancel(row.id)
            wait_until(lambda: engine_cancelled() or seen.is_set())

    def engine_cancelled() -> bool:
        # Longer than the interval at which the lease looks for a cancellation.
        return seen.wait(6 * world.settings.cancel_poll_seconds) or not seen.set()

    job = run(row.id, ScriptedEngine(cancel))
    assert (job.state, job.done) == ("cancelled", 1)
    assert job.finished_at is not None


def test_a_stopping_worker_puts_its_job_back(
    world: World, run: Run, stopping: threading.Event
) -> None:
    row = world.certify([0, 1, 2])

    def stop(index: int) -> None:
        if index == 1:
            stopping.set()

    job = run(row.id, ScriptedEngine(stop))
    assert (job.state, job.owner, job.done, job.attempts) == ("queued", None, 1, 0)
    engine = ScriptedEngine()
    assert run(row.id, engine).state == "queued"
    assert engine.asked == []
    stopping.clear()
    assert run(row.id, engine).state == "succeeded"
    assert engine.asked == [[1, 2]]


def test_a_worker_that_lost_its_job_leaves_it_alone(world: World, run: Run) -> None:
    row = world.certify([0, 1])

    def steal(index: int) -> None:
        if index == 0:
            with world.database.write() as session:
                session.execute(update(ChunkRow).values(owner="other"))
            threading.Event().wait(4 * world.settings.cancel_poll_seconds)

    job = run(row.id, ScriptedEngine(steal))
    assert (job.state, job.done) == ("running", 0)
    assert world.chunks.expire(owner="other") == [row.id]


def test_a_deleted_job_ends_quietly(world: World, run: Run) -> None:
    world.certify([0, 1])

    def remove(index: int) -> None:
        if index == 1:
            with world.database.write() as session:
                session.execute(JobRow.__table__.delete())  # type: ignore[attr-defined]

    tasks = certifying(ScriptedEngine(remove))
    Runner(world.settings, tasks, owner="w", stopping=threading.Event()).run()
    assert world.jobs.page(limit=5) == []


def test_a_database_that_fails_leaves_the_job_to_its_lease(
    world: World, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_arguments: object) -> None:
        raise OperationalError("INSERT", {}, Exception("away"))

    row = world.certify()
    with monkeypatch.context() as patch:
        patch.setattr("store.certifications.Certifications.add_items", away)
        assert run(row.id, ScriptedEngine()).state == "running"
    assert world.chunks.expire() == []
    assert world.chunks.expire(owner="w") == [row.id]
    assert run(row.id, ScriptedEngine()).state == "succeeded"


def test_who_is_woken_wakes_one_more_where_there_is_more(
    world: World, stopping: threading.Event
) -> None:
    rows = [world.certify(range(40)), world.certify([0])]
    told: list[tuple[str, str]] = []
    runner = Runner(
        world.settings,
        certifying(ScriptedEngine()),
        owner="w",
        stopping=stopping,
        announce=lambda job_id, queue: told.append((job_id, queue)),
    )
    runner.run()
    assert [world.jobs.get(row.id).state for row in rows] == ["succeeded"] * 2
    assert told == [(rows[0].id, "bounds")]


def test_a_long_chunk_hands_back_what_it_has_not_begun(
    world: World, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.certifying.LONGEST_SECONDS", 0.0)
    row = world.certify(range(40))
    engine = ScriptedEngine()
    assert run(row.id, engine).state == "succeeded"
    # The second chunk would have been larger than a batch.
    assert all(later[0] == earlier[0] + 16 for earlier, later in pairwise(engine.asked))
    assert len(world.certifications.items(row.id)) == 40


def test_threads_reach_the_engine(world: World, stopping: threading.Event) -> None:
    world.certify([0])
    engine = ScriptedEngine()
    Runner(
        world.settings, certifying(engine), owner="w", stopping=stopping, threads=lambda: 3
    ).run()
    assert engine.work is not None
    assert engine.work.threads == 3
