"""Training through the service: a real one, on digits, followed, cancelled, killed, resumed."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from models.data import load_source
from tests.e2e.conftest import Visitor
from tests.e2e.test_serve import serving, stop
from tests.helpers.processes import children
from tests.helpers.service import World, service_settings, wait_until
from tests.helpers.small_files import write_data


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """A third of scikit-learn's digits."""
    data = load_source("digits")
    return write_data(tmp_path / "digits.npz", data.x[:600], data.y[:600])


def start(visitor: Visitor, data: Path, **settings: object) -> str:
    """Ask for a training and return its id."""
    body = {
        "architecture": "mlp:16",
        "dataset_id": visitor.upload("datasets", data),
        "epsilon": 0.02,
        "epochs": 3,
        "slack_weight": 0.5,
        **settings,
    }
    response = visitor.http.post("/v1/trainings", json=body)
    assert response.status_code == 202, response.text
    identifier: str = response.json()["id"]
    return identifier


def final(visitor: Visitor, path: str) -> dict[str, Any]:
    """Wait until a job is final and return what it makes."""
    for _ in range(20):
        found: dict[str, Any] = visitor.http.get(path, params={"wait": 30}).json()
        if found["state"] in ("succeeded", "failed", "cancelled"):
            return found
    raise AssertionError(f"{path} is still {found['state']}")


def finished_epochs(visitor: Visitor, training: str) -> list[int]:
    url = f"/v1/trainings/{training}/metrics"
    items = visitor.http.get(url, params={"limit": 1000}).json()["items"]
    return [entry["epoch"] for entry in items if entry["metrics"] is not None]


def network_sha(visitor: Visitor, training: str) -> str:
    items = visitor.http.get(f"/v1/trainings/{training}/artifacts").json()["items"]
    shas: dict[str, str] = {entry["name"]: entry["sha256"] for entry in items}
    return shas["network.onnx"]


def worker_of(pid: int) -> int:
    """Return the worker among the processes that a service has started."""
    found = [
        child
        for child in children(pid)
        if b"\0-m\0worker\0" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]
    assert len(found) == 1
    return found[0]


def test_train_both_arms_compare_and_certify(tmp_path: Path, digits: Path) -> None:
    with serving(tmp_path / "data") as (process, visitor):
        comparison = {"methods": ["ibp", "crown-ibp"], "count": 8}
        asked = start(
            visitor,
            digits,
            baseline=True,
            comparison=comparison,
            epochs=8,
            optimiser={"learning_rate": 0.01},
        )
        view = final(visitor, f"/v1/trainings/{asked}")
        assert view["state"] == "succeeded", view
        assert view["progress"]["done"] == view["progress"]["total"] > 0
        candidate, baseline = view["arms"]["candidate"], view["arms"]["baseline"]
        assert candidate["best"]["clean_accuracy"] > 0.5
        assert candidate["network_id"] != baseline["network_id"]
        assert sorted(finished_epochs(visitor, asked)) == sorted([*range(1, 9)] * 2)
        compared = final(visitor, f"/v1/comparisons/{view['comparison_id']}")
        assert compared["state"] == "succeeded", compared
        certified = visitor.http.post(
            "/v1/certifications",
            json={
                "network_id": candidate["network_id"],
                "dataset_id": view["dataset"]["id"],
                "epsilon": 0.02,
                "methods": ["crown"],
                "count": 4,
            },
        ).json()
        assert visitor.finished(certified["id"])["state"] == "succeeded"
        page = visitor.http.get(f"/v1/trainings/{asked}/report.html").text
        assert "mlp:16" in page
        assert "<svg" in page
        assert stop(process, signal.SIGINT) == 130


def test_a_killed_training_ends_like_one_that_was_left_alone(tmp_path: Path, digits: Path) -> None:
    folder = tmp_path / "data"
    world = World(service_settings(folder))
    with serving(folder) as (process, visitor):
        whole = start(visitor, digits, epochs=16, name="whole")
        assert final(visitor, f"/v1/trainings/{whole}")["state"] == "succeeded"

        killed = start(visitor, digits, epochs=16, name="killed")
        wait_until(lambda: len(finished_epochs(visitor, killed)) >= 3)
        os.kill(worker_of(process.pid), signal.SIGKILL)
        view = final(visitor, f"/v1/trainings/{killed}")
        assert view["state"] == "succeeded", view
        assert world.jobs.get(killed).attempts == 2
        assert finished_epochs(visitor, killed) == list(range(1, 17))
        assert network_sha(visitor, killed) == network_sha(visitor, whole)
        best = [
            {**visitor.http.get(f"/v1/trainings/{one}").json()["arms"]["candidate"]["best"]}
            for one in (whole, killed)
        ]
        for entry in best:
            del entry["seconds"]
        assert best[0] == best[1]

        endless = start(visitor, digits, epochs=5000)
        wait_until(lambda: len(finished_epochs(visitor, endless)) >= 2)
        visitor.http.post(f"/v1/trainings/{endless}/cancel")
        view = final(visitor, f"/v1/trainings/{endless}")
        assert view["state"] == "cancelled"
        assert view["arms"]["candidate"]["stopped"] == "cancelled"
        assert view["arms"]["candidate"]["best_epoch"] >= 1
        assert network_sha(visitor, endless)
        assert list((folder / "checkpoints").iterdir()) == []

        diverging = start(visitor, digits, optimiser={"learning_rate": 1e30, "gradient_clip": None})
        view = final(visitor, f"/v1/trainings/{diverging}")
        assert view["state"] == "failed"
        assert view["error"]["type"] == "urn:tightrope:problem:diverged"
        assert stop(process, signal.SIGINT) == 130
    world.close()
