"""Comparisons: stored once, answered once, taken over where the same was asked before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from store.comparisons import NewComparison
from store.errors import ConflictError, IdempotencyMismatchError, NotFoundError
from store.idempotency import Replay
from store.job_rows import LeaseLostError
from store.states import JobState
from store.tables import ComparisonRow
from tests.helpers.service import NETWORK_DETAILS, SETTINGS, World, comparing, item

ABSENT = "job_00000000000000000000000000"


def result(world: World, row: ComparisonRow) -> dict[str, Any]:
    sides = [{"name": entry.network.name, "network_id": entry.network_id} for entry in row.networks]
    return {"baseline": sides[0], "candidates": sides[1:]}


def finish(world: World, row: ComparisonRow) -> None:
    assert world.jobs.claim(row.id, "w")
    for entry in row.networks:
        for index in row.settings["indices"]:
            world.comparisons.add_item(row.id, "w", position=entry.position, item=item(index))
        layers: list[Mapping[str, Any]] = [{"name": f"a{entry.position}"}]
        world.comparisons.set_layers(comparing(row.id, "w", entry.position), layers)
    world.comparisons.succeed(row.id, "w", result(world, row))


def test_a_comparison_knows_its_networks(world: World) -> None:
    row = world.compare([0, 1])
    again = world.comparisons.get(row.id)
    assert [entry.network.name for entry in again.networks] == ["n.onnx", "m.onnx"]
    assert [entry.position for entry in again.networks] == [0, 1]
    assert (again.job.kind, again.job.state, again.job.total) == ("comparison", "queued", 4)
    assert again.dataset.name == "d.npz"
    assert again.result is None
    with pytest.raises(NotFoundError, match="there is no comparison"):
        world.comparisons.get(ABSENT)
    with pytest.raises(NotFoundError):
        world.comparisons.get("../../etc")


def test_an_answer_is_written_once_by_the_owner_alone(world: World) -> None:
    row = world.compare([0, 1])
    comparisons = world.comparisons
    with pytest.raises(LeaseLostError):
        comparisons.add_item(row.id, "w", position=0, item=item(0))
    assert world.jobs.claim(row.id, "w")
    comparisons.add_item(row.id, "w", position=0, item=item(1, "unknown", input=[0.5]))
    comparisons.add_item(row.id, "w", position=0, item=item(1, "verified"))
    comparisons.add_item(row.id, "w", position=1, item=item(0))
    with pytest.raises(LeaseLostError):
        comparisons.add_item(row.id, "other", position=0, item=item(0))
    with pytest.raises(LeaseLostError):
        comparisons.set_layers(comparing(row.id, "other", 0), [])
    assert [entry["verdict"] for entry in comparisons.items(row.id, 0)] == ["unknown"]
    assert "input" not in comparisons.items(row.id, 0)[0]
    assert comparisons.finished_indices(row.id, 0) == {1}
    assert comparisons.finished_indices(row.id, 1) == {0}
    assert world.jobs.get(row.id).done == 2


def test_layers_are_kept_also_where_there_are_none(world: World) -> None:
    row = world.compare([0])
    assert world.jobs.claim(row.id, "w")
    world.comparisons.set_layers(comparing(row.id, "w", 0), None)
    found = world.comparisons.get(row.id).networks
    assert [entry.tightness for entry in found] == [{"layers": None}, None]


def test_items_are_filtered_and_limited(world: World) -> None:
    row = world.compare([0, 1, 2])
    assert world.jobs.claim(row.id, "w")
    for index, verdict in ((2, "verified"), (0, "unknown"), (1, "verified")):
        world.comparisons.add_item(row.id, "w", position=0, item=item(index, verdict))
    ask = world.comparisons.items
    assert [entry["index"] for entry in ask(row.id, 0)] == [0, 1, 2]
    assert [entry["index"] for entry in ask(row.id, 0, after=0, limit=1)] == [1]
    assert [entry["index"] for entry in ask(row.id, 0, verdict="verified")] == [1, 2]
    assert ask(row.id, 1) == []
    with pytest.raises(NotFoundError):
        ask(ABSENT, 0)


def test_the_same_comparison_is_taken_over(world: World) -> None:
    first = world.compare()
    finish(world, first)
    again = world.compare(reuse=True)
    assert (again.job.state, again.job.cached, again.job.done) == (JobState.SUCCEEDED, True, 6)
    assert again.result == result(world, again)
    assert [entry.tightness for entry in again.networks] == [
        {"layers": [{"name": "a0"}]},
        {"layers": [{"name": "a1"}]},
    ]
    assert len(world.comparisons.items(again.id, 1)) == 3
    assert world.compare(reuse=False).job.state == JobState.QUEUED
    assert world.compare(reuse=True, epsilon=0.2).job.state == JobState.QUEUED


def test_the_order_of_networks_is_part_of_the_question(world: World) -> None:
    first = world.compare()
    finish(world, first)
    ids = [entry.network_id for entry in first.networks]
    swapped = new(world, network_ids=ids[::-1])
    row, _ = world.comparisons.create(swapped)
    assert row.job.state == JobState.QUEUED


def new(world: World, **changes: Any) -> NewComparison:  # noqa: ANN401
    plain: dict[str, Any] = {
        "network_ids": [world.network, world.network],
        "dataset_id": world.dataset,
        "settings": {**SETTINGS, "indices": [0, 1, 2]},
        "indices": [0, 1, 2],
        "queue": "bounds",
        "version": "1",
    }
    return NewComparison(**{**plain, **changes})


def test_another_name_of_the_same_content_is_shown(world: World) -> None:
    first = world.compare()
    finish(world, first)
    renamed = world.upload(world.networks, b"network", "renamed.onnx", NETWORK_DETAILS)
    ids = [renamed, first.networks[1].network_id]
    row, _ = world.comparisons.create(new(world, network_ids=ids))
    assert row.job.cached
    assert row.result is not None
    assert row.result["baseline"]["name"] == "renamed.onnx"


def test_answers_of_certifications_are_taken_over(world: World) -> None:
    world.finish([0, 1])
    row = world.compare([0, 1], reuse=True)
    assert (row.job.state, row.job.done) == (JobState.QUEUED, 2)
    assert world.comparisons.finished_indices(row.id, 0) == {0, 1}
    assert world.comparisons.finished_indices(row.id, 1) == frozenset()
    assert world.compare([0], reuse=True).job.done == 1
    assert world.compare([0], reuse=True, epsilon=0.2).job.done == 0


def test_answers_of_other_comparisons_are_taken_over(world: World) -> None:
    finish(world, world.compare())
    third = world.upload(world.networks, b"third", "third.onnx", NETWORK_DETAILS)
    row, _ = world.comparisons.create(new(world, network_ids=[world.network, third]))
    assert (row.job.state, row.job.done) == (JobState.QUEUED, 3)
    assert [entry.tightness for entry in row.networks] == [{"layers": [{"name": "a0"}]}, None]
    other = new(world, network_ids=[third, world.network], version="2")
    assert world.comparisons.create(other)[0].job.done == 0


def test_a_network_beside_itself(world: World) -> None:
    world.finish()
    row, _ = world.comparisons.create(new(world))
    assert row.job.done == 6


def test_a_key_replays_a_request(world: World) -> None:
    replay = Replay("k", "POST /v1/comparisons", "1" * 64)
    first, made = world.comparisons.create(new(world), replay=replay)
    again, remade = world.comparisons.create(new(world), replay=replay)
    assert (made, remade, again.id) == (True, False, first.id)
    with pytest.raises(IdempotencyMismatchError):
        world.comparisons.create(new(world), replay=Replay("k", replay.route, "2" * 64))


@pytest.mark.parametrize(
    "changes",
    [
        {"network_ids": ["net_00000000000000000000000000"] * 2},
        {"dataset_id": "dat_00000000000000000000000000"},
    ],
)
def test_what_is_compared_has_to_be_there(world: World, changes: dict[str, Any]) -> None:
    with pytest.raises(NotFoundError):
        world.comparisons.create(new(world, **changes))
    assert world.jobs.page(limit=9) == []


def test_deleting(world: World) -> None:
    row = world.compare()
    with pytest.raises(ConflictError, match="cancel it"):
        world.comparisons.delete(row.id)
    with pytest.raises(ConflictError, match=f"is used by comparison {row.id}"):
        world.networks.delete(row.networks[1].network_id)
    finish(world, row)
    world.comparisons.delete(row.id)
    with pytest.raises(NotFoundError):
        world.comparisons.get(row.id)
    with pytest.raises(NotFoundError):
        world.jobs.get(row.id)
    world.networks.delete(row.networks[1].network_id)


def test_pages(world: World) -> None:
    rows = [world.compare([0]) for _ in range(3)]
    ids = [row.id for row in rows][::-1]
    page = world.comparisons.page
    assert [row.id for row in page(limit=2)] == ids[:2]
    assert [row.id for row in page(limit=2, before=ids[1])] == ids[2:]
    world.jobs.request_cancel(ids[0])
    assert [row.id for row in page(limit=5, state="cancelled")] == ids[:1]
    assert len(page(limit=5, network_id=world.network)) == 3
    assert page(limit=5, network_id="net_1") == []
