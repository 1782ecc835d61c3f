"""The supervisor keeps one worker running, and takes it along when it stops."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.serve import Supervisor
from tests.helpers.processes import alive
from tests.helpers.service import World, service_settings, wait_until

# Writes its name and number, then does what the test wants.
WORKER = """
import os, signal, sys, time
with open(sys.argv[1], "a") as log:
    log.write(f"{sys.argv[sys.argv.index('--name') + 1]} {os.getpid()} "
              f"{os.environ['TIGHTROPE_DATA_DIR']} {os.environ['OMP_WAIT_POLICY']}\\n")
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(service_settings(tmp_path))
    yield made
    made.close()


def supervisor(world: World, log: Path, then: str) -> Supervisor:
    log.touch()
    command = [sys.executable, "-c", WORKER + then, str(log)]
    return Supervisor(world.settings, world.reaper, command=command)


def started(log: Path) -> list[list[str]]:
    return [line.split() for line in log.read_text().splitlines()]


@pytest.fixture(autouse=True)
def _real_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    """Workers inherit standard error, which has to be a file."""


def test_a_worker_is_started_with_its_settings_and_stopped(world: World, tmp_path: Path) -> None:
    log = tmp_path / "log"
    watched = supervisor(world, log, "time.sleep(600)")
    watched.start()
    wait_until(lambda: started(log))
    watched.stop()
    name, number, folder, policy = started(log)[0]
    assert name.startswith("wkr_")
    assert folder == str(world.settings.data_dir)
    assert policy.upper() == "PASSIVE"
    assert not alive(int(number))
    assert len(started(log)) == 1


def test_a_worker_that_ends_is_replaced_and_its_job_freed(world: World, tmp_path: Path) -> None:
    log = tmp_path / "log"
    job_id = world.certify().id
    watched = supervisor(world, log, "time.sleep(0.5); sys.exit(1)")
    watched.start()
    wait_until(lambda: started(log))
    assert world.jobs.claim(job_id, started(log)[0][0])
    wait_until(lambda: len(started(log)) >= 2)
    watched.stop()
    names = [entry[0] for entry in started(log)]
    assert len(set(names)) == len(names)
    job = world.jobs.get(job_id)
    assert (job.state, job.owner, job.attempts) == ("queued", None, 1)


def test_a_worker_that_does_not_stop_is_killed(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.serve._WORKER_GRACE_SECONDS", 0.3)
    log = tmp_path / "log"
    deaf = (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "open(sys.argv[1] + '.deaf', 'w')\n"
        "time.sleep(600)\n"
    )
    watched = supervisor(world, log, deaf)
    watched.start()
    wait_until(lambda: Path(f"{log}.deaf").exists())
    watched.stop()
    assert not alive(int(started(log)[0][1]))
