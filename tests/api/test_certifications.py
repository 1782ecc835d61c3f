"""Certifications over HTTP."""

from __future__ import annotations

import csv
import io
import threading
import time
from typing import Any

import pytest

from store.states import JobState
from tests.api.checks import problem
from tests.helpers.api import Api
from tests.helpers.service import item


def body(api: Api, **changes: object) -> dict[str, Any]:
    plain = {
        "network_id": api.world.network,
        "dataset_id": api.world.dataset,
        "epsilon": 0.1,
        "methods": ["crown"],
    }
    return {**plain, **changes}


def test_a_certification_is_accepted_and_announced(api: Api) -> None:
    response = api.client.post("/v1/certifications", json=body(api))
    assert response.status_code == 202, response.text
    made = response.json()
    assert made["state"] == "queued"
    assert made["progress"] == {"done": 0, "total": 5, "parked": 0, "seconds_left": None}
    assert made["region"] == {"norm": "inf", "epsilon": 0.1, "valid_range": [0.0, 1.0]}
    assert made["settings"]["indices"] == [0, 1, 2, 3, 4]
    assert made["settings"]["timeout_seconds"] == 60
    assert made["summary"] is None
    assert not made["cached"]
    assert response.headers["location"] == f"/v1/certifications/{made['id']}"
    assert api.client.get(response.headers["location"]).json() == made
    assert api.queue.sent == [(made["id"], "bounds")]
    job = api.client.get(f"/v1/jobs/{made['id']}").json()
    assert job["kind"] == "certification"
    assert job["url"] == response.headers["location"]
    assert job["progress"] == made["progress"]


def test_exact_goes_to_its_own_queue(api: Api) -> None:
    made = api.client.post("/v1/certifications", json=body(api, methods=["ibp", "exact"])).json()
    assert api.queue.sent == [(made["id"], "exact")]


@pytest.mark.parametrize(
    ("changes", "indices"),
    [
        ({"count": 2}, [0, 1]),
        ({"count": 99}, [0, 1, 2, 3, 4]),
        ({"indices": [4, 0]}, [0, 4]),
        ({"targets": [0, 2], "valid_range": None, "seed": 7}, [0, 1, 2, 3, 4]),
        ({"normalization": {"mean": [0.5], "std": [0.25]}, "epsilon": 0}, [0, 1, 2, 3, 4]),
    ],
)
def test_settings_are_kept(api: Api, changes: dict[str, Any], indices: list[int]) -> None:
    response = api.client.post("/v1/certifications", json=body(api, **changes))
    assert response.status_code == 202, response.text
    settings = response.json()["settings"]
    assert settings["indices"] == indices
    for name in ("targets", "seed", "normalization"):
        assert settings[name] == changes.get(name, settings[name])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epsilon": -0.1}, "body.epsilon"),
        ({"epsilon": "0.1"}, "body.epsilon"),
        ({"epsilon": True}, "body.epsilon"),
        ({"epsilon": None}, "body.epsilon"),
        ({"timeout_seconds": 0}, "body.timeout_seconds"),
        ({"timeout_seconds": -1}, "body.timeout_seconds"),
        ({"methods": []}, "body.methods"),
        ({"methods": ["magic"]}, "body.methods.0"),
        ({"methods": ["ibp", "ibp"]}, "methods must not repeat"),
        ({"count": 0}, "body.count"),
        ({"count": 1, "indices": [0]}, "count or indices, not both"),
        ({"indices": []}, "body.indices"),
        ({"indices": [5]}, "5 is out of range: the data set has 5 inputs"),
        ({"indices": [-1]}, "body.indices.0"),
        ({"targets": [3]}, "3 is out of range: the network has 3 outputs"),
        ({"valid_range": [1, 0]}, "low < high"),
        ({"valid_range": [0.25, 1]}, "values from 0 to 1, outside the valid range [0.25, 1]"),
        ({"norm": "3"}, "body.norm"),
        ({"normalization": {"mean": [0], "std": [0]}}, "body.normalization.std.0"),
        ({"normalization": {"mean": [0, 1], "std": [1]}}, "2 means and 1 stds"),
        ({"network_id": "net_1"}, "body.network_id"),
        ({"network_id": "net_00000000000000000000000000"}, "there is no network"),
        ({"dataset_id": "dat_00000000000000000000000000"}, "there is no data set"),
        ({"epsilom": 0.1}, "body.epsilom"),
    ],
)
def test_bad_settings_are_refused(api: Api, changes: dict[str, Any], words: str) -> None:
    document = problem(api.client.post("/v1/certifications", json=body(api, **changes)), 422, words)
    assert document["errors"]
    assert api.client.get("/v1/certifications").json()["items"] == []
    assert api.queue.sent == []


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_epsilon_is_a_finite_number(api: Api, number: str) -> None:
    text = (
        f'{{"network_id": "{api.world.network}", "dataset_id": "{api.world.dataset}", '
        f'"epsilon": {number}}}'
    )
    response = api.client.post(
        "/v1/certifications", content=text, headers={"content-type": "application/json"}
    )
    problem(response, 422, "body.epsilon")


@pytest.mark.parametrize(
    ("details", "words"),
    [
        ({"input_shape": [28, 28]}, "shape (28, 28), the network takes (1, 4)"),
        ({"classes": 4}, "label 3 is out of range: the network has 3 outputs"),
        ({"maximum": 255.0}, "outside the valid range"),
    ],
)
def test_a_data_set_that_does_not_fit_is_refused(
    api: Api, details: dict[str, Any], words: str
) -> None:
    api.inspector.details["dataset"].update(details)
    dataset = api.client.post("/v1/datasets", files={"file": ("other.npz", b"other")}).json()["id"]
    response = api.client.post("/v1/certifications", json=body(api, dataset_id=dataset))
    problem(response, 422, words)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded"])
def test_other_media_types_are_refused(api: Api, kind: str) -> None:
    headers = {"content-type": kind}
    response = api.client.post("/v1/certifications", content=b"{}", headers=headers)
    problem(response, 415, kind, "application/json")


def test_broken_json_is_refused(api: Api) -> None:
    headers = {"content-type": "application/json"}
    for content in (b"{", b"\xff", b""):
        response = api.client.post("/v1/certifications", content=content, headers=headers)
        assert response.status_code in (400, 422)
        words = "send JSON in UTF-8" if response.status_code == 400 else "body"
        problem(response, response.status_code, words)


def test_an_equal_question_is_answered_at_once(api: Api) -> None:
    first = api.client.post("/v1/certifications", json=body(api, count=2)).json()
    finish(api, first["id"], [item(0), item(1, "falsified")])
    second = api.client.post("/v1/certifications", json=body(api, indices=[1, 0])).json()
    assert second["id"] != first["id"]
    assert (second["state"], second["cached"]) == ("succeeded", True)
    assert (
        second["summary"] == api.client.get(f"/v1/certifications/{first['id']}").json()["summary"]
    )
    fresh = api.client.post("/v1/certifications", json=body(api, count=2, reuse=False)).json()
    assert (fresh["state"], fresh["cached"]) == ("queued", False)
    assert [sent for sent, _ in api.queue.sent] == [first["id"], fresh["id"]]


def test_a_key_replays_a_request(api: Api) -> None:
    headers = {"Idempotency-Key": "k-1"}
    first = api.client.post("/v1/certifications", json=body(api), headers=headers)
    again = api.client.post("/v1/certifications", json=body(api), headers=headers)
    assert first.status_code == again.status_code == 202
    assert first.json()["id"] == again.json()["id"]
    assert again.headers["idempotency-replayed"] == "true"
    assert len(api.queue.sent) == 1
    other = api.client.post("/v1/certifications", json=body(api, count=1), headers=headers)
    problem(other, 422, "k-1")
    odd = {"Idempotency-Key": "has spaces"}
    problem(api.client.post("/v1/certifications", json=body(api), headers=odd), 422, "header")


def test_a_broker_that_is_away_delays_but_does_not_lose(api: Api) -> None:
    api.queue.broken = True
    response = api.client.post("/v1/certifications", json=body(api))
    assert response.status_code == 202
    job_id = response.json()["id"]
    assert api.world.jobs.due(resend_seconds=60) == [(job_id, "bounds")]


def finish(api: Api, certification: str, items: list[dict[str, Any]]) -> None:
    world = api.world
    assert world.jobs.claim(certification, "w")
    for entry in items:
        world.certifications.add_item(certification, "w", entry)
    summary = {
        "count": len(items),
        "clean_accuracy": 1.0,
        "empirical_accuracy": 0.5,
        "certified_accuracy": {"crown": 0.5},
        "certified_gap": 0.0,
        "mean_gap": {"crown": None},
        "falsified": 1,
        "unknown": 0,
        "seconds": 0.5,
    }
    world.certifications.succeed(certification, "w", summary)


@pytest.fixture
def finished(api: Api) -> str:
    made: str = api.client.post("/v1/certifications", json=body(api, count=3)).json()["id"]
    example = {"x": [0.1, 0.2, 0.3, 0.4], "y": [1.0, 2.0, 0.0]}
    bad = item(1, "falsified", counterexample=example, input=[0.1, 0.2, 0.3, 0.5])
    finish(api, made, [item(0), bad, item(2, lower={"crown": None})])
    return made


def test_answers_are_paged_and_filtered(api: Api, finished: str) -> None:
    url = f"/v1/certifications/{finished}/items"
    page = api.client.get(url, params={"limit": 2}).json()
    assert [entry["index"] for entry in page["items"]] == [0, 1]
    rest = api.client.get(url, params={"limit": 2, "cursor": page["next_cursor"]}).json()
    assert [entry["index"] for entry in rest["items"]] == [2]
    assert rest["next_cursor"] is None
    bad = api.client.get(url, params={"verdict": "falsified"}).json()["items"]
    assert [entry["index"] for entry in bad] == [1]
    assert bad[0]["counterexample"]["y"] == [1.0, 2.0, 0.0]
    assert "input" not in bad[0]
    problem(api.client.get(url, params={"verdict": "sat"}), 422, "query.verdict")
    problem(api.client.get(url, params={"limit": 0}), 422, "query.limit")
    problem(api.client.get(url, params={"cursor": "%"}), 422, "cursor")


def test_answers_as_csv(api: Api, finished: str) -> None:
    response = api.client.get(f"/v1/certifications/{finished}/items.csv")
    assert response.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert [row["verdict"] for row in rows] == ["verified", "falsified", "verified"]
    assert rows[0]["lower_crown"] == "0.5"


def test_reports(api: Api, finished: str) -> None:
    report = api.client.get(f"/v1/certifications/{finished}/report").json()
    assert list(report) == ["network", "region", "settings", "summary", "items"]
    assert report["network"]["name"] == "n.onnx"
    assert report["summary"]["count"] == 3
    page = api.client.get(f"/v1/certifications/{finished}/report.html")
    assert page.headers["content-type"].startswith("text/html")
    assert page.text.startswith("<!doctype html>")
    assert "n.onnx" in page.text


def test_reports_wait_for_the_end(api: Api) -> None:
    made = api.client.post("/v1/certifications", json=body(api)).json()["id"]
    for path in ("report", "report.html"):
        problem(api.client.get(f"/v1/certifications/{made}/{path}"), 409, "queued")
    assert api.client.get(f"/v1/certifications/{made}/items").json()["items"] == []


def test_cancel_and_delete(api: Api) -> None:
    made = api.client.post("/v1/certifications", json=body(api)).json()["id"]
    url = f"/v1/certifications/{made}"
    problem(api.client.delete(url), 409, "cancel it")
    cancelled = api.client.post(f"{url}/cancel")
    assert cancelled.status_code == 202
    assert cancelled.json()["state"] == "cancelled"
    assert api.client.post(f"/v1/jobs/{made}/cancel").json()["state"] == "cancelled"
    assert api.client.delete(url).status_code == 204
    problem(api.client.get(url), 404)
    problem(api.client.get(f"/v1/jobs/{made}"), 404)


def test_a_running_one_is_asked_to_stop(api: Api) -> None:
    made = api.client.post("/v1/certifications", json=body(api)).json()["id"]
    api.world.jobs.claim(made, "w")
    view = api.client.post(f"/v1/jobs/{made}/cancel").json()
    assert (view["state"], view["cancel_requested"]) == ("running", True)


def test_a_finished_one_cannot_be_cancelled(api: Api, finished: str) -> None:
    problem(api.client.post(f"/v1/certifications/{finished}/cancel"), 409, "already succeeded")


def test_a_failure_says_why(api: Api) -> None:
    made = api.client.post("/v1/certifications", json=body(api)).json()["id"]
    api.world.jobs.claim(made, "w")
    error = {"type": "DataError", "message": "input 3 holds NaN"}
    api.world.jobs.finish(made, "w", JobState.FAILED, error=error)
    view = api.client.get(f"/v1/certifications/{made}").json()
    assert view["state"] == "failed"
    assert view["error"]["type"] == "urn:tightrope:problem:bad-dataset"
    assert view["error"]["detail"] == "input 3 holds NaN"
    assert view["error"]["status"] == 422


def test_waiting_ends_when_the_state_changes(api: Api) -> None:
    made = api.client.post("/v1/certifications", json=body(api)).json()["id"]
    answers: list[dict[str, Any]] = []

    def wait(path: str) -> None:
        answers.append(api.client.get(f"{path}/{made}", params={"wait": 30}).json())

    threads = [
        threading.Thread(target=wait, args=(path,)) for path in ("/v1/certifications", "/v1/jobs")
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    assert answers == []
    api.world.jobs.claim(made, "w")
    for thread in threads:
        thread.join()
    assert [answer["state"] for answer in answers] == ["running", "running"]


def test_waiting_for_what_is_final_returns_at_once(api: Api, finished: str) -> None:
    response = api.client.get(f"/v1/certifications/{finished}", params={"wait": 60}, timeout=30)
    assert response.json()["state"] == "succeeded"


@pytest.mark.parametrize("wait", ["-1", "61", "nan", "soon"])
def test_waiting_has_limits(api: Api, finished: str, wait: str) -> None:
    problem(api.client.get(f"/v1/jobs/{finished}", params={"wait": wait}), 422, "query.wait")


def test_lists_are_filtered_and_paged(api: Api, finished: str) -> None:
    queued = api.client.post("/v1/certifications", json=body(api, epsilon=0.2)).json()["id"]
    get = api.client.get
    assert [c["id"] for c in get("/v1/certifications").json()["items"]] == [queued, finished]
    only = get("/v1/certifications", params={"state": "succeeded"}).json()["items"]
    assert [entry["id"] for entry in only] == [finished]
    none = get("/v1/certifications", params={"network": "net_0"}).json()["items"]
    assert none == []
    mine = get("/v1/certifications", params={"network": api.world.network}).json()["items"]
    assert len(mine) == 2
    page = get("/v1/certifications", params={"limit": 1}).json()
    rest = get("/v1/certifications", params={"limit": 1, "cursor": page["next_cursor"]}).json()
    assert [entry["id"] for entry in rest["items"]] == [finished]
    jobs = get("/v1/jobs", params={"state": "queued"}).json()["items"]
    assert [job["id"] for job in jobs] == [queued]
    problem(get("/v1/jobs", params={"state": "done"}), 422, "query.state")


def test_a_request_says_its_priority(api: Api) -> None:
    made = api.client.post("/v1/certifications", json=body(api, priority=7)).json()
    assert made["priority"] == 7
    assert api.world.jobs.get(made["id"]).priority == 7
    refused = api.client.post("/v1/certifications", json=body(api, priority=11))
    assert refused.status_code == 422
    # It changes when something is computed, not what comes out.
    row = api.world.certifications.get(made["id"])
    assert "priority" not in row.settings


def test_known_answers_are_summed_up_at_once(api: Api) -> None:
    first = api.client.post("/v1/certifications", json=body(api)).json()["id"]
    finish(api, first, [item(index) for index in range(5)])
    some = api.client.post("/v1/certifications", json=body(api, indices=[1, 3])).json()
    assert (some["state"], some["cached"]) == ("succeeded", True)
    assert some["progress"]["done"] == 2
    assert some["summary"]["certified_accuracy"] == {"crown": 1.0}
    assert api.queue.sent == [(first, "bounds")]
    items = api.client.get(f"/v1/certifications/{some['id']}/items").json()["items"]
    assert [entry["index"] for entry in items] == [1, 3]
