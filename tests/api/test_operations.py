"""Health, metrics, the page at the root, the words on the wire."""

from __future__ import annotations

import re
import time
import typing
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from api.__main__ import main as serve_api
from api.health import main as health
from api.metrics import Metrics, render
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
from store.counters import Counters
from store.figures import FAMILIES
from store.keys import Keys, Scope
from store.settings import SettingsError, get_settings
from store.states import JobState
from store.workers import Workers
from tests.api.checks import problem
from tests.helpers.api import Api
from tests.helpers.imports import ROOT
from tests.helpers.service import service_settings, wait_until
from worker.meters import Meters


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
    ready = api.client.get("/readyz").json()
    assert ready["status"] == "ready"
    assert ready["checks"] == ["database", "migrations", "blobs", "broker"]
    assert [warning.split(":")[0] for warning in ready["warnings"]] == [
        "no worker takes the queue bounds",
        "no worker takes the queue exact",
    ]
    Workers(api.world.database).seen("w", queues="exact", device="cpu", version="1")
    warnings = api.client.get("/readyz").json()["warnings"]
    assert warnings == ["no worker takes the queue bounds: its jobs wait"]
    api.queue.broken = True
    problem(api.client.get("/readyz"), 503, "broker: ConnectionRefusedError")
    assert api.client.get("/healthz").status_code == 200


def test_a_database_that_lacks_migrations_is_not_ready(api: Api) -> None:
    def at(revision: str) -> None:
        with api.world.database.write() as session:
            session.connection().exec_driver_sql(
                f"UPDATE alembic_version SET version_num = '{revision}'"  # noqa: S608
            )

    head = ScriptDirectory(str(ROOT / "store" / "migrations")).get_current_head()
    assert head is not None
    try:
        at("0002")
        problem(api.client.get("/readyz"), 503, f"at revision 0002 and this version needs {head}")
        at("9999")  # a later version has migrated already, while this one is being replaced
        assert api.client.get("/readyz").status_code == 200
    finally:
        at(head)


def test_the_health_check_of_the_container(api: Api) -> None:
    url = f"{api.client.base_url}/readyz"
    assert health([url]) == 0
    api.queue.broken = True
    assert health([url]) == 1
    assert health(["http://127.0.0.1:9/"]) == 1


def count(lines: list[str], start: str) -> int:
    return sum(int(line.removeprefix(start)) for line in lines if line.startswith(start))


def figures(api: Api) -> dict[str, float]:
    response = api.client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = response.text.splitlines()
    for line in lines:
        assert re.fullmatch(r"# (HELP|TYPE) .+|[a-z_]+(\{.*\})? [0-9.e+-]+", line), line
    samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {series: float(value) for series, _, value in samples}


def test_metrics_tell_of_jobs_queues_and_requests(api: Api) -> None:
    api.world.finish()
    api.world.certify()
    Workers(api.world.database).seen("w", queues="bounds,exact", device="cpu", version="1")
    before = figures(api)
    api.client.get("/v1/jobs/x")
    api.client.get("/no/such/path")
    found = figures(api)
    assert found['tightrope_jobs{state="queued"}'] == 1
    assert found['tightrope_jobs{state="succeeded"}'] == 1
    assert found['tightrope_queue_jobs{queue="bounds"}'] == 1
    assert found['tightrope_queue_oldest_seconds{queue="bounds"}'] > 0
    assert found['tightrope_queue_jobs{queue="exact"}'] == 0
    assert found['tightrope_workers{queue="exact"}'] == 1
    name = "tightrope_http_request_duration_seconds_count"
    for labels in (
        'method="GET",route="/v1/jobs/{job_id}",status="404"',
        'method="(any)",route="(none)",status="404"',
    ):
        series = f"{name}{{{labels}}}"
        assert found[series] == before.get(series, 0) + 1


def test_every_family_is_declared_and_every_series_belongs_to_one(api: Api) -> None:
    text = api.client.get("/metrics").text
    assert re.findall(r"^# TYPE (\S+)", text, re.MULTILINE) == list(FAMILIES)
    assert 'le="+Inf"' in text


def test_what_workers_counted_is_told_by_every_process(api: Api) -> None:
    meters = Meters()
    meters.count("tightrope_verdicts_total", verdict='odd"one')
    meters.flush(Counters(api.world.database))
    assert figures(api)['tightrope_verdicts_total{verdict="odd\\"one"}'] == 1


def test_counts_and_times_add_up() -> None:
    metrics = Metrics()
    metrics.observe("GET", "/x", status=200, seconds=0.25)
    metrics.observe("GET", "/x", status=200, seconds=0.5)
    text = render(metrics.values().items())
    assert '_count{method="GET",route="/x",status="200"} 2' in text
    assert '_sum{method="GET",route="/x",status="200"} 0.75' in text
    assert '_bucket{method="GET",route="/x",status="200",le="0.25"} 1' in text


def test_held_requests_do_not_count_as_slow(api: Api) -> None:
    row = api.world.certify()
    series = (
        'tightrope_http_request_duration_seconds_sum{method="GET",'
        'route="/v1/comparisons/{comparison_id}",status="200"}'
    )
    row_id = api.world.compare().id
    before = figures(api).get(series, 0.0)
    began = time.monotonic()
    api.client.get(f"/v1/comparisons/{row_id}", params={"wait": 1})
    held = time.monotonic() - began
    assert held >= 1
    assert figures(api)[series] - before <= held - 0.9
    assert api.world.jobs.get(row.id).state == "queued"


def test_requests_have_ids(api: Api) -> None:
    given = api.client.get("/healthz", headers={"X-Request-ID": "build-4711/3"})
    assert given.headers["X-Request-ID"] == "build-4711/3"
    odd = api.client.get("/healthz", headers={"X-Request-ID": 'x"}, {"'})
    assert re.fullmatch("req_[0-9a-f]{24}", odd.headers["X-Request-ID"])
    other = api.client.get("/no/such/path")
    assert other.headers["X-Request-ID"] != odd.headers["X-Request-ID"]


def test_jobs_know_the_request_they_come_from(api: Api) -> None:
    body = {"network_id": api.world.network, "dataset_id": api.world.dataset, "epsilon": 0.1}
    made = api.client.post("/v1/certifications", json=body, headers={"X-Request-ID": "build-1"})
    assert api.world.jobs.get(made.json()["id"]).context == {"request_id": "build-1"}


def test_requests_are_logged_under_their_id(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="api.access"):
        api.client.get("/healthz")
        api.client.post("/v1/jobs/job_x/cancel", headers={"X-Request-ID": "build-2"})
        wait_until(lambda: any(one.name == "api.access" for one in caplog.records))
    (record,) = [one for one in caplog.records if one.name == "api.access"]
    assert vars(record)["route"] == "/v1/jobs/{job_id}/cancel"
    assert vars(record)["status"] == 404


def test_the_page_at_the_root(api: Api) -> None:
    assert "No network is certified yet" in api.client.get("/").text
    finished, queued = api.world.finish(), api.world.certify().id
    training = api.world.train(name="<b>").id
    page = api.client.get("/").text
    assert f'"/trainings/{training}"' in page
    assert "&lt;b&gt;" in page
    assert "No network is certified yet" not in page
    assert f'"/certifications/{finished}"' in page
    assert f'"/certifications/{queued}"' in page


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
    monkeypatch.setattr("api.__main__.configure", lambda *_: None)
    get_settings.cache_clear()
    assert serve_api(["--host", "0.0.0.0"]) == 2  # noqa: S104
    get_settings.cache_clear()
    assert "ALLOW_UNAUTHENTICATED" in caplog.text
