"""A service of its own for a benchmark: as `tightrope serve` starts it, with more workers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.shared import shared_folder

__all__ = ["Service", "mnist", "processor_seconds", "rounds_of", "serving"]

_ROOT = Path(__file__).resolve().parents[2]
_TICKS = os.sysconf("SC_CLK_TCK")
_START_SECONDS = 120.0


@dataclass(frozen=True)
class Service:
    """A service that runs.

    Attributes:
        http: A client of it.
        processes: Its processes, each with children.
        data_dir: Its data folder.
    """

    http: httpx.Client
    processes: tuple[subprocess.Popen[bytes], ...]
    data_dir: Path

    def upload(self, kind: str, path: Path) -> str:
        """Upload a file and return its id."""
        answer = self.http.post(f"/v1/{kind}", files={"file": (path.name, path.read_bytes())})
        answer.raise_for_status()
        identifier: str = answer.json()["id"]
        return identifier

    def certify(self, **body: object) -> dict[str, Any]:
        """Ask for a certification and return it."""
        answer = self.http.post("/v1/certifications", json=body)
        answer.raise_for_status()
        made: dict[str, Any] = answer.json()
        return made

    def finish(self, identifier: str) -> dict[str, Any]:
        """Wait until a certification is final and return it."""
        while True:
            answer = self.http.get(f"/v1/certifications/{identifier}", params={"wait": 60})
            view: dict[str, Any] = answer.raise_for_status().json()
            if view["state"] in ("succeeded", "failed", "cancelled"):
                return view

    def seconds(self, **body: object) -> float:
        """Return how long a certification takes, from the request to the last answer."""
        began = time.perf_counter()
        view = self.finish(self.certify(**body)["id"])
        seconds = time.perf_counter() - began
        if view["state"] != "succeeded":
            raise SystemExit(f"the certification {view['state']}: {view['error']}")
        return seconds

    def check(self) -> None:
        """End the benchmark where a process of the service has ended: its figures mean nothing."""
        for process in self.processes:
            if process.poll() is not None:
                raise SystemExit(f"a process of the service ended with {process.returncode}")

    def processor_seconds(self) -> float:
        """Return the processor time that its processes have taken."""
        return sum(processor_seconds(process.pid) for process in self.processes)


@contextmanager
def serving(*, workers: int = 1, **settings: object) -> Iterator[Service]:
    """Serve from a folder of its own.

    Args:
        workers: In all; the first is the one that `serve` starts.
        settings: In place of the environment's.
    """
    named = {f"TIGHTROPE_{name.upper()}": str(value) for name, value in settings.items()}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        environment = {**os.environ, **named, "TIGHTROPE_LOG_LEVEL": "WARNING"}
        port = _free_port()
        script = "import sys; from cli.main import main; sys.exit(main())"
        serve = [sys.executable, "-c", script, "serve", f"--port={port}", f"--data-dir={folder}"]
        processes = [stack.enter_context(_running(serve, environment))]
        http = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120))
        _wait_for(http)
        for number in range(1, workers):
            work = [sys.executable, "-m", "worker", "--name", f"more-{number}"]
            mine = {**environment, "TIGHTROPE_DATA_DIR": str(folder)}
            processes.append(stack.enter_context(_running(work, mine)))
        service = Service(http, tuple(processes), folder)
        yield service
        service.check()


def rounds_of(number: int, *, longest_seconds: float) -> Iterator[int]:
    """Yield the numbers of rounds; none begins that would not end in time, but the first always."""
    began = time.monotonic()
    for done in range(number):
        spent = time.monotonic() - began
        if done and spent * (done + 1) / done > longest_seconds:
            return
        yield done


def mnist(folder: Path, count: int) -> tuple[Path, Path]:
    """Return a network, and a data set of the first MNIST test images written for it."""
    shared = shared_folder()
    data = np.load(shared / "data" / "mnist.npz")
    path = folder / f"mnist-{count}.npz"
    np.savez(path, x=data["x_test"][:count], y=data["y_test"][:count])
    return shared / "benchmarks" / "mnist_fc" / "onnx" / "mnist-net_256x2.onnx", path


def processor_seconds(pid: int) -> float:
    """Return the processor time of a process, its living children and its dead ones."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return 0.0
    own = sum(int(ticks) for ticks in fields[11:15]) / _TICKS
    return own + sum(processor_seconds(int(child)) for text in lists for child in text.split())


@contextmanager
def _running(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, cwd=_ROOT, env=environment, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(http: httpx.Client) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        try:
            if http.get("/readyz").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise SystemExit("the service did not start in time")
