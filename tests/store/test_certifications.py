"""Certifications: answers once per input, equal questions answered at once."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from store.certifications import NewCertification, fingerprint
from store.errors import ConflictError, IdempotencyMismatchError, NotFoundError
from store.idempotency import KEPT, Replay
from store.job_tables import IdempotencyRow, JobRow
from store.tables import ItemRow
from tests.helpers.service import NETWORK_DETAILS, SETTINGS, SUMMARY, World, item


def request(world: World, **changes: object) -> NewCertification:
    new = NewCertification(
        network_id=world.network,
        dataset_id=world.dataset,
        settings={**SETTINGS, "indices": [0, 1]},
        indices=[0, 1],
        queue="bounds",
        version="1",
    )
    return dataclasses.replace(new, **changes)  # type: ignore[arg-type]


def test_answers_are_written_once(world: World) -> None:
    row = world.certify([3, 1])
    assert world.jobs.claim(row.id, "w")
    world.certifications.add_item(row.id, "w", item(3))
    world.certifications.add_item(row.id, "w", item(3, "falsified"))
    assert world.jobs.get(row.id).done == 1
    world.certifications.add_item(row.id, "w", item(1, "unknown"))
    items = world.certifications.items(row.id)
    assert [(entry["index"], entry["verdict"]) for entry in items] == [
        (1, "unknown"),
        (3, "verified"),
    ]
    assert world.certifications.finished_indices(row.id) == {1, 3}
    assert world.jobs.get(row.id).done == 2


def test_answers_are_paged_and_filtered(world: World) -> None:
    row = world.certify(range(6))
    world.jobs.claim(row.id, "w")
    for index in range(6):
        verdict = "falsified" if index % 2 else "verified"
        world.certifications.add_item(row.id, "w", item(index, verdict, input=[0.5, index]))
    odd = world.certifications.items(row.id, verdict="falsified", after=1, limit=1)
    assert [entry["index"] for entry in odd] == [3]
    assert "input" not in odd[0]
    assert world.certifications.inputs(row.id)[3] == [0.5, 3]


def test_equal_questions_are_answered_at_once(world: World) -> None:
    first = world.finish([0, 1])
    row, made = world.certifications.create(request(world))
    assert made
    assert (row.job.state, row.job.cached, row.job.done) == ("succeeded", True, 2)
    assert row.summary == SUMMARY
    assert row.id != first
    assert world.certifications.items(row.id) == world.certifications.items(first)
    world.certifications.delete(first)
    assert len(world.certifications.items(row.id)) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"version": "2"},
        {"reuse": False},
        {"settings": {**SETTINGS, "indices": [0, 1], "epsilon": 0.2}},
        {"settings": {**SETTINGS, "indices": [0, 2]}, "indices": [0, 2]},
    ],
)
def test_other_questions_are_not(world: World, changes: dict[str, object]) -> None:
    world.finish([0, 1])
    row, _ = world.certifications.create(request(world, **changes))
    assert (row.job.state, row.job.cached) == ("queued", False)


def test_an_unfinished_certification_is_no_answer(world: World) -> None:
    world.certify([0, 1])
    row, _ = world.certifications.create(request(world))
    assert row.job.state == "queued"


def test_the_same_content_under_another_name_is_the_same_question(world: World) -> None:
    world.finish([0, 1])
    copy = world.upload(world.networks, b"network", "copy.onnx", NETWORK_DETAILS)
    row, _ = world.certifications.create(request(world, network_id=copy))
    assert row.job.cached


def test_fingerprints_do_not_depend_on_the_order_of_keys() -> None:
    assert fingerprint("a", "b", {"x": 1, "y": 2}, "1") == fingerprint(
        "a", "b", {"y": 2, "x": 1}, "1"
    )
    assert fingerprint("a", "b", {}, "1") != fingerprint("b", "a", {}, "1")


def test_a_request_sent_twice_makes_one_job(world: World) -> None:
    replay = Replay("key", "POST /x", "hash")
    with ThreadPoolExecutor(6) as pool:
        made = list(
            pool.map(lambda _: world.certifications.create(request(world), replay=replay), range(6))
        )
    assert len({row.id for row, _ in made}) == 1
    assert sum(new for _, new in made) == 1
    other = dataclasses.replace(replay, request_sha256="other")
    with pytest.raises(IdempotencyMismatchError, match="'key'"):
        world.certifications.create(request(world), replay=other)
    elsewhere = dataclasses.replace(other, route="POST /y")
    assert world.certifications.create(request(world), replay=elsewhere)[1]


def test_keys_are_forgotten_in_time_and_with_their_resource(world: World) -> None:
    replay = Replay("key", "POST /x", "hash")
    row, _ = world.certifications.create(request(world), replay=replay)
    with world.database.write() as session:
        past = row.job.created_at - KEPT - timedelta(seconds=1)
        session.execute(update(IdempotencyRow).values(created_at=past))
    again, new = world.certifications.create(request(world), replay=replay)
    assert new
    world.jobs.request_cancel(again.id)
    world.certifications.delete(again.id)
    assert world.certifications.create(request(world), replay=replay)[1]


def test_deleting_takes_job_and_answers_along(world: World) -> None:
    certification = world.finish()
    world.certifications.delete(certification)
    with pytest.raises(NotFoundError):
        world.certifications.get(certification)
    with world.database.read() as session:
        assert session.scalar(select(func.count()).select_from(JobRow)) == 0
        assert session.scalar(select(func.count()).select_from(ItemRow)) == 0


def test_what_is_not_finished_is_not_deleted(world: World) -> None:
    row = world.certify()
    with pytest.raises(ConflictError, match="queued; cancel it"):
        world.certifications.delete(row.id)
    world.jobs.claim(row.id, "w")
    with pytest.raises(ConflictError, match="running"):
        world.certifications.delete(row.id)


def test_lists_are_filtered(world: World) -> None:
    first, second = world.certify().id, world.finish()
    other = world.upload(world.networks, b"other", "o.onnx", NETWORK_DETAILS)
    page = world.certifications.page
    assert [row.id for row in page(limit=10)] == [second, first]
    assert [row.id for row in page(limit=10, state="queued")] == [first]
    assert [row.id for row in page(limit=10, network_id=world.network)] == [second, first]
    assert page(limit=10, network_id=other) == []
    assert [row.id for row in page(limit=10, before=second)] == [first]


def test_a_missing_network_is_named(world: World) -> None:
    with pytest.raises(NotFoundError, match="no network"):
        world.certifications.create(request(world, network_id="net_0"))
