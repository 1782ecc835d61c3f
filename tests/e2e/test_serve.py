"""`tightrope serve`, as a process: started, used, stopped, killed, started again."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Visitor
from tests.helpers.processes import alive, children, environment, running
from tests.helpers.service import World, service_settings, wait_until

TIGHTROPE = (sys.executable, "-m", "cli.main", "serve")
# The same service with a worker that takes as long as it is told.
SLOW = (sys.executable, "-m", "tests.helpers.slow_service")


@contextmanager
def serving(
    folder: Path, *, command: tuple[str, ...] = TIGHTROPE, env: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], Visitor]]:
    """Serve from a folder on a free port, and wait until it answers."""
    log = folder.with_suffix(".log")
    log.unlink(missing_ok=True)
    arguments = ("--port", "0", "--data-dir", str(folder))
    given = {**environment(service_settings(folder)), **(env or {})}
    with running((*command, *arguments), log=log, env=given) as process:
        wait_until(lambda: "Tightrope serves" in log.read_text() or process.poll() is not None)
        found = re.search(r"Tightrope serves (http://\S+)", log.read_text())
        assert found, log.read_text()
        visitor = Visitor(found[1])
        wait_until(lambda: answers(visitor))
        try:
            yield process, visitor
        finally:
            visitor.close()


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
        assert stop(process, signal.SIGINT) == 130
    with serving(tmp_path / "data") as (process, visitor):
        assert visitor.verdicts(asked["id"]) == ["verified", "falsified", "misclassified"]
        assert stop(process, signal.SIGTERM) == 0


def test_bad_files_are_refused_by_name(tmp_path: Path, network: Path) -> None:
    with serving(tmp_path / "data") as (_, visitor):
        cut = network.read_bytes()[:100]
        for content in (cut, b"no network"):
            response = visitor.http.post("/v1/networks", files={"file": ("bad.onnx", content)})
            assert response.status_code == 422
            assert response.headers["content-type"] == "application/problem+json"
        assert visitor.http.get("/v1/networks").json()["items"] == []
        assert list((tmp_path / "data" / "blobs" / "incoming").iterdir()) == []


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_running_jobs_go_on_after_a_restart(tmp_path: Path, end: signal.Signals) -> None:
    folder = tmp_path / "data"
    world = World(service_settings(folder))
    row = world.certify(range(8), timeout_seconds=0.1)
    with serving(folder, command=SLOW) as (process, _):
        wait_until(lambda: world.jobs.get(row.id).done >= 2)
        workers = children(process.pid)
        process.send_signal(end)
        process.wait(60)
        wait_until(lambda: not any(alive(worker) for worker in workers))
    kept = world.jobs.get(row.id).done
    assert 2 <= kept < 8
    with serving(folder, command=SLOW) as (_, visitor):
        assert visitor.finished(row.id)["state"] == "succeeded"
        assert len(visitor.verdicts(row.id)) == 8
    world.close()


def test_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    world = World(service_settings(folder))
    row = world.certify(range(6), timeout_seconds=0.1)
    with serving(folder, command=SLOW) as (process, visitor):
        wait_until(lambda: world.jobs.get(row.id).done >= 1)
        worker = children(process.pid)[0]
        subprocess.run(["kill", "-9", str(worker)], check=True)
        assert visitor.finished(row.id)["state"] == "succeeded"
        assert world.jobs.get(row.id).attempts == 2
        assert worker not in children(process.pid)
        assert stop(process, signal.SIGTERM) == 0
    world.close()


def test_cancelling_over_http_stops_the_solver(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    world = World(service_settings(folder))
    row = world.certify([0], timeout_seconds=600.0)
    with serving(folder, command=SLOW) as (_, visitor):
        wait_until(lambda: visitor.view(row.id)["state"] == "running")
        asked = visitor.http.post(f"/v1/certifications/{row.id}/cancel").json()
        assert asked["cancel_requested"]
        assert visitor.finished(row.id)["state"] == "cancelled"
    world.close()


def refused(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `tightrope serve`, which has to end by itself."""
    return subprocess.run(
        [*TIGHTROPE, "--data-dir", str(folder), *arguments],
        env={**environment(service_settings(folder)), **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = refused(tmp_path / "data", "--port", port)
    assert done.returncode == 3
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "--port" in done.stderr
    assert not (tmp_path / "data").exists()


def test_an_address_that_others_can_reach(tmp_path: Path) -> None:
    done = refused(tmp_path / "data", "--host", "0.0.0.0", "--port", "0")  # noqa: S104
    assert done.returncode == 2
    assert "TIGHTROPE_ALLOW_UNAUTHENTICATED=1" in done.stderr


def test_a_setting_that_is_misspelt(tmp_path: Path) -> None:
    done = refused(tmp_path / "data", "--port", "0", TIGHTROPE_LEASE="3")
    assert done.returncode == 2
    assert "TIGHTROPE_LEASE;" in done.stderr


def test_a_folder_that_is_in_use(tmp_path: Path) -> None:
    with serving(tmp_path / "data", command=SLOW):
        done = refused(tmp_path / "data", "--port", "0")
    assert done.returncode == 3
    assert "--data-dir" in done.stderr


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    done = refused(tmp_path / "file" / "data", "--port", "0")
    assert done.returncode == 3
    assert "cannot use" in done.stderr
