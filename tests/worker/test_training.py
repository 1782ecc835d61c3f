"""A training goes on where it stopped, keeps what it has, and ends in networks to certify."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import pytest

from store.comparisons import Comparisons
from store.job_tables import JobRow
from tests.helpers.engines import training
from tests.helpers.service import World, wait_until
from tests.helpers.trainers import STEPS, ScriptedTrainer
from training import DivergedError
from worker.errors import EngineDiedError
from worker.runner import Runner


@pytest.fixture
def stopping() -> threading.Event:
    return threading.Event()


@pytest.fixture
def run(world: World, stopping: threading.Event) -> Callable[[str, ScriptedTrainer], JobRow]:
    """Run a job in a worker called `w`, and return what became of it."""

    def run_job(job_id: str, engine: ScriptedTrainer) -> JobRow:
        Runner(world.settings, training(engine), owner="w", stopping=stopping).run()
        return world.jobs.get(job_id)

    return run_job


Run = Callable[[str, ScriptedTrainer], JobRow]


def names(world: World, training_id: str) -> list[str]:
    return [row.name for row in world.trainings.artifacts(training_id)]


def content(world: World, training_id: str, name: str) -> bytes:
    return world.trainings.artifact(training_id, name)[1].read_bytes()


def test_a_training_leaves_a_network_and_files(world: World, run: Run) -> None:
    row = world.train()
    engine = ScriptedTrainer()
    job = run(row.id, engine)
    assert (job.state, job.done, job.total, job.error) == ("succeeded", STEPS, STEPS, None)
    work = engine.works[0]
    assert work.network is not None
    assert (work.network.read_bytes(), work.network_name) == (b"network", "n.onnx")
    assert (work.dataset.read_bytes(), work.dataset_name) == (b"dataset", "d.npz")
    assert (work.validation, work.arm) == (None, "candidate")
    found = world.trainings.get(row.id)
    assert list(found.arms) == ["candidate"]
    arm = found.arms["candidate"]
    assert (arm["best_epoch"], arm["stopped"]) == (2, "completed")
    assert found.comparison_id is None
    network = world.networks.get(arm["network_id"])
    assert network.name == "mlp:8-crown-ibp.onnx"
    assert world.networks.path(network).read_bytes() == b"candidate after 6"
    assert network.details["outputs"] == 3
    assert names(world, row.id) == [
        "checkpoint.safetensors",
        "metrics.csv",
        "network.onnx",
        "settings.json",
    ]
    assert content(world, row.id, "checkpoint.safetensors") == b"safe"
    assert content(world, row.id, "metrics.csv").startswith(b"arm,step,epoch")
    assert json.loads(content(world, row.id, "settings.json")) == {"software": {"torch": "2"}}
    assert not world.trainings.checkpoint(row.id).exists()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"name": "mine.onnx"}, "mine.onnx"),
        ({"name": "mine"}, "mine.onnx"),
        ({"architecture": None}, "n-crown-ibp.onnx"),
        ({"name": "x" * 200}, "x" * 180 + ".onnx"),
    ],
)
def test_networks_are_named_after_what_was_asked(
    world: World, run: Run, changes: dict[str, str | None], expected: str
) -> None:
    row = world.train(**changes)
    run(row.id, ScriptedTrainer())
    network = world.trainings.get(row.id).arms["candidate"]["network_id"]
    assert world.networks.get(network).name == expected


def test_two_arms_end_in_a_comparison(world: World, run: Run) -> None:
    row = world.train(baseline=True)
    engine = ScriptedTrainer()
    job = run(row.id, engine)
    assert (job.state, job.done, job.total) == ("succeeded", 2 * STEPS, 2 * STEPS)
    assert [work.arm for work in engine.works] == ["candidate", "baseline"]
    found = world.trainings.get(row.id)
    assert found.comparison_id is not None
    compared = Comparisons(world.database).get(found.comparison_id)
    arms = [found.arms[arm]["network_id"] for arm in ("baseline", "candidate")]
    assert [entry.network_id for entry in compared.networks] == arms
    assert compared.dataset_id == world.dataset
    assert compared.settings["indices"] == [1, 3]
    assert compared.settings["epsilon"] == 0.05
    assert compared.job.state == "succeeded"  # the worker goes on with what there is
    assert {"network.onnx", "baseline-network.onnx", "baseline-metrics.csv"} <= set(
        names(world, row.id)
    )
    assert content(world, row.id, "baseline-network.onnx") == b"baseline after 6"


def test_the_comparison_runs_like_any_other(world: World, run: Run) -> None:
    row = world.train(baseline=True)
    run(row.id, ScriptedTrainer())
    comparison = world.trainings.get(row.id).comparison_id
    assert comparison is not None
    job = run(comparison, ScriptedTrainer())
    assert (job.state, job.done) == ("succeeded", 4)


def test_a_data_set_for_validation_is_what_arms_are_compared_on(world: World, run: Run) -> None:
    validation = world.upload(world.datasets, b"other", "v.npz", {"count": 9, "input_shape": [4]})
    row = world.train(baseline=True, validation_id=validation)
    engine = ScriptedTrainer()
    run(row.id, engine)
    assert engine.works[0].validation is not None
    comparison = world.trainings.get(row.id).comparison_id
    assert comparison is not None
    compared = Comparisons(world.database).get(comparison)
    assert (compared.dataset_id, compared.settings["indices"]) == (validation, list(range(9)))


def test_a_death_between_comparison_and_success_makes_no_second_comparison(
    world: World, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = world.train(baseline=True)

    def die(*_arguments: object, **_named: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("store.trainings.Trainings.succeed", die)
        with pytest.raises(KeyboardInterrupt):
            run(row.id, ScriptedTrainer())
    world.jobs.expire(max_attempts=5, owner="w")
    engine = ScriptedTrainer()
    assert run(row.id, engine).state == "succeeded"
    assert engine.works == []
    assert len(Comparisons(world.database).page(limit=5)) == 1


def test_a_cancelled_training_keeps_its_best_network(world: World, run: Run) -> None:
    row = world.train(baseline=True)

    def cancel(_arm: str, step: int) -> None:
        if step == 5:
            world.jobs.request_cancel(row.id)
            # Until the lease has looked.
            threading.Event().wait(6 * world.settings.cancel_poll_seconds)

    engine = ScriptedTrainer(cancel)
    job = run(row.id, engine)
    assert job.state == "cancelled"
    assert engine.steps[-1] == ("candidate", 4)
    found = world.trainings.get(row.id)
    assert found.arms["candidate"]["best_epoch"] == 1
    assert found.arms["candidate"]["stopped"] == "cancelled"
    assert content(world, row.id, "network.onnx") == b"candidate after 4"
    assert found.comparison_id is None
    assert not world.trainings.checkpoint(row.id).exists()


def test_one_cancelled_before_its_first_epoch_leaves_nothing(world: World, run: Run) -> None:
    row = world.train()

    def cancel(_arm: str, step: int) -> None:
        if step == 2:
            world.jobs.request_cancel(row.id)
            threading.Event().wait(6 * world.settings.cancel_poll_seconds)

    assert run(row.id, ScriptedTrainer(cancel)).state == "cancelled"
    assert world.trainings.get(row.id).arms == {}
    assert names(world, row.id) == []


def test_a_stopping_worker_puts_its_training_back(
    world: World, run: Run, stopping: threading.Event
) -> None:
    row = world.train(baseline=True)

    def stop(arm: str, step: int) -> None:
        if (arm, step) == ("baseline", 5):
            stopping.set()

    job = run(row.id, ScriptedTrainer(stop))
    assert (job.state, job.done, job.attempts) == ("queued", STEPS + 4, 0)
    assert list(world.trainings.get(row.id).arms) == ["candidate"]
    stopping.clear()
    engine = ScriptedTrainer()
    assert run(row.id, engine).state == "succeeded"
    # The candidate is finished; the baseline goes on from its first epoch.
    assert engine.steps == [("baseline", step) for step in (4, 5, 6)]
    indices = [entry["index"] for entry in world.trainings.metrics(row.id)]
    assert indices == list(range(len(indices)))


def test_a_worker_that_lost_its_job_leaves_it_alone(world: World, run: Run) -> None:
    row = world.train()

    def lose(_arm: str, step: int) -> None:
        if step == 5:
            world.jobs.expire(max_attempts=5, owner="w")
            assert world.jobs.claim(row.id, "other")

    job = run(row.id, ScriptedTrainer(lose))
    assert (job.state, job.owner) == ("running", "other")
    assert world.trainings.get(row.id).arms == {}
    assert (world.trainings.checkpoint(row.id) / "candidate" / "step").read_text() == "3"


def test_a_process_that_dies_of_a_training_gets_another_chance(world: World, run: Run) -> None:
    row = world.train()
    died = EngineDiedError("SIGSEGV", "the process that computes was ended by SIGSEGV")

    left = world.settings.max_attempts - 1

    def die(_arm: str, _step: int) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            raise died

    job = run(row.id, ScriptedTrainer(die))
    assert (job.state, job.attempts) == ("succeeded", world.settings.max_attempts)
    row, left = world.train(seed=1), 1000
    job = run(row.id, ScriptedTrainer(die))
    assert (job.state, job.attempts) == ("failed", world.settings.max_attempts)
    assert job.error == {"type": "EngineDiedError", "message": str(died)}


def test_a_training_that_diverges_says_so_and_keeps_its_metrics(world: World, run: Run) -> None:
    row = world.train()

    def diverge(_arm: str, step: int) -> None:
        if step == 5:
            raise DivergedError("the loss is not a finite number any more at step 5", step=5)

    job = run(row.id, ScriptedTrainer(diverge))
    assert job.state == "failed"
    assert job.error == {
        "type": "DivergedError",
        "message": "the loss is not a finite number any more at step 5",
    }
    assert world.trainings.metrics(row.id)[-1]["step"] >= 3
    assert not world.trainings.checkpoint(row.id).exists()


def test_progress_is_there_while_it_runs(world: World, run: Run) -> None:
    row = world.train()
    seen: list[int] = []

    def look(_arm: str, step: int) -> None:
        if step == 5:
            wait_until(lambda: world.jobs.get(row.id).done >= 3)
            seen.append(world.jobs.get(row.id).done)

    run(row.id, ScriptedTrainer(look))
    assert seen[0] in (3, 4)
