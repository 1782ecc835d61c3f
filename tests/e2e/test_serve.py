"""`tightrope serve`, as a process: started, used, stopped, killed, started again."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from cli.serve import owned, serve
from store.settings import get_settings
from tests.e2e.conftest import Visitor
from tests.helpers.processes import alive, children, environment, running
from tests.helpers.service import World, service_settings, wait_until

TIGHTROPE = (sys.executable, "-m", "cli.main", "serve")
# The same service with a worker that takes as long as it is told.
SLOW = (sys.executable, "-m", "tests.helpers.slow_service")


@contextmanager
def serving(
    folder: Path, *, command: tuple[str, ...] = TIGHTROPE
) -> Iterator[tuple[subprocess.Popen[bytes], Visitor]]:
    """Serve from a folder on a free port, and wait until it answers."""
    log = folder.with_suffix(".log")
    log.unlink(missing_ok=True)
    arguments = ("--port", "0", "--data-dir", str(folder))
    env = environment(service_settings(folder))
    with running((*command, *arguments), log=log, env=env) as process:
        wait_until(lambda: "Tightrope serves" in log.read_text() or process.poll() is not None)
        found = re.search(r"Tightrope serves (http://\S+)", log.read_text())
        assert found, log.read_text()
        visitor = Visitor(found[1])
        wait_until(lambda: answers(visitor))
        try:
            yield process, visitor
        finally:
            visitor.close()


def worker_of(process: subprocess.Popen[bytes]) -> int:
    """Return the worker among the processes that a service has started."""
    found = [
        child
        for child in children(process.pid)
        if b"tests.helpers.engines" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]
    assert len(found) == 1
    return found[0]


def answers(visitor: Visitor) -> bool:
    try:
        return visitor.http.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def stop(process: subprocess.Popen[bytes], number: signal.Signals) -> int:
    """Send a signal; check that nothing is left behind, and return the exit status."""
    workers = children(process.pid)
    assert workers
    process.send_signal(number)
    status = process.wait(60)
    assert [worker for worker in workers if alive(worker)] == []
    return status


def test_one_command_certifies_a_network(tmp_path: Path, network: Path, data: Path) -> None:
    with serving(tmp_path / "data") as (process, visitor):
        asked = visitor.certify(network, data)
        view = visitor.finished(asked["id"])
        assert view["state"] == "succeeded", view
        assert view["summary"]["count"] == 3
        assert view["summary"]["certified_accuracy"]["exact"] == pytest.approx(1 / 3)
        assert visitor.verdicts(asked["id"]) == ["verified", "falsified", "misclassified"]
        report = visitor.http.get(f"/v1/certifications/{asked['id']}/report.html")
        assert "two.onnx" in report.text
        again = visitor.certify(network, data)
        assert (again["state"], again["cached"]) == ("succeeded", True)
        for content in (network.read_bytes()[:100], b"no network"):
            response = visitor.http.post("/v1/networks", files={"file": ("bad.onnx", content)})
            assert response.status_code == 422
            assert response.headers["content-type"] == "application/problem+json"
        assert len(visitor.http.get("/v1/networks").json()["items"]) == 1
        assert list((tmp_path / "data" / "blobs" / "incoming").iterdir()) == []
        assert stop(process, signal.SIGINT) == 130


def test_a_job_survives_the_death_of_everything_around_it(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    world = World(service_settings(folder))
    row = world.certify(range(12), timeout_seconds=0.1)

    def answered() -> int:
        return world.jobs.get(row.id).done

    with serving(folder, command=SLOW) as (process, _):
        wait_until(lambda: answered() >= 1)
        worker = worker_of(process)
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: answered() >= 3)
        assert worker_of(process) != worker
        replaced = children(process.pid)
        process.kill()
        process.wait()
        wait_until(lambda: not any(alive(worker) for worker in replaced))
    kept = answered()
    assert 3 <= kept < 12
    with serving(folder, command=SLOW) as (process, visitor):
        wait_until(lambda: answered() > kept)
        if visitor.view(row.id)["state"] == "running":
            assert stop(process, signal.SIGTERM) == 0
    with serving(folder, command=SLOW) as (process, visitor):
        assert visitor.finished(row.id)["state"] == "succeeded"
        assert len(visitor.verdicts(row.id)) == 12
        endless = world.certify([0], timeout_seconds=600.0)
        wait_until(lambda: visitor.view(endless.id)["state"] == "running")
        asked = visitor.http.post(f"/v1/certifications/{endless.id}/cancel").json()
        assert asked["cancel_requested"]
        assert visitor.finished(endless.id)["state"] == "cancelled"
        assert stop(process, signal.SIGINT) == 130
    world.close()


@pytest.fixture
def refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str]]]:
    """Start a service that cannot start, and return its exit status and what it says."""
    monkeypatch.setattr("cli.serve.configure", lambda *_: None)
    monkeypatch.setattr("cli.serve._run", lambda *_: pytest.fail("the service started"))

    def start(folder: Path, host: str = "127.0.0.1", port: int = 0) -> tuple[int, str]:
        get_settings.cache_clear()
        status = serve(host, port, folder)
        return status, capsys.readouterr().err

    yield start
    get_settings.cache_clear()


Refused = Callable[..., tuple[int, str]]


def test_a_port_that_is_taken(tmp_path: Path, refused: Refused) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, words = refused(tmp_path / "data", port=port)
    assert status == 3
    assert f"cannot listen on 127.0.0.1:{port}" in words
    assert "--port" in words
    assert not (tmp_path / "data").exists()


def test_an_address_that_others_can_reach(tmp_path: Path, refused: Refused) -> None:
    status, words = refused(tmp_path / "data", "0.0.0.0")  # noqa: S104
    assert status == 2
    assert "TIGHTROPE_ALLOW_UNAUTHENTICATED=1" in words


def test_an_address_of_another_machine(
    tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIGHTROPE_ALLOW_UNAUTHENTICATED", "1")
    status, words = refused(tmp_path / "data", "192.0.2.1")
    assert status == 3
    assert "cannot listen on 192.0.2.1:0" in words


def test_a_setting_that_is_misspelt(
    tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIGHTROPE_LEASE", "3")
    status, words = refused(tmp_path / "data")
    assert status == 2
    assert "TIGHTROPE_LEASE;" in words


def test_a_folder_that_is_in_use(tmp_path: Path, refused: Refused) -> None:
    with owned(tmp_path / "data"):
        status, words = refused(tmp_path / "data")
    assert status == 3
    assert "--data-dir" in words


def test_a_folder_that_cannot_be_made(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "file").write_bytes(b"")
    status, words = refused(tmp_path / "file" / "data")
    assert status == 3
    assert "cannot use" in words
