"""Health, metrics, the page at the root, the words on the wire."""

from __future__ import annotations

import re
import typing
from pathlib import Path

import pytest

from api.__main__ import main as serve_api
from api.health import main as health
from api.metrics import Metrics
from api.schemas.certifications import (
    EvidenceName,
    MethodName,
    MethodStatusName,
    NormName,
    VerdictName,
)
from api.schemas.jobs import State
from api.serving import check_address
from solvers.balls import Norm
from solvers.certification.per_item import MethodStatus
from solvers.methods import Method
from solvers.results import Evidence, Verdict
from store.jobs import JobState
from store.keys import Keys, Scope
from store.settings import SettingsError, get_settings
from tests.api.checks import problem
from tests.api.conftest import Api
from tests.helpers.service import service_settings


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (MethodName, Method),
        (NormName, Norm),
        (VerdictName, Verdict),
        (EvidenceName, Evidence),
        (MethodStatusName, MethodStatus),
        (State, JobState),
    ],
)
def test_the_wire_uses_the_words_of_the_mathematics(words: object, meant: type[Method]) -> None:
    assert list(typing.get_args(words)) == [member.value for member in meant]


def test_health_and_readiness(api: Api) -> None:
    assert api.client.get("/healthz").json() == {"status": "ok"}
    ready = api.client.get("/readyz")
    assert ready.json() == {"status": "ready", "checks": ["database", "blobs", "broker"]}
    api.queue.broken = True
    problem(api.client.get("/readyz"), 503, "broker: ConnectionRefusedError")
    assert api.client.get("/healthz").status_code == 200


def test_the_health_check_of_the_container(api: Api) -> None:
    url = f"{api.client.base_url}/readyz"
    assert health([url]) == 0
    api.queue.broken = True
    assert health([url]) == 1
    assert health(["http://127.0.0.1:9/"]) == 1


def count(lines: list[str], start: str) -> int:
    return sum(int(line.removeprefix(start)) for line in lines if line.startswith(start))


def test_metrics_count_jobs_and_requests(api: Api) -> None:
    api.world.finish()
    api.world.certify()
    before = api.client.get("/metrics").text.splitlines()
    api.client.get("/v1/jobs/x")
    api.client.get("/no/such/path")
    response = api.client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = response.text.splitlines()
    assert 'tightrope_jobs{state="queued"} 1' in lines
    assert 'tightrope_jobs{state="succeeded"} 1' in lines
    name = "tightrope_http_request_duration_seconds_count"
    for labels in (
        'method="GET",route="/v1/jobs/{job_id}",status="404"',
        'method="(any)",route="(none)",status="404"',
    ):
        assert count(lines, f"{name}{{{labels}}} ") == count(before, f"{name}{{{labels}}} ") + 1
    for line in lines:
        assert re.fullmatch(r"# (HELP|TYPE) .+|[a-z_]+(\{.*\})? [0-9.e+-]+", line), line


def test_counts_and_times_add_up() -> None:
    metrics = Metrics()
    metrics.observe("GET", "/x", status=200, seconds=0.25)
    metrics.observe("GET", "/x", status=200, seconds=0.5)
    text = metrics.render({})
    assert '_count{method="GET",route="/x",status="200"} 2' in text
    assert '_sum{method="GET",route="/x",status="200"} 0.750000' in text


def test_the_page_at_the_root(api: Api) -> None:
    assert "There are none yet" in api.client.get("/").text
    finished, queued = api.world.finish(), api.world.certify().id
    training = api.world.train(name="<b>").id
    page = api.client.get("/").text
    assert f"v1/trainings/{training}/report.html" in page
    assert "&lt;b&gt;" in page
    assert page.count("There are none yet") == 1
    assert f"v1/certifications/{finished}/report.html" in page
    assert f'"v1/certifications/{queued}"' in page


def test_names_are_escaped_on_the_page(api: Api) -> None:
    form = {"file": ("<script>x</script>.onnx", b"evil")}
    api.world.network = api.client.post("/v1/networks", files=form).json()["id"]
    api.world.certify()
    assert "<script>" not in api.client.get("/").text


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_is_open_to_all(tmp_path: Path, host: str) -> None:
    check_address(host, service_settings(tmp_path))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "example.org"])  # noqa: S104
def test_other_addresses_take_keys_or_a_word(tmp_path: Path, host: str) -> None:
    with pytest.raises(SettingsError, match="TIGHTROPE_ALLOW_UNAUTHENTICATED=1"):
        check_address(host, service_settings(tmp_path))
    check_address(host, service_settings(tmp_path, allow_unauthenticated=True))
    check_address(host, service_settings(tmp_path, require_keys=True))
    with pytest.raises(SettingsError, match="keys create"):
        check_address(host, service_settings(tmp_path, require_keys=False))


def test_a_key_opens_other_addresses_even_once_it_is_worth_nothing(api: Api) -> None:
    settings = api.world.settings.model_copy(update={"require_keys": None})
    with pytest.raises(SettingsError):
        check_address("10.1.2.3", settings)
    made = api.key(Scope.READ)
    check_address("10.1.2.3", settings)
    Keys(api.world.database).revoke(made.row.id)
    check_address("10.1.2.3", settings)


def test_the_api_alone_refuses_them_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("api.__main__.configure", lambda _level: None)
    get_settings.cache_clear()
    assert serve_api(["--host", "0.0.0.0"]) == 2  # noqa: S104
    get_settings.cache_clear()
    assert "ALLOW_UNAUTHENTICATED" in caplog.text
