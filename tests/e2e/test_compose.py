"""The team deployment: what docker-compose.yml describes, run as processes without Docker.

Every service's own command is started as the file states it, against real Redis and PostgreSQL;
only addresses and folders are put in their place.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from store.database import Database
from store.settings import Settings
from tests.e2e.conftest import Visitor
from tests.e2e.test_serve import answers
from tests.helpers.compose import OURS, SERVERS, Deployment, read_compose
from tests.helpers.imports import ROOT
from tests.helpers.servers import PASSWORD, find_postgres, postgres, redis
from tests.helpers.service import wait_until
from tests.store.test_migrations import differences

SERVICES = read_compose({"POSTGRES_PASSWORD": "word"})["services"]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return read_compose({"POSTGRES_PASSWORD": "word"})


def test_the_deployment_has_its_parts(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert set(services) == {*SERVERS, *OURS}
    queues = {name: services[name]["environment"].get("TIGHTROPE_QUEUES") for name in OURS}
    assert Counter(queues.values()) == {None: 2, "bounds": 2, "exact": 1}
    assert [name for name in services if "profiles" in services[name]] == ["worker-bounds-gpu"]
    assert all(port.startswith("127.0.0.1:") for port in services["api"]["ports"])
    assert [name for name in services if "ports" in services[name]] == ["api"]
    assert all(services[name]["environment"]["TIGHTROPE_REQUIRE_KEYS"] == "1" for name in OURS)


def test_what_is_waited_for_can_be_waited_for(compose: dict[str, Any]) -> None:
    services = compose["services"]
    order: list[str] = []
    for name, service in services.items():
        for needed, wanted in service.get("depends_on", {}).items():
            assert "profiles" not in services[needed]
            if wanted == {"condition": "service_healthy"}:
                assert services[needed]["healthcheck"]["test"][0] == "CMD"
            else:
                assert wanted == {"condition": "service_completed_successfully"}
                assert services[needed]["restart"] == "no"
        if name not in (*SERVERS, "migrate"):
            assert set(service["depends_on"]) == {*SERVERS, "migrate"}
    while len(order) < len(services):  # ends only where nothing waits for itself
        free = [
            name
            for name in services
            if name not in order and set(services[name].get("depends_on", {})) <= set(order)
        ]
        assert free
        order += free


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_can_do_no_more_than_it_needs(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert service["tmpfs"][0] == "/tmp"  # noqa: S108
    limits = service["deploy"]["resources"]["limits"]
    assert re.fullmatch(r"\d+", limits["cpus"])
    assert re.fullmatch(r"\d+[mg]", limits["memory"])
    assert service["pids_limit"] <= 512
    assert {volume.partition(":")[0] for volume in service["volumes"]} <= set(compose["volumes"])
    assert set(service["networks"]) <= set(compose["networks"])
    if name in SERVERS:  # ours have their user from the image
        assert service["user"] == name
        assert service["networks"] == ["inside"]
    assert "healthcheck" in service or name == "migrate"
    assert service["logging"]["options"]["max-size"]


def test_database_and_broker_are_out_of_reach(compose: dict[str, Any]) -> None:
    assert compose["networks"]["inside"] == {"internal": True}


def test_a_gpu_is_reserved_where_one_is_used(compose: dict[str, Any]) -> None:
    for name in OURS:
        service = compose["services"][name]
        devices = service.get("deploy", {}).get("resources", {}).get("reservations", {})
        uses = service["environment"].get("TIGHTROPE_DEVICE") == "cuda"
        assert bool(devices) == uses
        assert service["build"]["target"] == ("cuda" if uses else "cpu")
        assert service["image"].endswith("-cuda") == uses


def test_every_setting_in_the_file_exists(compose: dict[str, Any]) -> None:
    known = {f"TIGHTROPE_{name.upper()}" for name in Settings.model_fields}
    for name in OURS:
        assert set(compose["services"][name]["environment"]) <= known


def stages() -> dict[str, tuple[str, str]]:
    """Return the stages of the Dockerfile: what each starts from, and its lines."""
    text = (ROOT / "Dockerfile").read_text()
    parts = re.split(r"^FROM (\S+) AS (\S+)$", text, flags=re.MULTILINE)[1:]
    return {parts[i + 1]: (parts[i], parts[i + 2]) for i in range(0, len(parts), 3)}


def test_the_image_copies_every_package_and_runs_as_nobody(compose: dict[str, Any]) -> None:
    text = (ROOT / "Dockerfile").read_text()
    copied = set(re.findall(r"^COPY (\w+) \./\1$", text, re.MULTILINE))
    packages = {path.parent.name for path in ROOT.glob("*/py.typed")} | {"client"}
    assert packages <= copied
    allowed = (ROOT / ".dockerignore").read_text().split()
    assert {f"!{name}" for name in packages} <= set(allowed)
    found = stages()
    for target in {compose["services"][name]["build"]["target"] for name in OURS}:
        start, lines = found[target]
        assert start == "runtime"
        assert re.search(rf"^COPY --from=build-{target} ", lines, re.MULTILINE)
    assert re.findall(r"^USER (\w+)$", found["runtime"][1], re.MULTILINE) == ["tightrope"]
    assert list(found)[-1] == "cpu"  # what `docker build .` makes
    for start, lines in found.values():
        copied_from = re.findall(r"--from=(\S+)", lines)
        assert {start, *copied_from} <= {*found, "scratch", "python:3.11-slim"}
    assert not re.search(r"PASSWORD|SECRET|TOKEN", text)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Start every service of the file, after the migration."""
    folder = tmp_path_factory.mktemp("compose")
    redis_command = tuple(str(word) for word in SERVICES["redis"]["command"])
    with ExitStack() as stack:
        database_url = stack.enter_context(postgres(folder / "postgres"))
        broker_url = stack.enter_context(redis(folder / "redis", redis_command))
        assert PASSWORD in database_url
        made = Deployment(folder, database_url=database_url, broker_url=broker_url)
        assert made.succeeds("migrate"), made.log("migrate").read_text()
        database = Database(database_url)
        assert differences(database) == []
        database.close()
        for name in OURS[1:]:
            stack.enter_context(made.run(name))
        visitor = Visitor(f"http://127.0.0.1:{made.port}")
        wait_until(lambda: answers(visitor))
        visitor.close()
        yield made


@pytest.fixture(scope="module")
def key(deployment: Deployment) -> str:
    """Make a key as the guide says."""
    asked = ["tightrope", "keys", "create", "--name", "ci", "--json"]
    made = subprocess.run(
        deployment.placed(asked),
        env=deployment.environment("api"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found: str = json.loads(made.stdout)["key"]
    return found


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "migrate"])
def test_each_service_is_healthy_by_its_own_command(deployment: Deployment, name: str) -> None:
    command = deployment.health(name)
    if name == "postgres":
        command[0] = str((find_postgres() / "initdb").resolve().with_name(command[0]))
    assert deployment.succeeds(name, command), deployment.log(name).read_text()


def test_nobody_comes_in_without_a_key(deployment: Deployment) -> None:
    visitor = Visitor(f"http://127.0.0.1:{deployment.port}")
    assert visitor.http.get("/v1/networks").status_code == 401
    assert visitor.http.get("/healthz").status_code == 200
    visitor.close()


@pytest.mark.parametrize(
    ("methods", "takers"),
    [
        (["ibp", "crown"], ("worker-bounds", "worker-bounds-gpu")),
        (["crown", "exact"], ("worker-exact",)),
    ],
)
def test_the_deployment_certifies(
    deployment: Deployment,
    key: str,
    network: Path,
    data: Path,
    methods: list[str],
    takers: tuple[str, ...],
) -> None:
    visitor = Visitor(f"http://127.0.0.1:{deployment.port}")
    visitor.http.headers["Authorization"] = f"Bearer {key}"
    asked = visitor.certify(network, data, methods=methods)
    assert visitor.finished(asked["id"])["state"] == "succeeded"
    assert visitor.verdicts(asked["id"]) == ["verified", "falsified", "misclassified"]
    assert any(asked["id"] in deployment.log(taker).read_text() for taker in takers)
    again = visitor.certify(network, data, methods=methods)
    assert (again["state"], again["cached"]) == ("succeeded", True)
    visitor.close()


def test_a_worker_stops_when_it_is_told(deployment: Deployment) -> None:
    log = deployment.log("worker-exact")
    before = log.read_text().count(" ready.")
    with deployment.run("worker-exact") as worker:
        wait_until(lambda: log.read_text().count(" ready.") > before)
        worker.terminate()
        assert worker.wait(60) == 0


def test_without_a_password_nothing_starts() -> None:
    with pytest.raises(KeyError, match="set a password"):
        read_compose({})
    assert read_compose({"POSTGRES_PASSWORD": "a", "WORKER_MEMORY": "64g"})["services"][
        "worker-exact"
    ]["deploy"]["resources"]["limits"] == {"cpus": "4", "memory": "64g"}
