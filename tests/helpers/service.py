"""The service for tests: small, in a folder of its own, fakes where processes would be slow."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from api.schemas.trainings import TrainingCreate
from api.serving import server_options
from api.training import stored_settings
from store.access_tables import ProjectRow
from store.blobs import BlobStore
from store.certifications import Certifications, NewCertification, SumUp
from store.chunks import Chunks, Claim
from store.columns import Base
from store.comparisons import Comparisons, NewComparison
from store.database import Database
from store.jobs import Jobs
from store.migrate import migrate
from store.reaper import Reaper
from store.settings import Settings
from store.states import Origin
from store.tables import CertificationRow, ComparisonRow, TrainingRow
from store.tenancy import DEFAULT_PROJECT, Tenant
from store.trainings import NewTraining, Trainings
from store.uploads import DATASETS, NETWORKS, Uploads
from worker.inspector import FileKind, RejectedFileError, StoredExample, StoredProof

NETWORK_DETAILS: dict[str, Any] = {
    "input_shape": [1, 4],
    "output_shape": [1, 3],
    "outputs": 3,
    "parameters": 67,
    "nodes": 4,
    "operators": {"Input": 1, "Linear": 2, "Relu": 1},
    "notes": [],
    "neurons": 8,
    "layers": [
        {"name": "x", "operator": "Input", "shape": [1, 4], "neurons": 0, "parameters": 0},
        {"name": "z", "operator": "Linear", "shape": [1, 8], "neurons": 0, "parameters": 40},
        {"name": "a", "operator": "Relu", "shape": [1, 8], "neurons": 8, "parameters": 0},
        {"name": "y", "operator": "Linear", "shape": [1, 3], "neurons": 0, "parameters": 27},
    ],
}
DATASET_DETAILS: dict[str, Any] = {
    "count": 5,
    "input_shape": [4],
    "classes": 3,
    "minimum": 0.0,
    "maximum": 1.0,
}
JUDGEMENT: dict[str, Any] = {
    "accepted": True,
    "reason": None,
    "statement": ["case 0: for every input with 0 <= X_0 <= 1", "  never Y_0 - Y_1 <= 0"],
    "leaves": 3,
    "margin": 0.25,
    "deployment_margin": 0.125,
    "seconds": 0.5,
}
REPLAY: dict[str, Any] = {
    "confirmed": True,
    "reason": None,
    "answer": 2,
    "margin": -0.25,
    "difference": 0.0,
    "seconds": 0.5,
}
SETTINGS: dict[str, Any] = {
    "epsilon": 0.1,
    "norm": "inf",
    "methods": ["crown"],
    "timeout_seconds": 60.0,
    "valid_range": [0.0, 1.0],
    "targets": None,
    "normalization": None,
    "seed": 0,
}


def training_settings() -> dict[str, Any]:
    """Return the settings of a training as the API stores them."""
    asked = {
        "architecture": "mlp:8",
        "dataset_id": "dat_00000000000000000000000000",
        "epsilon": 0.05,
        "epochs": 2,
        "slack_weight": 0.5,
    }
    return stored_settings(TrainingCreate.model_validate(asked))


def service_settings(folder: Path, **changes: object) -> Settings:
    """Return settings for one folder, with short intervals."""
    quick = {
        "data_dir": folder,
        "poll_seconds": 0.02,
        "cancel_poll_seconds": 0.05,
        "heartbeat_seconds": 0.2,
        "lease_seconds": 2.0,
        "sweep_seconds": 0.2,
        "worker_threads": 1,
        "key_cache_seconds": 0.2,
    }
    return Settings.model_validate({**quick, **changes})


def item(index: int, verdict: str = "verified", **changes: object) -> dict[str, Any]:
    """Return the answer for one input."""
    plain = {
        "index": index,
        "label": 1,
        "predicted": 0 if verdict == "misclassified" else 1,
        "verdict": verdict,
        "evidence": "solver",
        "lower": {"crown": 0.5},
        "upper": 1.0,
        "exact": None,
        "gap": {"crown": 0.5},
        "seconds": {"crown": 0.001},
        "counterexample": None,
        "reason": None,
    }
    return {**plain, **changes}


def comparing(comparison_id: str, owner: str, position: int) -> Claim:
    """Return what a worker has that took a whole comparison, at one of its networks."""
    return Claim(comparison_id, "comparison", "bounds", owner, position=position)


@cache
def migrated_database() -> bytes:
    """Return the file of an empty database; making one takes longer than most tests."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.sqlite3"
        database = Database(f"sqlite:///{path}")
        migrate(database)
        database.close()
        return path.read_bytes()


class World:
    """A migrated store with one network and one data set.

    Args:
        settings: Where it is.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        if settings.embedded:
            settings.data_dir.mkdir(parents=True, exist_ok=True)
            (settings.data_dir / "tightrope.sqlite3").write_bytes(migrated_database())
        self.database = Database(settings.database)
        migrate(self.database)
        self.blobs = BlobStore(settings.blob_dir)
        home = self.database.of(Tenant())
        self.networks = Uploads(home, self.blobs, NETWORKS)
        self.datasets = Uploads(home, self.blobs, DATASETS)
        self.certifications = Certifications(home)
        self.comparisons = Comparisons(home)
        self.trainings = Trainings(home, self.blobs, settings.checkpoint_dir)
        self.jobs = Jobs(self.database, lease_seconds=settings.lease_seconds)
        self.chunks = Chunks(self.database, lease_seconds=settings.lease_seconds)
        self.reaper = Reaper(
            self.database, lease_seconds=settings.lease_seconds, max_attempts=settings.max_attempts
        )
        self.network = self.dataset = ""
        self.reset()

    def reset(self) -> None:
        """Remove everything but one network and one data set."""
        with self.database.write() as session:
            for table in reversed(Base.metadata.sorted_tables):
                emptied = table.delete()
                if table is ProjectRow.__table__:
                    emptied = emptied.where(table.c.id != DEFAULT_PROJECT)
                session.execute(emptied)
        shutil.rmtree(self.settings.blob_dir, ignore_errors=True)
        self.network = self.upload(self.networks, b"network", "n.onnx", NETWORK_DETAILS)
        self.dataset = self.upload(self.datasets, b"dataset", "d.npz", DATASET_DETAILS)

    def upload(
        self, uploads: Uploads, content: bytes, name: str, details: Mapping[str, Any]
    ) -> str:
        """Store a file and return its id."""
        with self.blobs.receive() as incoming:
            incoming.write(content)
            return uploads.add(incoming, name=name, details=details)[0].id

    def certify(
        self,
        indices: Sequence[int] = (0, 1, 2),
        *,
        reuse: bool = False,
        origin: Origin | None = None,
        sum_up: SumUp | None = None,
        **changes: object,
    ) -> CertificationRow:
        """Store a request for a certification."""
        new = NewCertification(
            network_id=self.network,
            dataset_id=self.dataset,
            settings={**SETTINGS, **changes, "indices": list(indices)},
            indices=indices,
            queue="bounds",
            version="1",
            reuse=reuse,
            origin=origin,
            sum_up=sum_up,
        )
        return self.certifications.create(new)[0]

    def compare(
        self, indices: Sequence[int] = (0, 1, 2), *, reuse: bool = False, **changes: object
    ) -> ComparisonRow:
        """Store a request for a comparison of the network with another one."""
        candidate = self.upload(self.networks, b"candidate", "m.onnx", NETWORK_DETAILS)
        new = NewComparison(
            network_ids=[self.network, candidate],
            dataset_id=self.dataset,
            settings={**SETTINGS, **changes, "indices": list(indices)},
            indices=indices,
            queue="bounds",
            version="1",
            reuse=reuse,
        )
        return self.comparisons.create(new)[0]

    def finish(self, indices: Sequence[int] = (0, 1, 2), **changes: object) -> str:
        """Store a certification with all its answers and return its id."""
        row = self.certify(indices, **changes)
        assert self.jobs.claim(row.id, "somebody")
        for index in indices:
            self.certifications.add_item(row.id, "somebody", item(index))
        self.certifications.succeed(row.id, "somebody", SUMMARY)
        return row.id

    def train(
        self, *, baseline: bool = False, validation_id: str | None = None, **changes: object
    ) -> TrainingRow:
        """Store a request for a training."""
        new = NewTraining(
            network_id=self.network,
            dataset_id=self.dataset,
            validation_id=validation_id,
            settings={**training_settings(), "baseline": baseline, **changes},
            steps=20 if baseline else 10,
        )
        return self.trainings.create(new)[0]

    def close(self) -> None:
        """Close the connections."""
        self.database.close()


SUMMARY: dict[str, Any] = {
    "count": 3,
    "clean_accuracy": 1.0,
    "empirical_accuracy": 1.0,
    "certified_accuracy": {"crown": 1.0},
    "certified_gap": 0.0,
    "mean_gap": {"crown": 0.5},
    "falsified": 0,
    "unknown": 0,
    "seconds": 0.003,
}


class FakeInspector:
    """Accepts every file that does not start with BAD, and counts how often it was asked."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.judged: list[StoredProof] = []
        self.replayed: list[StoredExample] = []
        self.judgement: dict[str, Any] | Exception = {}
        self.details: dict[str, dict[str, Any]] = {}
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.seen.clear()
        self.judged.clear()
        self.replayed.clear()
        self.replay_found: dict[str, Any] | Exception = dict(REPLAY)
        self.judgement = dict(JUDGEMENT)
        self.details = {"network": dict(NETWORK_DETAILS), "dataset": dict(DATASET_DETAILS)}

    def start(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def inspect(self, kind: FileKind, path: Path, name: str) -> Mapping[str, Any]:
        """Return fixed details."""
        content = path.read_bytes()
        self.seen.append(hashlib.sha256(content).hexdigest())
        if content.startswith(b"BAD"):
            parts = [
                {"node": "a", "operator": "Einsum", "reason": "it is odd"},
                {"node": "b", "operator": "Det", "reason": ""},
            ]
            raise RejectedFileError("UnsupportedOperatorError", f"{name}: node 'a' is odd", parts)
        return self.details[kind]

    def check(self, stored: StoredProof) -> Mapping[str, Any]:
        """Return a fixed judgement, or raise it."""
        assert stored.proof.read_bytes()
        self.judged.append(stored)
        if isinstance(self.judgement, Exception):
            raise self.judgement
        return self.judgement

    def replay(self, stored: StoredExample) -> Mapping[str, Any]:
        """Return fixed findings, or raise them."""
        self.replayed.append(stored)
        if isinstance(self.replay_found, Exception):
            raise self.replay_found
        return self.replay_found


class FakeQueue:
    """Remembers what was sent; may be told to be out of order."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.broken = False

    def reset(self) -> None:
        """Forget everything."""
        self.sent.clear()
        self.broken = False

    def send(self, job_id: str, queue: str) -> bool:
        """Note a message."""
        if self.broken:
            return False
        self.sent.append((job_id, queue))
        return True

    def ping(self) -> None:
        """Answer, or not."""
        if self.broken:
            raise ConnectionRefusedError("no broker")

    def close(self) -> None:
        """Do nothing."""


@contextmanager
def serving(app: FastAPI) -> Iterator[httpx.Client]:
    """Serve an application on a free port, from a thread, and yield a client for it."""
    options = {**server_options(), "timeout_graceful_shutdown": 1}
    server = uvicorn.Server(uvicorn.Config(app, port=0, **options))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


def wait_until(met: Callable[[], object], *, seconds: float = 60.0) -> None:
    """Wait for a condition; fail when it is not met in a time that is far too long."""
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(0.02)


def long_ago() -> datetime:
    """Return a moment before every lease of a test."""
    return datetime(2001, 1, 1, tzinfo=UTC)
