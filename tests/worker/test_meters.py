"""What workers count: by verdict, method and outcome; added up over all processes; nothing lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from store.counters import Counters
from store.figures import BOUNDS, timed
from store.workers import Workers
from tests.helpers.engines import ScriptedEngine, certifying
from tests.helpers.service import World, service_settings
from worker.logs import current_request, job_logged
from worker.meters import Meters
from worker.observing import observed
from worker.reporter import Reporter
from worker.tracing import NO_TRACING
from worker.work import CertificationWork


@given(seconds=st.floats(0, 1e5))
def test_buckets_are_cumulative(seconds: float) -> None:
    found = dict(timed("tightrope_method_duration_seconds", seconds, method="crown"))
    for bound in BOUNDS:
        name = f'tightrope_method_duration_seconds_bucket{{method="crown",le="{bound:g}"}}'
        assert (name in found) == (seconds <= bound)
    assert found['tightrope_method_duration_seconds_bucket{method="crown",le="+Inf"}'] == 1
    assert found['tightrope_method_duration_seconds_sum{method="crown"}'] == seconds


def test_names_that_nobody_declared_are_refused() -> None:
    with pytest.raises(KeyError):
        Meters().count("tightrope_misspelt_total")


def work(indices: tuple[int, ...]) -> CertificationWork:
    return CertificationWork(Path("x"), "n", Path("y"), "d", {}, indices, "cpu")


def test_answers_are_counted_with_the_methods_that_led_to_them(world: World) -> None:
    meters = Meters()
    changes = {"status": {"crown": "done", "exact": "timeout"}, "seconds": {"crown": 0.03}}
    engines = observed(
        certifying(ScriptedEngine(changes=changes)), meters, NO_TRACING, lambda _job: {}
    )
    assert len(list(engines.certify(work((0, 1)), lambda: False))) == 2
    assert engines.measure(work((0,)), lambda: False)
    counters = Counters(world.database)
    meters.flush(counters)
    meters.flush(counters)  # nothing is added twice
    found = counters.read()
    assert found['tightrope_verdicts_total{verdict="verified"}'] == 2
    assert found['tightrope_solver_fallbacks_total{method="exact",status="timeout"}'] == 2
    name = "tightrope_method_duration_seconds"
    assert found[f'{name}_count{{method="crown"}}'] == 2
    assert f'{name}_bucket{{method="crown",le="0.02"}}' not in found
    assert found[f'{name}_bucket{{method="crown",le="0.05"}}'] == 2
    assert found['tightrope_chunk_duration_seconds_count{work="certify"}'] == 1
    assert found['tightrope_chunk_duration_seconds_count{work="measure"}'] == 1


def test_work_that_fails_is_counted_and_logged_under_its_request(world: World) -> None:
    seen: list[str | None] = []

    def fail(index: int) -> None:
        seen.append(current_request())
        raise MemoryError

    meters = Meters()
    contexts: Mapping[str, Mapping[str, Any]] = {"job_1": {"request_id": "req_1"}}
    engines = observed(
        certifying(ScriptedEngine(before=fail)), meters, NO_TRACING, lambda job: contexts[job]
    )
    with job_logged("job_1"), pytest.raises(MemoryError):
        list(engines.certify(work((0,)), lambda: False))
    assert seen == ["req_1"]
    assert current_request() is None
    counters = Counters(world.database)
    meters.flush(counters)
    series = 'tightrope_engine_failures_total{work="certify",error="MemoryError"}'
    assert counters.read()[series] == 1


def test_what_could_not_be_added_is_added_later(world: World) -> None:
    class Away(Counters):
        def add(self, increments: Mapping[str, float]) -> None:
            raise OperationalError("", None, Exception(f"away: {len(increments)} are left"))

    meters = Meters()
    meters.count("tightrope_verdicts_total", verdict="verified")
    with pytest.raises(OperationalError):
        meters.flush(Away(world.database))
    meters.count("tightrope_verdicts_total", verdict="verified")
    counters = Counters(world.database)
    meters.flush(counters)
    assert counters.read() == {'tightrope_verdicts_total{verdict="verified"}': 2}


@pytest.fixture
def reporter(world: World) -> Iterator[Callable[[], Reporter]]:
    yield lambda: Reporter(service_settings(world.settings.data_dir), name="w")


def test_a_worker_is_alive_while_it_reports(world: World, reporter: Callable[[], Reporter]) -> None:
    workers = Workers(world.database)
    assert workers.alive(seconds=60) == {}
    with reporter() as running:
        running.report()
        assert workers.alive(seconds=60) == {"bounds": 1, "exact": 1}
        assert workers.alive(seconds=0) == {}
    assert workers.alive(seconds=60) == {}


def test_reports_go_on_when_the_database_does_not(
    world: World, reporter: Callable[[], Reporter], caplog: pytest.LogCaptureFixture
) -> None:
    with world.database.write() as session:
        session.connection().exec_driver_sql("ALTER TABLE workers RENAME TO others")
    with reporter():
        pass
    assert "the database does not answer" in caplog.text


def test_a_job_done_is_counted_once_whoever_counts(world: World) -> None:
    counters = [Counters(world.database, settled=timedelta(0)) for _ in range(2)]
    world.finish([0])
    row = world.certify([0], reuse=True)
    assert world.jobs.get(row.id).cached
    assert sum(one.count_jobs() for one in counters) == 5
    assert sum(one.count_jobs() for one in counters) == 0
    found = counters[0].read()
    assert found['tightrope_jobs_submitted_total{kind="certification"}'] == 2
    assert found['tightrope_jobs_finished_total{kind="certification",state="succeeded"}'] == 2
    assert found['tightrope_cache_hits_total{kind="certification"}'] == 1
    assert found['tightrope_job_wait_seconds_count{kind="certification"}'] == 1
    assert found['tightrope_job_duration_seconds_count{kind="certification"}'] == 1


def test_events_too_young_to_be_complete_wait(world: World) -> None:
    world.finish([0])
    assert Counters(world.database).count_jobs() == 0
