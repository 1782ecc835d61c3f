"""Real Celery workers, as processes: killed, stopped, cancelled, left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers.processes import SLOW_WORKER, alive, environment, running
from tests.helpers.service import World, service_settings, wait_until
from worker.app import JobQueue, create_celery
from worker.health import main as health


@contextmanager
def working(world: World, name: str, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    command = (*SLOW_WORKER, "--name", name, *more)
    log = world.settings.data_dir / f"{name}.log"
    with running(command, log=log, env=environment(world.settings)) as process:
        yield process


def announce(world: World, job_id: str) -> None:
    queue = JobQueue(create_celery(world.settings))
    assert queue.send(job_id, "bounds")
    queue.close()


def done(world: World, job_id: str) -> int:
    return world.jobs.get(job_id).done


def state(world: World, job_id: str) -> str:
    return world.jobs.get(job_id).state


def test_a_killed_worker_loses_nothing(world: World) -> None:
    row = world.certify(range(6), timeout_seconds=0.15)
    announce(world, row.id)
    with working(world, "first") as first:
        wait_until(lambda: done(world, row.id) >= 2)
        first.kill()
        first.wait()
    kept = done(world, row.id)
    assert 2 <= kept < 6
    assert state(world, row.id) == "running"
    with working(world, "second") as second:
        wait_until(lambda: state(world, row.id) == "succeeded")
        second.terminate()
        assert second.wait(30) == 0
    assert len(world.certifications.items(row.id)) == 6
    log = (world.settings.data_dir / "second.log").read_text()
    # What had no answer is tried one by one: the worker may have died of one of them.
    assert log.count(f"[{row.id}] chunk ") == 6 - kept


def test_a_cancelled_job_stops_in_the_middle_of_an_input(world: World) -> None:
    endless = world.certify([0, 1], timeout_seconds=600.0)
    after = world.certify([0], timeout_seconds=0.01)
    announce(world, endless.id)
    announce(world, after.id)
    with working(world, "w"):
        wait_until(lambda: state(world, endless.id) == "running")
        world.jobs.request_cancel(endless.id)
        wait_until(lambda: state(world, endless.id) == "cancelled")
        wait_until(lambda: state(world, after.id) == "succeeded")
    assert done(world, endless.id) == 0


def test_a_stopped_worker_hands_its_job_back(world: World) -> None:
    row = world.certify([0, 1], timeout_seconds=600.0)
    with working(world, "w") as process:
        # Nobody told the queue: the worker finds the job by itself.
        wait_until(lambda: state(world, row.id) == "running")
        process.terminate()
        assert process.wait(30) == 0
    job = world.jobs.get(row.id)
    assert (job.state, job.owner, job.attempts) == ("queued", None, 0)


def test_a_worker_does_not_outlive_its_parent(world: World, tmp_path: Path) -> None:
    script = (
        "import os, subprocess, time\n"
        f"command = [*{SLOW_WORKER!r}, '--name', 'w', '--parent', str(os.getpid())]\n"
        "print(subprocess.Popen(command).pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    row = world.certify([0], timeout_seconds=600.0)
    log = tmp_path / "parent.log"
    with running(
        [sys.executable, "-c", script], log=log, env=environment(world.settings)
    ) as parent:
        wait_until(lambda: state(world, row.id) == "running")
        worker = int(log.read_text().split()[0])
        parent.kill()
        parent.wait()
        wait_until(lambda: not alive(worker))
    assert state(world, row.id) == "queued"


def test_bad_settings_end_a_worker_with_a_message(tmp_path: Path) -> None:
    env = {**environment(service_settings(tmp_path)), "TIGHTROPE_LEASE_SECOND": "1"}
    ended = subprocess.run(
        [sys.executable, "-m", "worker"], env=env, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert "TIGHTROPE_LEASE_SECOND;" in ended.stderr


def test_the_health_check_asks_database_and_broker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = World(service_settings(tmp_path))
    monkeypatch.setattr("worker.health.get_settings", lambda: good.settings)
    assert health() == 0
    away = service_settings(tmp_path, broker_url="redis://127.0.0.1:9/0")
    monkeypatch.setattr("worker.health.get_settings", lambda: away)
    assert health() == 1
    good.close()


def test_signals_reach_only_what_they_are_for(world: World) -> None:
    """Ctrl-C in a terminal goes to a whole group; a worker stops politely on it too."""
    row = world.certify([0], timeout_seconds=600.0)
    with working(world, "w") as process:
        wait_until(lambda: state(world, row.id) == "running")
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(30) in (0, 1)  # Celery decides; a second SIGINT would have killed it
    assert state(world, row.id) == "queued"
