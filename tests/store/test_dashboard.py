"""What pages read is there, on each kind of database."""

from __future__ import annotations

import pytest

from store.certifications import Certifications
from store.dashboard import Dashboard
from store.errors import NotFoundError
from store.tenancy import Tenant
from store.workers import Workers
from tests.helpers.service import SUMMARY, World, item


def dashboard(world: World, project_id: str = "default") -> Dashboard:
    return Dashboard(world.database.of(Tenant(project_id)), alive_seconds=60)


def test_an_overview(world: World) -> None:
    done, waiting = world.finish(), world.certify().id
    comparison, training = world.compare().id, world.train(name="narrow").id
    Workers(world.database).seen("w", queues="bounds", device="cpu", version="1")
    found = dashboard(world).overview(limit=9)
    assert [line.job.id for line in found.recent] == [done]
    titles = {line.job.id: (line.title, line.epsilon) for line in found.live}
    assert titles == {
        waiting: ("n.onnx", 0.1),
        comparison: ("m.onnx against n.onnx", 0.1),
        training: ("narrow", 0.05),
    }
    assert found.workers == 1
    (queue,) = found.queues
    assert (queue.name, queue.workers, queue.running, queue.queued) == ("bounds", 1, 0, 3)
    (line,) = found.networks
    assert (line.network.id, line.history[0].id) == (world.network, done)
    assert line.history[0].summary == SUMMARY


def test_what_waits_in_each_queue(world: World) -> None:
    asked = world.certify([0, 1, 2]).id
    world.compare([0, 1])
    world.train()
    assert world.jobs.claim(asked, "somebody")
    Certifications(world.database).add_item(asked, "somebody", item(1))
    for name, queues in (("a", "exact"), ("b", "bounds,exact"), ("c", "idle")):
        Workers(world.database).seen(name, queues=queues, device="cpu", version="1")
    found = dashboard(world).overview(limit=9)
    told = {one.name: (one.workers, one.running, one.queued, one.inputs) for one in found.queues}
    # Two of the certification, and two for each network of the comparison.
    assert told == {"bounds": (1, 1, 2, 6), "exact": (2, 0, 0, 0), "idle": (1, 0, 0, 0)}
    assert found.workers == 3


def test_another_project_sees_none_of_it(world: World) -> None:
    done = world.finish()
    foreign = dashboard(world, "elsewhere")
    found = foreign.overview(limit=9)
    assert (found.live, found.recent, found.queues, found.networks) == ([], [], [], [])
    assert foreign.networks(limit=9, before=None) == []
    assert foreign.certifications(limit=9, before=None) == []
    assert foreign.items(done) == []
    with pytest.raises(NotFoundError):
        foreign.network(world.network, limit=9)
    with pytest.raises(NotFoundError):
        foreign.answer(done, 0)


def test_the_history_is_short_and_newest_first(world: World) -> None:
    ids = [world.finish([0], epsilon=0.01 * number) for number in range(1, 15)]
    (line,) = dashboard(world).networks(limit=9, before=None)
    assert [row.id for row in line.history] == ids[::-1][:12]
    network, history = dashboard(world).network(world.network, limit=99)
    assert network.id == world.network
    assert [row.id for row in history] == ids[::-1]
    assert history[0].epsilon == pytest.approx(0.14)
    older = dashboard(world).certifications(limit=99, before=ids[3])
    assert [(row.id, name) for row, name in older] == [(one, "n.onnx") for one in ids[2::-1]]


def test_items_come_without_their_counterexamples(world: World) -> None:
    row = world.certify([0, 1])
    assert world.jobs.claim(row.id, "somebody")
    found = {"x": [0.1] * 4, "y": [1.0, 0.0, 0.0]}
    answers = [item(0), item(1, "falsified", input=[0.0] * 4, counterexample=found)]
    for one in answers:
        Certifications(world.database).add_item(row.id, "somebody", one)
    kept = dashboard(world).items(row.id)
    assert [one["index"] for one in kept] == [0, 1]
    assert [one["verdict"] for one in kept] == ["verified", "falsified"]
    assert kept[0]["lower"] == {"crown": 0.5}
    assert not any(one.get("counterexample") for one in kept)
    assert dashboard(world).items(row.id, [1, 7, 0]) == kept[::-1]
    answer = dashboard(world).answer(row.id, 1)
    assert answer.item["counterexample"] == found
    assert (answer.input, answer.proof_bytes) == ([0.0] * 4, None)
    assert (answer.before, answer.after) == (0, None)
