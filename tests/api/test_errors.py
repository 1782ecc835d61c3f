"""Every error is a problem document, and every class of error has its status."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from api.problems import PROBLEMS, problem_of, problems
from models.errors import TightropeError
from store.errors import StoreError
from store.settings import SettingsError
from tests.api.checks import problem
from tests.helpers.api import Api
from tests.helpers.imports import ROOT
from tests.test_errors_table import descendants, error_modules


@pytest.mark.parametrize("base", [TightropeError, StoreError])
def test_every_class_of_error_is_in_the_table(base: type[Exception]) -> None:
    for module in error_modules():
        importlib.import_module(module)
    names = {kind.__name__ for kind in descendants(base) if kind.__module__[:5] != "tests"}
    assert len(names) > 5
    assert names - set(PROBLEMS) == set()


def test_kinds_are_told_apart() -> None:
    for name, kind in PROBLEMS.items():
        assert 400 <= kind.status <= 599, name
    titles = {(kind.slug, kind.title, kind.status) for kind in PROBLEMS.values()}
    assert len(titles) == len({kind.slug for kind in PROBLEMS.values()})


def test_a_class_nobody_listed_is_an_internal_error() -> None:
    document = problem_of("StrangeError", "odd")
    assert (document.status, document.type) == (500, "urn:tightrope:problem:internal")


def test_documented_problems_include_everyones() -> None:
    assert set(problems(404)) == {404, 500, 503}


@pytest.mark.parametrize("path", ["/nothing", "/v1", "/v1/networks/a/b/c", "/v2/x"])
def test_an_unknown_path(api: Api, path: str) -> None:
    problem(api.client.get(path, follow_redirects=True), 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/networks", "GET"),
        ("DELETE", "/v1/jobs", "GET"),
        ("PATCH", "/v1/certifications/x", "GET"),
        ("POST", "/healthz", "GET"),
    ],
)
def test_a_method_that_is_not_allowed(api: Api, method: str, path: str, allowed: str) -> None:
    response = api.client.request(method, path)
    problem(response, 405, method, path)
    assert allowed in response.headers["allow"]


@pytest.mark.parametrize("kind", ["networks", "datasets", "certifications", "jobs"])
@pytest.mark.parametrize("name", ["net_00000000000000000000000000", "x", "%00", "é"])
def test_an_unknown_resource(api: Api, kind: str, name: str) -> None:
    problem(api.client.get(f"/v1/{kind}/{name}"), 404)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/networks"),
        ("GET", "/v1/datasets"),
        ("GET", "/v1/certifications"),
        ("GET", "/v1/certifications/job_00000000000000000000000000"),
        ("GET", "/v1/certifications/job_00000000000000000000000000/items"),
        ("GET", "/v1/certifications/job_00000000000000000000000000/report"),
        ("GET", "/v1/jobs"),
        ("GET", "/v1/jobs/job_00000000000000000000000000"),
        ("POST", "/v1/jobs/job_00000000000000000000000000/cancel"),
        ("DELETE", "/v1/networks/net_00000000000000000000000000"),
        ("GET", "/metrics"),
        ("GET", "/readyz"),
    ],
)
def test_a_database_that_is_away(
    api: Api, monkeypatch: pytest.MonkeyPatch, method: str, path: str
) -> None:
    def away(*_arguments: object, **_options: object) -> None:
        raise OperationalError("SELECT 1", {}, Exception("connection refused"))

    monkeypatch.setattr("sqlalchemy.engine.Engine.connect", away)
    response = api.client.request(method, path)
    document = problem(response, 503)
    assert "refused" not in document["detail"]
    assert api.client.get("/healthz").status_code == 200


def test_a_database_on_a_full_disk(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object, **_options: object) -> None:
        raise OperationalError("INSERT", {}, Exception("database or disk is full"))

    monkeypatch.setattr("store.certifications.Certifications.create", full)
    body = {"network_id": api.world.network, "dataset_id": api.world.dataset, "epsilon": 0.1}
    problem(api.client.post("/v1/certifications", json=body), 507, "disk is full")


def test_two_requests_that_collide(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def collide(*_arguments: object, **_options: object) -> None:
        raise IntegrityError("INSERT", {}, Exception("foreign key"))

    monkeypatch.setattr("store.certifications.Certifications.create", collide)
    body = {"network_id": api.world.network, "dataset_id": api.world.dataset, "epsilon": 0.1}
    problem(api.client.post("/v1/certifications", json=body), 409, "try again")


def test_a_mistake_of_our_own_tells_nothing_about_us(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object, **_options: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr("store.jobs.Jobs.page", broken)
    document = problem(api.client.get("/v1/jobs"), 500)
    assert "secret" not in document["detail"]


def test_settings_errors_are_store_errors() -> None:
    assert issubclass(SettingsError, StoreError)


def test_the_process_loads_no_mathematics() -> None:
    script = (
        "import sys, api.app, api.__main__\n"
        "heavy = {'torch', 'models', 'solvers', 'onnx', 'onnxruntime', 'scipy'}\n"
        "print(*sorted(heavy & {name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
