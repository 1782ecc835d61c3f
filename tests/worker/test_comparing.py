"""A comparison is computed once, network by network, whatever happens to its worker."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import DataError
from solvers.errors import MemoryLimitError
from store.comparisons import Comparisons
from store.job_tables import JobRow
from store.tables import ComparisonRow
from tests.helpers.engines import LAYERS, ScriptedEngine, certifying
from tests.helpers.service import SETTINGS, World, comparing, item
from tests.helpers.small_files import write_data, write_two_class
from worker.certification import measure
from worker.runner import Runner
from worker.work import CertificationWork, Engines


@pytest.fixture
def stopping() -> threading.Event:
    return threading.Event()


@pytest.fixture
def run(world: World, stopping: threading.Event) -> Callable[[str, Engines], JobRow]:
    def run_job(job_id: str, engines: Engines) -> JobRow:
        Runner(world.settings, engines, owner="w", stopping=stopping).run()
        return world.jobs.get(job_id)

    return run_job


Run = Callable[[str, Engines], JobRow]


def comparison(world: World, row: ComparisonRow) -> ComparisonRow:
    return Comparisons(world.database).get(row.id)


def test_every_network_is_answered_and_measured(world: World, run: Run) -> None:
    row = world.compare([0, 2])
    engine = ScriptedEngine()
    job = run(row.id, certifying(engine))
    assert (job.state, job.done, job.error) == ("succeeded", 4, None)
    assert engine.asked == [[0, 2], [0, 2]]
    result = comparison(world, row).result
    assert result is not None
    assert result["baseline"]["summary"]["certified_accuracy"] == {"crown": 1.0}
    assert result["baseline"]["tightness"] == {"unstable": 2.5, "slack": 0.25, "layers": LAYERS}
    (candidate,) = result["candidates"]
    assert (candidate["name"], candidate["gained"], candidate["lost"]) == ("m.onnx", [], [])
    assert candidate["network_id"] == row.networks[1].network_id
    assert candidate["difference"]["crown"]["p_value"] == 1.0


def test_only_what_is_missing_is_computed(world: World, run: Run) -> None:
    row = world.compare([0, 1, 2])
    comparisons = Comparisons(world.database)
    assert world.jobs.claim(row.id, "dead")
    comparisons.add_item(row.id, "dead", position=0, item=item(1))
    comparisons.set_layers(comparing(row.id, "dead", 0), [])
    comparisons.add_item(row.id, "dead", position=1, item=item(0, "unknown"))
    world.jobs.expire(max_attempts=3, owner="dead")
    engine = ScriptedEngine()
    assert run(row.id, certifying(engine)).state == "succeeded"
    assert engine.asked == [[0, 2], [1, 2]]
    result = comparison(world, row).result
    assert result is not None
    assert result["baseline"]["tightness"]["layers"] == []
    assert result["candidates"][0]["lost"] == [0]


def test_answers_of_certifications_are_taken_over(world: World, run: Run) -> None:
    world.finish([0, 1])
    row = world.compare([0, 1], reuse=True)
    assert row.job.done == 2
    engine = ScriptedEngine()
    assert run(row.id, certifying(engine)).done == 4
    assert engine.asked == [[0, 1]]  # of the candidate alone


def test_a_network_that_is_too_large_to_measure(world: World, run: Run) -> None:
    row = world.compare([0])
    engines = replace(certifying(ScriptedEngine()), measure=lambda _work, _cancelled: None)
    assert run(row.id, engines).state == "succeeded"
    result = comparison(world, row).result
    assert result is not None
    assert result["baseline"]["tightness"] is None


def test_a_stopping_worker_goes_on_later(world: World, run: Run, stopping: threading.Event) -> None:
    row = world.compare([0, 1, 2])
    engine = ScriptedEngine(lambda index: index == 1 and stopping.set())
    assert (run(row.id, certifying(engine)).state, engine.asked) == ("queued", [[0, 1, 2]])
    stopping.clear()
    again = ScriptedEngine()
    assert run(row.id, certifying(again)).state == "succeeded"
    assert again.asked == [[1, 2], [0, 1, 2]]


def test_layers_that_were_cut_short_are_not_kept(
    world: World, run: Run, stopping: threading.Event
) -> None:
    def cut_short(
        _work: CertificationWork, _cancelled: Callable[[], bool]
    ) -> Sequence[Mapping[str, Any]]:
        stopping.set()
        return LAYERS[:1]

    row = world.compare([0])
    engines = replace(certifying(ScriptedEngine()), measure=cut_short)
    assert run(row.id, engines).state == "queued"
    assert [entry.tightness for entry in comparison(world, row).networks] == [None, None]


def test_a_cancelled_comparison_keeps_what_it_has(world: World, run: Run) -> None:
    row = world.compare([0, 1, 2])

    def cancel(index: int) -> None:
        if index == 2:
            world.jobs.request_cancel(row.id)
            while world.jobs.check(row.id, "w").value == "held":
                pass
            threading.Event().wait(0.3)  # the lease asks the database now and then

    job = run(row.id, certifying(ScriptedEngine(cancel)))
    assert (job.state, job.done) == ("cancelled", 2)


def test_a_bad_input_fails_the_job_with_its_reason(world: World, run: Run) -> None:
    def refuse(_index: int) -> None:
        raise DataError("the data set is odd")

    job = run(world.compare().id, certifying(ScriptedEngine(refuse)))
    assert job.state == "failed"
    assert job.error == {"type": "DataError", "message": "the data set is odd"}


def test_the_engine_measures_real_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_data(tmp_path / "d.npz", np.array([[0.8, 0.2], [0.5, 0.45]], np.float32), [0, 0])
    work = CertificationWork(
        network=write_two_class(tmp_path / "two.onnx"),
        network_name="two",
        dataset=data,
        dataset_name="d",
        settings=SETTINGS,
        indices=[0, 1],
        device="cpu",
    )
    layers = measure(work, lambda: False)
    assert layers is not None
    assert layers[0]["neurons"] == 3

    def refuse(*_arguments: object, **_options: object) -> None:
        raise MemoryLimitError("too large")

    monkeypatch.setattr("solvers.comparison.compare.layer_tightness", refuse)
    assert measure(work, lambda: False) is None
