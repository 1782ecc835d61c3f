"""The team deployment: what docker-compose.yml describes, run as processes without Docker.

Every service's own command is started as the file states it, against real Redis and PostgreSQL;
only addresses and folders are put in their place.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from store.database import Database
from store.settings import Settings
from tests.e2e.conftest import Visitor
from tests.e2e.test_serve import answers
from tests.helpers.imports import ROOT
from tests.helpers.processes import free_port, running
from tests.helpers.servers import PASSWORD, postgres, redis
from tests.helpers.service import wait_until
from tests.store.test_migrations import differences

OURS = ("migrate", "api", "worker-bounds", "worker-exact")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return found


def test_the_deployment_has_its_parts(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert set(services) == {"postgres", "redis", *OURS}
    for name, service in services.items():
        assert "healthcheck" in service or name == "migrate", name
        assert service["volumes"], name
        for needed, condition in service.get("depends_on", {}).items():
            finished = (
                "service_completed_successfully" if needed == "migrate" else "service_healthy"
            )
            assert condition == {"condition": finished}, name
        for volume in service["volumes"]:
            assert volume.partition(":")[0] in compose["volumes"]
    assert all(port.startswith("127.0.0.1:") for port in services["api"]["ports"])
    queues = [services[name]["environment"].get("TIGHTROPE_QUEUES") for name in OURS]
    assert queues == [None, None, "bounds", "exact"]


def test_every_setting_in_the_file_exists(compose: dict[str, Any]) -> None:
    known = {f"TIGHTROPE_{name.upper()}" for name in Settings.model_fields}
    for name in OURS:
        assert set(compose["services"][name]["environment"]) <= known


def test_the_image_copies_every_package_and_runs_as_nobody(compose: dict[str, Any]) -> None:
    text = (ROOT / "Dockerfile").read_text()
    copied = set(re.findall(r"^COPY (\w+) \./\1$", text, re.MULTILINE))
    packages = {path.parent.name for path in ROOT.glob("*/py.typed")}
    assert packages <= copied
    allowed = (ROOT / ".dockerignore").read_text().split()
    assert {f"!{name}" for name in packages} <= set(allowed)
    users = re.findall(r"^USER (\w+)$", text, re.MULTILINE)
    assert users
    assert users[-1] != "root"
    assert all(compose["services"][name]["build"] == "." for name in OURS)


class Deployment:
    """The services of the file as processes.

    Args:
        compose: The file.
        folder: For data and logs.
        database_url, broker_url: Of the real servers.
    """

    def __init__(
        self, compose: dict[str, Any], folder: Path, *, database_url: str, broker_url: str
    ) -> None:
        self._services = compose["services"]
        self._folder = folder
        self.port = free_port()
        self._places = {
            "postgresql://tightrope:${POSTGRES_PASSWORD:?set a password}"
            "@postgres:5432/tightrope": database_url,
            "redis://redis:6379/0": broker_url,
            "/data": str(folder / "data"),
            "0.0.0.0": "127.0.0.1",  # noqa: S104
            "8000": str(self.port),
            "python": sys.executable,
            "http://127.0.0.1:8000/readyz": f"http://127.0.0.1:{self.port}/readyz",
        }

    def command(self, name: str) -> list[str]:
        """Return a service's command with addresses put in their place."""
        return [self._places.get(word, word) for word in self._services[name]["command"]]

    def health(self, name: str) -> list[str]:
        """Return the command of a service's health check."""
        kind, *command = self._services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        return [self._places.get(word, word) for word in command]

    def environment(self, name: str) -> dict[str, str]:
        """Return a service's environment with addresses put in their place."""
        stated = self._services[name]["environment"]
        kept = {key: value for key, value in os.environ.items() if key[:10] != "TIGHTROPE_"}
        return {
            **kept,
            "OMP_NUM_THREADS": "1",
            **{key: self._places.get(value, value) for key, value in stated.items()},
        }

    @contextmanager
    def run(self, name: str, command: list[str] | None = None) -> Iterator[Any]:
        """Run a service, or another command in its place."""
        log = self._folder / f"{name}.log"
        (self._folder / "data").mkdir(exist_ok=True)
        with running(command or self.command(name), log=log, env=self.environment(name)) as process:
            yield process

    def succeeds(self, name: str, command: list[str] | None = None) -> bool:
        """Run a command to its end."""
        with self.run(name, command) as process:
            return bool(process.wait(120) == 0)


def test_the_deployment_certifies(
    compose: dict[str, Any], tmp_path: Path, network: Path, data: Path
) -> None:
    redis_command = tuple(str(word) for word in compose["services"]["redis"]["command"])
    with ExitStack() as stack:
        database_url = stack.enter_context(postgres(tmp_path / "postgres"))
        broker_url = stack.enter_context(redis(tmp_path / "redis", redis_command))
        assert PASSWORD in database_url
        deployment = Deployment(compose, tmp_path, database_url=database_url, broker_url=broker_url)
        assert deployment.succeeds("migrate"), (tmp_path / "migrate.log").read_text()
        database = Database(database_url)
        assert differences(database) == []
        database.close()
        workers = [
            stack.enter_context(deployment.run(name)) for name in ("worker-bounds", "worker-exact")
        ]
        stack.enter_context(deployment.run("api"))
        visitor = Visitor(f"http://127.0.0.1:{deployment.port}")
        wait_until(lambda: answers(visitor))
        assert deployment.succeeds("api", deployment.health("api"))
        assert deployment.succeeds("worker-exact", deployment.health("worker-exact"))
        bounds = visitor.certify(network, data, methods=["ibp", "crown"])
        exact = visitor.certify(network, data, methods=["crown", "exact"])
        for asked, log in ((bounds, "worker-bounds"), (exact, "worker-exact")):
            assert visitor.finished(asked["id"])["state"] == "succeeded"
            verdicts = visitor.verdicts(asked["id"])
            assert verdicts == ["verified", "falsified", "misclassified"]
            assert asked["id"] in (tmp_path / f"{log}.log").read_text()
        again = visitor.certify(network, data, methods=["crown", "exact"])
        assert (again["state"], again["cached"]) == ("succeeded", True)
        visitor.close()
        for worker in workers:
            worker.terminate()
            assert worker.wait(60) == 0


def test_without_a_password_nothing_starts(compose: dict[str, Any]) -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    uses = re.findall(r"\$\{POSTGRES_PASSWORD([^}]*)\}", text)
    assert len(uses) == 2
    assert all(use.startswith(":?") for use in uses)
    assert shlex.join(compose["services"]["redis"]["command"]) == "redis-server --appendonly yes"
