"""What pages of comparisons read is there, on each kind of database."""

from __future__ import annotations

import pytest

from store.compared import ComparedReads
from store.errors import NotFoundError
from store.tenancy import Tenant
from tests.helpers.service import World, comparing, item

SUMMARY = {"certified_accuracy": {"crown": 0.5}}


def test_what_pages_of_comparisons_read(world: World) -> None:
    reads = ComparedReads(world.database.of(Tenant()))
    made = world.compare([0, 1]).id
    assert world.jobs.claim(made, "somebody")
    (line,) = reads.page(limit=9, before=None)
    assert (line.names, line.before, line.after) == (["n.onnx", "m.onnx"], None, None)
    assert (line.epsilon, line.norm, line.total) == (pytest.approx(0.1), "inf", 4)
    found = {"x": [0.1] * 4, "y": [1.0, 0.0, 0.0]}
    bad = item(1, "falsified", counterexample=found)
    world.comparisons.add_items(comparing(made, "somebody", 1), [item(0), bad])
    (items,) = reads.items(made).values()
    assert [one["index"] for one in items] == [0, 1]
    assert not any(one.get("counterexample") for one in items)
    answer = reads.answer(made, 1, networks=2)
    assert answer.items[0] is None
    assert (answer.items[1] or {})["counterexample"] == found
    assert (answer.earlier, answer.later) == (0, None)
    with pytest.raises(NotFoundError):
        reads.answer(made, 7, networks=2)
    result = {"baseline": {"summary": SUMMARY}, "candidates": [{"summary": SUMMARY}]}
    world.comparisons.succeed(made, "somebody", result)
    (line,) = reads.page(limit=9, before=None)
    assert (line.before, line.after) == (SUMMARY, SUMMARY)
    assert reads.page(limit=9, before=made) == []


def test_another_project_reads_nothing(world: World) -> None:
    made = world.compare([0]).id
    assert world.jobs.claim(made, "somebody")
    world.comparisons.add_items(comparing(made, "somebody", 0), [item(0)])
    foreign = ComparedReads(world.database.of(Tenant("elsewhere")))
    assert foreign.page(limit=9, before=None) == []
    assert foreign.items(made) == {}
    with pytest.raises(NotFoundError):
        foreign.answer(made, 0, networks=2)
