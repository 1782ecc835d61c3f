"""Answers are found again input by input, where they answer what is asked now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from store.events import Events
from store.known import question_of
from store.narrowing import narrowed
from tests.helpers.service import SETTINGS, World, item

FULL: dict[str, Any] = item(
    0,
    lower={"ibp": -1.0, "crown": 0.5, "exact": 0.75},
    gap={"ibp": 2.0, "crown": 0.5, "exact": 0.25},
    seconds={"attack": 0.1, "ibp": 0.1, "crown": 0.2, "exact": 3.0},
    exact=[0.75, 1.0],
    status={"ibp": "done", "crown": "done", "exact": "done"},
    reasons={},
)
COMPUTED = ("ibp", "crown", "exact")


def counted(items: Sequence[Mapping[str, Any]], methods: Sequence[str]) -> dict[str, Any]:
    """Stand for a summary."""
    return {"count": len(items), "methods": list(methods)}


def test_an_answer_by_more_methods_holds_that_by_fewer() -> None:
    found = narrowed(FULL, ["crown"], COMPUTED)
    assert found is not None
    assert found["verdict"] == "verified"
    assert (found["lower"], found["gap"]) == ({"crown": 0.5}, {"crown": 0.5})
    assert found["seconds"] == {"attack": 0.1, "crown": 0.2}
    assert (found["status"], found["exact"]) == ({"crown": "done"}, None)
    assert narrowed(FULL, list(COMPUTED), COMPUTED) == FULL


def test_a_verdict_that_nothing_shown_would_support_is_not_taken_over() -> None:
    assert narrowed(FULL, ["ibp"], COMPUTED) is None


def test_an_unknown_says_why_in_terms_of_what_was_asked() -> None:
    timeout = {**FULL, "verdict": "unknown", "reason": "timeout after 60 s"}
    timeout["status"] = {**FULL["status"], "exact": "timeout"}
    found = narrowed(timeout, ["ibp"], COMPUTED)
    assert found is not None
    assert found["reason"] == "not proved by the methods asked for"
    assert narrowed(timeout, ["exact"], COMPUTED) is None
    assert narrowed(timeout, list(COMPUTED), COMPUTED) == timeout


@pytest.mark.parametrize("status", ["failed", "memory", "cancelled"])
def test_what_failed_is_tried_again(status: str) -> None:
    bad = {**FULL, "verdict": "unknown", "status": {**FULL["status"], "crown": status}}
    assert narrowed(bad, list(COMPUTED), COMPUTED) is None
    assert narrowed(bad, ["crown"], COMPUTED) is None
    assert narrowed(bad, ["ibp"], COMPUTED) is not None


def test_counterexamples_and_wrong_classes_answer_any_method() -> None:
    falsified = {**FULL, "verdict": "falsified", "upper": -1.0}
    found = narrowed(falsified, ["ibp"], COMPUTED)
    assert found is not None
    assert (found["verdict"], found["upper"]) == ("falsified", -1.0)
    wrong = item(0, "misclassified", status={}, lower={})
    assert narrowed(wrong, ["ibp"], COMPUTED) == wrong


def test_more_methods_than_were_computed_are_no_answer() -> None:
    assert narrowed(FULL, ["crown", "sdp"], COMPUTED) is None


def test_a_question_leaves_out_inputs_and_methods_alone() -> None:
    def hashed(**changes: object) -> str:
        return question_of("n", "d", {**SETTINGS, **changes}, "1")

    assert hashed(indices=[1]) == hashed(indices=[2, 3]) == hashed(methods=["ibp"])
    different = [{"epsilon": 0.2}, {"seed": 1}, {"timeout_seconds": 1.0}, {"targets": [1]}]
    assert len({hashed(), *(hashed(**one) for one in different)}) == 5
    assert len({question_of(*names, SETTINGS, "1") for names in ("nd", "xd", "nx")}) == 3
    assert question_of("n", "d", SETTINGS, "2") != hashed()


def test_only_new_inputs_are_computed(world: World) -> None:
    world.finish([0, 1, 2])
    row = world.certify([1, 2, 3], reuse=True)
    assert (row.job.state, row.job.done, row.job.cached) == ("queued", 2, False)
    assert [one["index"] for one in world.certifications.items(row.id)] == [1, 2]
    claim = world.chunks.claim("w", ["bounds"])
    assert claim is not None
    assert claim.indices == (3,)
    assert world.certify([1, 3], reuse=False).job.done == 0


def test_answers_of_unfinished_jobs_count(world: World) -> None:
    world.certify([0, 1])
    claim = world.chunks.claim("w", ["bounds"])
    assert claim is not None
    world.certifications.add_items(claim, [item(1, input=[0.5, 0.25])])
    row = world.certify([0, 1], reuse=True)
    assert world.certifications.finished_indices(row.id) == {1}
    assert world.certifications.inputs(row.id) == {1: [0.5, 0.25]}


def test_fewer_inputs_and_methods_need_no_work(world: World) -> None:
    claimed = world.certify([0, 1], methods=["ibp", "crown"])
    claim = world.chunks.claim("w", ["bounds"])
    assert claim is not None
    both = {"ibp": 0.1, "crown": 0.5}
    world.certifications.add_items(claim, [item(index, lower=both) for index in (0, 1)])
    left = world.certify([1], methods=["crown"], reuse=True)
    assert (left.job.state, left.job.done, left.job.total) == ("queued", 1, 1)
    for reuse, state in ((True, "succeeded"), (False, "queued")):
        made = world.certify([1], methods=["crown"], reuse=reuse, sum_up=counted)
        found = world.certifications.get(made.id)
        assert found.job.state == made.job.state == state
        assert (found.job.cached, found.job.ready) == (reuse, not reuse)
        assert found.summary == ({"count": 1, "methods": ["crown"]} if reuse else None)
    assert world.certifications.items(left.id)[0]["lower"] == {"crown": 0.5}
    assert world.certifications.get(claimed.id).job.state == "running"


def test_a_request_with_a_single_answer_missing_is_queued(world: World) -> None:
    world.finish([0, 1])
    row = world.certify([0, 1, 2], reuse=True, sum_up=counted)
    assert (row.job.state, row.job.done, row.summary) == ("queued", 2, None)
    claim = world.chunks.claim("w", ["bounds"])
    assert claim is not None
    assert list(claim.indices) == [2]


def test_known_answers_are_told_before_the_end(world: World) -> None:
    world.finish([0, 1])
    row = world.certify([1], reuse=True, sum_up=counted)
    told = Events(world.database).of_job(row.id)
    assert [event.topic for event in told] == ["state", "items", "state"]
    assert told[-1].payload["state"] == "succeeded"


def test_copies_do_not_hide_the_answers_that_they_are_of(world: World) -> None:
    world.finish(range(5))
    for _ in range(20):
        world.certify([0], reuse=True, sum_up=counted)
    assert world.certify([0, 3], reuse=True).job.done == 2


def test_what_was_given_up_is_no_answer(world: World) -> None:
    world.certify([0])
    claim = world.chunks.claim("w", ["bounds"])
    assert claim is not None
    given_up = item(0, "unknown", status={"crown": "failed"}, lower={})
    world.certifications.add_items(claim, [given_up])
    assert world.certify([0], reuse=True).job.done == 0


def test_other_projects_answers_are_not_looked_at(world: World) -> None:
    world.finish([0])
    with world.database.write() as session:
        session.connection().exec_driver_sql("UPDATE jobs SET project_id = 'theirs'")
    assert world.certify([0], reuse=True).job.done == 0
