"""A whole deployment of processes that can be harmed one by one, and what its client sees."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from store.database import Database
from store.migrate import migrate
from tests.faults.servers import PostgresServer, Process, RedisServer
from tests.helpers.faulty_worker import FAULTY_WORKER
from tests.helpers.processes import environment, free_port
from tests.helpers.service import SETTINGS, service_settings, wait_until
from tests.helpers.small_files import write_data, write_mlp
from worker.certification import certify
from worker.work import CertificationWork

__all__ = ["COUNT", "Answers", "Site", "computed", "site"]

COUNT = 24
EPSILON = 0.08
METHODS = ["ibp", "crown"]
_PAUSE = 0.1
_PATIENCE_SECONDS = 90.0

Answers = dict[int, dict[str, Any]]


class Site:
    """PostgreSQL, Redis, the API and two workers.

    Args:
        folder: For everything.
        answers: What engines answer; None computes, in processes that take seconds to start.
    """

    def __init__(self, folder: Path, answers: Path | None = None) -> None:
        self.folder, self.answers = folder, answers
        self.files = write_files(folder)
        self.postgres, self.redis = PostgresServer(folder / "postgres"), RedisServer(folder)
        self.settings = service_settings(
            folder / "data",
            database_url=self.postgres.url,
            broker_url=self.redis.url,
            lease_seconds=3.0,
            heartbeat_seconds=0.5,
            sweep_seconds=0.5,
            resend_seconds=2.0,
            stop_seconds=3.0,
        )
        self.port = free_port()
        self.api = self._process("api", [sys.executable, "-m", "api", "--port", str(self.port)])
        self.workers: dict[str, Process] = {}
        self._started: list[Process] = []  # also those whose name another has taken over
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)
        self.network = self.dataset = ""

    def start(self) -> None:
        """Start everything, with one network and one data set."""
        self.settings.data_dir.mkdir()
        self.postgres.start()
        self.redis.start()
        database = Database(self.postgres.url)
        migrate(database)
        database.close()
        self.start_api()
        for name in ("first", "second"):
            self.start_worker(name)
        self._upload_files()

    def start_api(self) -> None:
        """Start the API and wait until it answers."""
        self.api.start()
        wait_until(lambda: self.status("/healthz") == 200)

    def start_worker(
        self, name: str, *, queue: str = "bounds", memory_bytes: int | None = None, **fault: object
    ) -> Process:
        """Start a worker for a queue, whose engine may be told to break."""
        words = [f"--{key}={value}" for key, value in fault.items()]
        words += [] if self.answers is None else [f"--answers={self.answers}"]
        env = {"TIGHTROPE_QUEUES": queue, "TIGHTROPE_DEVICE": "cpu"}
        if memory_bytes is not None:
            env["TIGHTROPE_WORKER_MEMORY_BYTES"] = str(memory_bytes)
        command = [*FAULTY_WORKER, f"--name={name}", f"--pause={_PAUSE}", *words]
        process = self._process(name, command, env)
        process.start()
        self.workers[name] = process
        self._started.append(process)
        return process

    def status(self, path: str) -> int:
        """Return the status of an answer; 0 where there is none."""
        try:
            return self.http.get(path).status_code
        except httpx.TransportError:
            return 0

    def submit(self) -> str:
        """Ask for a certification and return its id."""
        body = {
            "network_id": self.network,
            "dataset_id": self.dataset,
            "epsilon": EPSILON,
            "methods": METHODS,
            "reuse": False,
        }
        answer = self.http.post("/v1/certifications", json=body)
        assert answer.status_code == 202, answer.text
        identifier: str = answer.json()["id"]
        return identifier

    def view(self, job: str) -> Mapping[str, Any]:
        """Return a certification; empty while the service cannot answer."""
        try:
            answer = self.http.get(f"/v1/certifications/{job}")
        except httpx.TransportError:
            return {}
        view: dict[str, Any] = answer.json() if answer.status_code == 200 else {}
        return view

    def done(self, job: str) -> int:
        """Return how many inputs have an answer; -1 while the service cannot tell."""
        view = self.view(job)
        return int(view["progress"]["done"]) if view else -1

    def wait_for(self, job: str, done: int) -> None:
        """Wait until so many inputs have an answer."""
        wait_until(lambda: self.done(job) >= done, seconds=_PATIENCE_SECONDS)

    def finish(self, job: str) -> tuple[str, Answers, int]:
        """Wait for the end; return the state, the answers, and how many came twice."""
        final = ("succeeded", "failed", "cancelled")
        wait_until(lambda: self.view(job).get("state") in final, seconds=_PATIENCE_SECONDS)
        state = str(self.view(job)["state"])
        found = list(self._items(job))
        answers = {int(item["index"]): _timeless(item) for item in found}
        return state, answers, len(found) - len(answers)

    def close(self) -> None:
        """End every process."""
        self.http.close()
        for process in (*self._started, self.api):
            process.stop(signal.SIGKILL, group=True)
        self.redis.kill()
        self.postgres.kill()

    def upload(self, kind: str, content: bytes, name: str) -> httpx.Response:
        """Upload a file."""
        headers = {"content-type": "application/octet-stream"}
        path = f"/v1/{kind}"
        return self.http.post(path, params={"name": name}, content=content, headers=headers)

    def _items(self, job: str) -> Iterator[Mapping[str, Any]]:
        cursor = None
        while True:
            params = {"limit": 10, **({"cursor": cursor} if cursor else {})}
            page = self.http.get(f"/v1/certifications/{job}/items", params=params).json()
            yield from page["items"]
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    def _upload_files(self) -> None:
        network, data = self.files
        self.network = self.upload("networks", network.read_bytes(), "n.onnx").json()["id"]
        self.dataset = self.upload("datasets", data.read_bytes(), "d.npz").json()["id"]

    def _process(
        self, name: str, command: list[str], more: Mapping[str, str] | None = None
    ) -> Process:
        env = {**environment(self.settings), **(more or {}), "OMP_NUM_THREADS": "1"}
        return Process(command, self.folder / f"{name}.log", env)


def write_files(folder: Path) -> tuple[Path, Path]:
    """Write a small network, and inputs with what it answers as their labels."""
    chance = np.random.default_rng(3)
    layers = [
        (chance.normal(size=(8, 4)), chance.normal(size=8) / 4),
        (chance.normal(size=(8, 8)) / 2, chance.normal(size=8) / 4),
        (chance.normal(size=(3, 8)), np.zeros(3)),
    ]
    x = chance.uniform(size=(COUNT, 4)).astype(np.float32)
    network = write_mlp(folder / "n.onnx", layers)
    return network, write_data(folder / "d.npz", x, _classes(x, layers))


def computed(folder: Path) -> Path:
    """Write the answers to what sites ask, computed here and now."""
    network, data = write_files(folder)
    settings = {**SETTINGS, "epsilon": EPSILON, "methods": METHODS}
    work = CertificationWork(
        network=network,
        network_name="n.onnx",
        dataset=data,
        dataset_name="d.npz",
        settings=settings,
        indices=list(range(COUNT)),
        device="cpu",
    )
    path = folder / "answers.json"
    path.write_text(json.dumps(list(certify(work, lambda: False))), encoding="utf-8")
    return path


def _classes(x: Any, layers: Any) -> Any:  # noqa: ANN401 (arrays)
    """Return what the network answers: every input is classified as its label says."""
    value = x
    for number, (matrix, offset) in enumerate(layers):
        value = value @ np.asarray(matrix).T + offset
        value = np.maximum(value, 0) if number < len(layers) - 1 else value
    return value.argmax(axis=1)


def _timeless(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer without what differs from run to run: how long it took."""
    return {key: value for key, value in item.items() if key not in ("seconds", "reasons")}


@contextmanager
def site(folder: Path, answers: Path | None = None) -> Iterator[Site]:
    """Run a deployment for as long as a block lasts; see `Site`."""
    made = Site(folder, answers)
    try:
        made.start()
        yield made
    finally:
        made.close()
