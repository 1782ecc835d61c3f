"""What is written down of a training: every epoch, some steps, nothing twice."""

from __future__ import annotations

from typing import Any

import pytest

from store.job_rows import LeaseLostError
from tests.helpers.service import World
from tests.helpers.trainers import STEPS, event
from worker.recorder import Recorder


class Clock:
    """Tells the time it is told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def recorder(world: World, training_id: str, clock: Clock, **changes: Any) -> Recorder:  # noqa: ANN401
    plain: dict[str, Any] = {"arm": "candidate", "before": 0, "arms": 1, "seconds": 1.0}
    return Recorder(world.trainings, training_id, "w", **{**plain, **changes}, clock=clock)


@pytest.fixture
def training(world: World) -> str:
    made = world.train().id
    assert world.jobs.claim(made, "w")
    return made


def steps_of(world: World, training: str) -> list[tuple[int, bool]]:
    found = world.trainings.metrics(training)
    return [(entry["step"], entry["metrics"] is not None) for entry in found]


def test_steps_are_thinned_and_epochs_are_not(world: World, training: str, clock: Clock) -> None:
    record = recorder(world, training, clock)
    for step in range(1, STEPS + 1):
        clock.now += 0.4
        record(event(step))
        if step % 3 == 0:
            record(event(step, ends_epoch=True))
    record.flush()
    assert steps_of(world, training) == [(1, False), (3, True), (4, False), (6, True)]
    first = world.trainings.metrics(training)[0]
    assert first["arm"] == "candidate"
    assert first["loss"] == {"total": 1.0, "robust": None}
    job = world.jobs.get(training)
    assert (job.done, job.total) == (STEPS, STEPS)


def test_progress_is_written_as_often_as_metrics_are(
    world: World, training: str, clock: Clock
) -> None:
    record = recorder(world, training, clock, before=1, arms=2)
    record(event(1))
    assert (world.jobs.get(training).done, world.jobs.get(training).total) == (7, 12)
    clock.now += 0.5
    record(event(2))
    assert world.jobs.get(training).done == 7
    record.flush()
    assert world.jobs.get(training).done == 8


def test_long_trainings_tell_fewer_steps(world: World, training: str, clock: Clock) -> None:
    record = recorder(world, training, clock, seconds=0.001)
    for step in range(1, 1001):
        clock.now += 10.0
        record({**event(1), "step": step, "steps": 1000})
    told = steps_of(world, training)
    assert len(told) == 1000  # 10 s a step are rarer than any pause so far
    clock.now += 1e6
    for step in range(1001, 1101):
        clock.now += 10.0
        record({**event(1), "step": step, "steps": 1100})
    assert 1 <= len(steps_of(world, training)) - len(told) < 5


def test_what_is_repeated_after_a_death_is_not_stored_again(
    world: World, training: str, clock: Clock
) -> None:
    record = recorder(world, training, clock, seconds=0.01)
    for step in (1, 2, 3):
        clock.now += 1
        record(event(step))
    before = world.trainings.metrics(training)
    again = recorder(world, training, clock, seconds=0.01)
    for step in (2, 3):
        clock.now += 1
        again(event(step))
    again(event(3, ends_epoch=True))
    clock.now += 1
    again(event(4))
    found = world.trainings.metrics(training)
    assert found[:3] == before
    assert steps_of(world, training)[3:] == [(3, True), (4, False)]
    assert [entry["index"] for entry in found] == list(range(5))


def test_an_epoch_that_was_missed_is_stored_when_told_again(
    world: World, training: str, clock: Clock
) -> None:
    record = recorder(world, training, clock)
    record(event(3, ends_epoch=True))
    again = recorder(world, training, clock)
    again(event(3, ends_epoch=True))
    assert world.jobs.get(training).done == 3
    again(event(6, ends_epoch=True))  # in the checkpoint, but whoever was told of it died
    assert steps_of(world, training) == [(3, True), (6, True)]
    assert world.jobs.get(training).done == 6


def test_arms_have_positions_of_their_own(world: World, training: str, clock: Clock) -> None:
    recorder(world, training, clock)(event(5))
    recorder(world, training, clock, arm="baseline", before=1, arms=2)(event(1))
    assert [entry["arm"] for entry in world.trainings.metrics(training)] == [
        "candidate",
        "baseline",
    ]


def test_a_training_that_said_nothing_has_nothing_to_store(
    world: World, training: str, clock: Clock
) -> None:
    recorder(world, training, clock).flush()
    assert world.jobs.get(training).done == 0


def test_a_lost_job_is_noticed(world: World, training: str, clock: Clock) -> None:
    record = recorder(world, training, clock)
    world.jobs.release(training, "w")
    with pytest.raises(LeaseLostError):
        record(event(1))
