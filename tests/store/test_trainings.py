"""Trainings: metrics in order, files kept as long as somebody names them."""

from __future__ import annotations

from typing import Any

import pytest

from store.errors import ConflictError, IdempotencyMismatchError, NotFoundError
from store.idempotency import Replay
from store.job_rows import LeaseLostError
from store.trainings import Metric, NewArtifact, NewTraining
from tests.helpers.service import NETWORK_DETAILS, World, training_settings


def request(world: World, **changes: Any) -> NewTraining:  # noqa: ANN401
    plain: dict[str, Any] = {
        "network_id": world.network,
        "dataset_id": world.dataset,
        "validation_id": None,
        "settings": training_settings(),
        "steps": 10,
    }
    return NewTraining(**{**plain, **changes})


def metric(arm: str, step: int) -> Metric:
    return Metric(arm, 2 * step, {"arm": arm, "step": step})


def finish(world: World, training_id: str, *, content: bytes = b"weights") -> None:
    assert world.jobs.claim(training_id, "w")
    files = [
        NewArtifact("network.onnx", "application/octet-stream", content),
        NewArtifact("metrics.csv", "text/csv", b"a,b\n"),
    ]
    world.trainings.finish_arm(
        training_id, "w", arm="candidate", result={"best_epoch": 2}, artifacts=files
    )


def test_a_training_is_stored_with_what_it_refers_to(world: World) -> None:
    row, new = world.trainings.create(request(world, validation_id=world.dataset))
    assert new
    assert (row.job.kind, row.job.queue, row.job.state) == ("training", "bounds", "queued")
    assert (row.job.done, row.job.total) == (0, 10)
    found = world.trainings.get(row.id)
    assert found.network is not None
    assert found.validation is not None
    assert (found.network.name, found.dataset.name) == ("n.onnx", "d.npz")
    assert found.settings == training_settings()
    assert found.arms == {}
    bare, _ = world.trainings.create(request(world, network_id=None))
    assert bare.network is None


@pytest.mark.parametrize("name", ["network_id", "dataset_id", "validation_id"])
def test_what_is_referred_to_has_to_exist(world: World, name: str) -> None:
    with pytest.raises(NotFoundError):
        world.trainings.create(request(world, **{name: "net_00000000000000000000000000"}))
    with pytest.raises(NotFoundError):
        world.trainings.get("job_00000000000000000000000000")


def test_a_key_replays_a_request(world: World) -> None:
    replay = Replay("k", "POST /v1/trainings", "a" * 64)
    first, _ = world.trainings.create(request(world), replay=replay)
    again, new = world.trainings.create(request(world), replay=replay)
    assert (again.id, new) == (first.id, False)
    other = Replay("k", "POST /v1/trainings", "b" * 64)
    with pytest.raises(IdempotencyMismatchError):
        world.trainings.create(request(world), replay=other)


def test_metrics_are_numbered_in_the_order_they_come(world: World) -> None:
    training = world.train(baseline=True).id
    assert world.jobs.claim(training, "w")
    first = [metric("candidate", 1), metric("candidate", 2)]
    world.trainings.note(training, "w", first, done=2, total=8)
    world.trainings.note(training, "w", [metric("baseline", 1)], done=5, total=8)
    world.trainings.note(training, "w", done=6, total=8)
    found = world.trainings.metrics(training)
    assert [(entry["index"], entry["arm"], entry["step"]) for entry in found] == [
        (0, "candidate", 1),
        (1, "candidate", 2),
        (2, "baseline", 1),
    ]
    assert [entry["index"] for entry in world.trainings.metrics(training, after=0, limit=1)] == [1]
    assert [entry["index"] for entry in world.trainings.metrics(training, arm="baseline")] == [2]
    assert world.trainings.position(training, "candidate") == 4
    assert world.trainings.position(world.train().id, "candidate") == -1
    job = world.jobs.get(training)
    assert (job.done, job.total) == (6, 8)


def test_only_the_owner_writes(world: World) -> None:
    training = world.train().id
    assert world.jobs.claim(training, "w")
    with pytest.raises(LeaseLostError):
        world.trainings.note(training, "late", [metric("candidate", 1)], done=1, total=8)
    with pytest.raises(LeaseLostError):
        world.trainings.finish_arm(
            training, "late", arm="candidate", result={}, artifacts=[NewArtifact("a", "b", b"c")]
        )
    with pytest.raises(LeaseLostError):
        world.trainings.succeed(training, "late")
    assert world.trainings.metrics(training) == []
    assert world.trainings.artifacts(training) == []
    assert list((world.blobs.root / "incoming").iterdir()) == []


def test_files_are_kept_with_their_type_and_replaced_by_a_later_try(world: World) -> None:
    training = world.train().id
    finish(world, training)
    assert [row.name for row in world.trainings.artifacts(training)] == [
        "metrics.csv",
        "network.onnx",
    ]
    row, path = world.trainings.artifact(training, "metrics.csv")
    assert (row.media_type, row.size_bytes, path.read_bytes()) == ("text/csv", 4, b"a,b\n")
    with pytest.raises(NotFoundError):
        world.trainings.artifact(training, "secret")
    world.trainings.finish_arm(
        training,
        "w",
        arm="baseline",
        result={"best_epoch": 1},
        artifacts=[NewArtifact("network.onnx", "application/octet-stream", b"better")],
    )
    _, path = world.trainings.artifact(training, "network.onnx")
    assert path.read_bytes() == b"better"
    assert world.trainings.get(training).arms == {
        "candidate": {"best_epoch": 2},
        "baseline": {"best_epoch": 1},
    }


def test_a_training_that_succeeded_is_done(world: World) -> None:
    training = world.train().id
    finish(world, training)
    world.trainings.note(training, "w", done=6, total=8)
    world.trainings.succeed(training, "w", comparison_id="job_1")
    row = world.trainings.get(training)
    assert (row.job.state, row.job.done, row.job.total) == ("succeeded", 8, 8)
    assert row.comparison_id == "job_1"


def test_deleting_removes_files_that_nobody_else_names(world: World) -> None:
    training = world.train().id
    with pytest.raises(ConflictError, match="cancel it"):
        world.trainings.delete(training)
    finish(world, training)
    kept = world.upload(world.networks, b"weights", "trained.onnx", NETWORK_DETAILS)
    table = world.trainings.artifact(training, "metrics.csv")[1]
    folder = world.trainings.checkpoint(training)
    folder.mkdir(parents=True)
    world.trainings.succeed(training, "w")
    world.trainings.delete(training)
    assert not table.exists()
    assert not folder.exists()
    assert world.networks.path(world.networks.get(kept)).read_bytes() == b"weights"
    with pytest.raises(NotFoundError):
        world.jobs.get(training)


def test_uploads_share_their_content_with_files(world: World) -> None:
    training = world.train().id
    finish(world, training)
    other = world.upload(world.networks, b"weights", "trained.onnx", NETWORK_DETAILS)
    world.networks.delete(other)
    assert world.trainings.artifact(training, "network.onnx")[1].read_bytes() == b"weights"


def test_what_a_training_uses_cannot_be_deleted(world: World) -> None:
    training = world.train().id
    with pytest.raises(ConflictError, match=f"training {training}"):
        world.networks.delete(world.network)
    with pytest.raises(ConflictError, match="delete the trainings"):
        world.datasets.delete(world.dataset)
    world.jobs.request_cancel(training)
    world.trainings.delete(training)
    world.networks.delete(world.network)


def test_lists_are_newest_first_and_filtered(world: World) -> None:
    first, second = world.train().id, world.train().id
    bare = world.trainings.create(request(world, network_id=None))[0].id
    world.jobs.request_cancel(second)
    page = world.trainings.page
    assert [row.id for row in page(limit=9)] == [bare, second, first]
    assert [row.id for row in page(limit=1, before=bare)] == [second]
    assert [row.id for row in page(limit=9, state="cancelled")] == [second]
    assert [row.id for row in page(limit=9, network_id=world.network)] == [second, first]
