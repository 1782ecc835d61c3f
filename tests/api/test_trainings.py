"""Trainings over HTTP."""

from __future__ import annotations

import csv
import io
import threading
import time
from typing import Any

import pytest
from sqlalchemy import update

from store.job_tables import JobRow
from store.states import JobState
from store.trainings import Metric, NewArtifact
from tests.api.checks import problem
from tests.helpers.api import Api
from tests.helpers.trainers import event
from tests.helpers.training_results import epoch

URL = "/v1/trainings"
NOWHERE = "job_00000000000000000000000000"


def body(api: Api, **changes: object) -> dict[str, Any]:
    plain = {
        "network_id": api.world.network,
        "dataset_id": api.world.dataset,
        "epsilon": 0.1,
        "epochs": 4,
        "batch_size": 2,
        "selection": {"share": 0.2},
    }
    made = {**plain, **changes}
    return {name: value for name, value in made.items() if value is not None}


def start(api: Api, **changes: object) -> dict[str, Any]:
    response = api.client.post(URL, json=body(api, **changes))
    assert response.status_code == 202, response.text
    made: dict[str, Any] = response.json()
    return made


def test_a_training_is_accepted_and_announced(api: Api) -> None:
    response = api.client.post(URL, json=body(api, slack_weight=0.5, baseline=True))
    assert response.status_code == 202, response.text
    made = response.json()
    assert made["state"] == "queued"
    # 4 of 5 inputs in batches of 2, for 4 epochs, in both arms.
    assert made["progress"] == {"done": 0, "total": 2 * 4 * 2, "parked": 0, "seconds_left": None}
    assert made["network"]["name"] == "n.onnx"
    assert made["dataset"]["name"] == "d.npz"
    assert made["settings"]["optimiser"]["learning_rate"] == 5e-4
    assert made["settings"]["baseline"]
    assert (made["arms"], made["comparison_id"], made["validation"]) == ({}, None, None)
    assert response.headers["location"] == f"{URL}/{made['id']}"
    assert api.client.get(response.headers["location"]).json() == made
    assert api.queue.sent == [(made["id"], "bounds")]
    job = api.client.get(f"/v1/jobs/{made['id']}").json()
    assert (job["kind"], job["url"]) == ("training", response.headers["location"])


def test_an_architecture_takes_its_shape_from_the_data(api: Api) -> None:
    made = start(api, network_id=None, architecture="mlp:20,10", initialisation="ibp")
    assert made["network"] is None
    assert made["settings"]["architecture"] == "mlp:20,10"
    assert made["settings"]["initialisation"] == "ibp"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epsilon": -1}, "body.epsilon"),
        ({"epsilon": "0.1"}, "body.epsilon"),
        ({"epochs": 0}, "body.epochs"),
        ({"epochs": 20_000}, "this server trains at most 10000"),
        ({"method": "magic"}, "body.method"),
        ({"feasibility_weight": -0.1}, "body.feasibility_weight"),
        ({"feasibility_form": "sideways"}, "body.feasibility_form"),
        ({"slack_weight": -0.1}, "body.slack_weight"),
        ({"batch_size": 0}, "body.batch_size"),
        ({"seed": -1}, "body.seed"),
        ({"valid_range": [1, 0]}, "low < high"),
        ({"valid_range": [0.25, 1]}, "outside the valid range"),
        ({"optimiser": {"kind": "magic"}}, "body.optimiser.kind"),
        ({"optimiser": {"learning_rate": 0}}, "body.optimiser.learning_rate"),
        ({"optimiser": {"milestones": [1.5]}}, "body.optimiser.milestones.0"),
        ({"optimiser": {"learning_rat": 1}}, "body.optimiser.learning_rat"),
        ({"ramp": {"warm_up": 0.6, "ramp": 0.6}}, "at most 1 is left"),
        ({"adversary": {"steps": 0}}, "body.adversary.steps"),
        ({"augmentation": {"crop": -1}}, "body.augmentation.crop"),
        ({"selection": {"share": 1.0}}, "body.selection.share"),
        ({"selection": {"share": 0.95}}, "leave none to train on"),
        ({"selection": {"certified_by": "exact"}}, "body.selection.certified_by"),
        ({"comparison": {"methods": ["ibp", "ibp"]}}, "methods must not repeat"),
        ({"baseline": True}, "both arms would be the same"),
        ({"network_id": None}, "give network_id or architecture"),
        ({"architecture": "mlp:8"}, "give network_id or architecture"),
        ({"network_id": None, "architecture": "mlp:"}, "body.architecture"),
        ({"network_id": None, "architecture": "cnn-small"}, "takes images of shape"),
        ({"network_id": None, "architecture": "mlp:90000,90000"}, "at most 50000000"),
        ({"initialisation": "ibp"}, "initialisation is of an architecture"),
        ({"name": "a\tb"}, "body.name"),
        ({"normalization": {"mean": [0, 1], "std": [1]}}, "2 means and 1 stds"),
        ({"network_id": "net_00000000000000000000000000"}, "there is no network"),
        ({"dataset_id": "dat_00000000000000000000000000"}, "there is no data set"),
        ({"validation_id": "dat_00000000000000000000000000"}, "there is no data set"),
        ({"epochz": 3}, "body.epochz"),
    ],
)
def test_bad_settings_are_refused(api: Api, changes: dict[str, Any], words: str) -> None:
    document = problem(api.client.post(URL, json=body(api, **changes)), 422, words)
    assert document["errors"]
    assert api.client.get(URL).json()["items"] == []
    assert api.queue.sent == []


@pytest.mark.parametrize(
    ("changes", "details", "words"),
    [
        ({}, {"input_shape": [28, 28]}, "the network takes (1, 4)"),
        ({}, {"classes": 4}, "the network has 3 outputs"),
        ({}, {"maximum": 2.0}, "outside the valid range"),
        ({}, {"count": 2_000_000}, "inputs to train on; this server trains at most 1000000"),
        ({"network_id": None, "architecture": "mlp:8"}, {"classes": 1}, "two classes"),
    ],
)
def test_a_data_set_that_does_not_fit_is_refused(
    api: Api, changes: dict[str, Any], details: dict[str, Any], words: str
) -> None:
    dataset = upload(api, details)
    problem(api.client.post(URL, json=body(api, dataset_id=dataset, **changes)), 422, words)


@pytest.mark.parametrize(
    ("changes", "details", "words"),
    [
        ({}, {"input_shape": [28, 28]}, "body.validation_id: its inputs have shape (28, 28)"),
        ({"network_id": None, "architecture": "mlp:8"}, {"classes": 5}, "5 classes"),
    ],
)
def test_validation_data_that_do_not_fit_are_refused(
    api: Api, changes: dict[str, Any], details: dict[str, Any], words: str
) -> None:
    asked = body(api, validation_id=upload(api, details), **changes)
    problem(api.client.post(URL, json=asked), 422, words)


def upload(api: Api, details: dict[str, Any]) -> str:
    api.inspector.details["dataset"].update(details)
    made = api.client.post("/v1/datasets", files={"file": ("other.npz", b"other")}).json()
    identifier: str = made["id"]
    return identifier


def test_a_network_without_parameters_is_refused(api: Api) -> None:
    api.inspector.details["network"].update(parameters=0)
    empty = api.client.post("/v1/networks", files={"file": ("e.onnx", b"empty")}).json()["id"]
    document = problem(api.client.post(URL, json=body(api, network_id=empty)), 422, "no parameters")
    assert document["type"] == "urn:tightrope:problem:untrainable"


def test_a_key_replays_a_request(api: Api) -> None:
    headers = {"Idempotency-Key": "t-1"}
    first = api.client.post(URL, json=body(api), headers=headers)
    again = api.client.post(URL, json=body(api), headers=headers)
    assert first.json()["id"] == again.json()["id"]
    assert again.headers["idempotency-replayed"] == "true"
    assert len(api.queue.sent) == 1
    problem(api.client.post(URL, json=body(api, seed=1), headers=headers), 422, "t-1")


def test_other_media_types_are_refused(api: Api) -> None:
    response = api.client.post(URL, content=b"{}", headers={"content-type": "text/plain"})
    problem(response, 415, "application/json")


def note(api: Api, training: str, events: list[dict[str, Any]], arm: str = "candidate") -> None:
    clean = [{**entry, "loss": {"total": 1.0, "robust": None}} for entry in events]
    metrics = [Metric(arm, 2 * entry["step"], {"arm": arm, **entry}) for entry in clean]
    api.world.trainings.note(training, "w", metrics, done=events[-1]["step"], total=12)


def test_metrics_are_followed_as_they_come(api: Api) -> None:
    made = start(api)["id"]
    url = f"{URL}/{made}/metrics"
    assert api.client.get(url).json() == {"items": [], "next_after": -1, "final": False}
    api.world.jobs.claim(made, "w")
    note(api, made, [event(1), event(2), event(3, ends_epoch=True)])
    page = api.client.get(url, params={"limit": 2}).json()
    assert [entry["step"] for entry in page["items"]] == [1, 2]
    assert (page["next_after"], page["final"]) == (1, False)
    assert page["items"][0]["loss"] == {"total": 1.0, "robust": None}
    rest = api.client.get(url, params={"after": 1}).json()
    assert [entry["index"] for entry in rest["items"]] == [2]
    assert rest["items"][0]["metrics"]["certified_accuracy"] == 0.5
    note(api, made, [event(1)], arm="baseline")
    later = api.client.get(url, params={"after": 2, "arm": "baseline"}).json()
    assert [entry["arm"] for entry in later["items"]] == ["baseline"]
    api.world.jobs.finish(made, "w", JobState.CANCELLED)
    assert not api.client.get(url, params={"limit": 1}).json()["final"]
    assert api.client.get(url, params={"after": 3}).json() == {
        "items": [],
        "next_after": 3,
        "final": True,
    }
    problem(api.client.get(url, params={"after": -2}), 422, "query.after")
    problem(api.client.get(url, params={"arm": "both"}), 422, "query.arm")
    problem(api.client.get(f"{URL}/{NOWHERE}/metrics"), 404)


def test_time_left_is_told_while_it_runs(api: Api) -> None:
    made = start(api)["id"]
    api.world.jobs.claim(made, "w")
    assert api.client.get(f"{URL}/{made}").json()["progress"]["seconds_left"] is None
    note(api, made, [event(4)])
    with api.world.database.write() as session:
        ago = JobRow.claimed_at
        claimed = api.world.jobs.get(made).claimed_at
        assert claimed is not None
        session.execute(update(JobRow).values({ago: claimed.replace(year=claimed.year - 1)}))
    left = api.client.get(f"{URL}/{made}").json()["progress"]["seconds_left"]
    # 4 of 12 steps took a year.
    assert left == pytest.approx(2 * 365.25 * 86_400, rel=0.01)


@pytest.fixture
def finished(api: Api) -> str:
    made: str = start(api, slack_weight=0.5, baseline=True)["id"]
    api.world.jobs.claim(made, "w")
    for arm in ("candidate", "baseline"):
        note(api, made, [event(1), event(3, ends_epoch=True), event(6, ends_epoch=True)], arm)
        result = {
            "network_id": api.world.network,
            "validation_indices": [1],
            "best_epoch": 2,
            "epochs": 2,
            "stopped": "completed",
            "seconds": 1.5,
            "best": epoch(2),
            "record": {"software": {"torch": "2"}},
        }
        prefix = "" if arm == "candidate" else "baseline-"
        files = [
            NewArtifact(f"{prefix}network.onnx", "application/octet-stream", b"onnx"),
            NewArtifact(f"{prefix}metrics.csv", "text/csv", b"a\n"),
            NewArtifact(f"{prefix}settings.json", "application/json", b"{}"),
        ]
        api.world.trainings.finish_arm(made, "w", arm=arm, result=result, artifacts=files)
    api.world.trainings.succeed(made, "w", comparison_id=NOWHERE)
    return made


def test_results_name_networks_and_comparison(api: Api, finished: str) -> None:
    view = api.client.get(f"{URL}/{finished}").json()
    assert view["state"] == "succeeded"
    assert view["comparison_id"] == NOWHERE
    assert set(view["arms"]) == {"candidate", "baseline"}
    arm = view["arms"]["candidate"]
    assert arm["best"]["certified_accuracy"] == 0.75
    assert arm["record"] == {"software": {"torch": "2"}}
    assert api.client.get(f"/v1/networks/{arm['network_id']}").status_code == 200


def test_files_are_listed_and_downloaded(api: Api, finished: str) -> None:
    items = api.client.get(f"{URL}/{finished}/artifacts").json()["items"]
    assert len(items) == 6
    types = {}
    for entry in items:
        response = api.client.get(entry["url"])
        assert response.status_code == 200
        assert len(response.content) == entry["size_bytes"]
        assert entry["name"] in response.headers["content-disposition"]
        types[entry["name"]] = response.headers["content-type"].partition(";")[0]
    assert types["network.onnx"] == "application/octet-stream"
    assert types["baseline-metrics.csv"] == "text/csv"
    assert types["settings.json"] == "application/json"
    for name in ("network", "..%2Fserve.lock", "%00"):
        problem(api.client.get(f"{URL}/{finished}/artifacts/{name}"), 404)
    problem(api.client.get(f"{URL}/{NOWHERE}/artifacts"), 404)


def test_reports(api: Api, finished: str) -> None:
    report = api.client.get(f"{URL}/{finished}/report").json()
    assert list(report["arms"]) == ["candidate", "baseline"]
    assert len(report["arms"]["candidate"]["history"]) == 2
    page = api.client.get(f"{URL}/{finished}/report.html")
    assert page.headers["content-type"].startswith("text/html")
    assert "n.onnx" in page.text
    assert page.text.count("<svg") == 5
    table = api.client.get(f"{URL}/{finished}/metrics.csv")
    assert table.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert [row["arm"] for row in rows] == ["candidate"] * 3 + ["baseline"] * 3


def test_reports_are_there_while_it_runs(api: Api) -> None:
    made = start(api, name="mine")["id"]
    for path in ("report", "report.html", "metrics.csv", "artifacts"):
        assert api.client.get(f"{URL}/{made}/{path}").status_code == 200, path
        problem(api.client.get(f"{URL}/{NOWHERE}/{path}"), 404)
    assert "mine" in api.client.get(f"{URL}/{made}/report.html").text


def test_lists_are_paged_and_filtered(api: Api, finished: str) -> None:
    second = start(api, network_id=None, architecture="mlp:8")["id"]
    page = api.client.get(URL, params={"limit": 1}).json()
    assert [entry["id"] for entry in page["items"]] == [second]
    rest = api.client.get(URL, params={"cursor": page["next_cursor"]}).json()
    assert [entry["id"] for entry in rest["items"]] == [finished]
    queued = api.client.get(URL, params={"state": "queued"}).json()["items"]
    assert [entry["id"] for entry in queued] == [second]
    network = api.client.get(URL, params={"network": api.world.network}).json()["items"]
    assert [entry["id"] for entry in network] == [finished]


def test_cancel_and_delete(api: Api) -> None:
    made = start(api)["id"]
    url = f"{URL}/{made}"
    problem(api.client.delete(url), 409, "cancel it")
    problem(api.client.delete(f"/v1/networks/{api.world.network}"), 409, "training")
    assert api.client.post(f"{url}/cancel").json()["state"] == "cancelled"
    assert api.client.delete(url).status_code == 204
    problem(api.client.get(url), 404)
    problem(api.client.post(f"{url}/cancel"), 404)


def test_a_running_one_is_asked_to_stop(api: Api) -> None:
    made = start(api)["id"]
    api.world.jobs.claim(made, "w")
    view = api.client.post(f"{URL}/{made}/cancel").json()
    assert (view["state"], view["cancel_requested"]) == ("running", True)


def test_a_finished_one_cannot_be_cancelled(api: Api, finished: str) -> None:
    problem(api.client.post(f"{URL}/{finished}/cancel"), 409, "already succeeded")


def test_a_failure_says_why(api: Api) -> None:
    made = start(api)["id"]
    api.world.jobs.claim(made, "w")
    error = {"type": "DivergedError", "message": "the loss is not a finite number any more"}
    api.world.jobs.finish(made, "w", JobState.FAILED, error=error)
    view = api.client.get(f"{URL}/{made}").json()
    assert view["state"] == "failed"
    assert view["error"]["type"] == "urn:tightrope:problem:diverged"
    assert "finite number" in view["error"]["detail"]


def test_waiting_ends_when_the_state_changes(api: Api) -> None:
    made = start(api)["id"]
    answers: list[dict[str, Any]] = []

    def wait() -> None:
        answers.append(api.client.get(f"{URL}/{made}", params={"wait": 30}).json())

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.3)
    assert answers == []
    api.world.jobs.claim(made, "w")
    thread.join()
    assert answers[0]["state"] == "running"
