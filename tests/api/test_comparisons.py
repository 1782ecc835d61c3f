"""The resource `comparisons`: asked for, followed, cancelled, read, deleted."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from reports.comparison import comparison_of
from reports.numbers import strict
from tests.api.checks import problem
from tests.helpers.api import Api
from tests.helpers.engines import LAYERS
from tests.helpers.service import NETWORK_DETAILS, World, comparing, item

ABSENT = "job_00000000000000000000000000"


def upload(world: World, content: bytes, name: str, **details: object) -> str:
    return world.upload(world.networks, content, name, {**NETWORK_DETAILS, **details})


def body(api: Api, **changes: object) -> dict[str, Any]:
    """Return a request for a comparison of two networks."""
    plain = {
        "baseline_id": api.world.network,
        "candidate_ids": [upload(api.world, b"candidate", "m.onnx")],
        "dataset_id": api.world.dataset,
        "epsilon": 0.1,
        "methods": ["crown"],
    }
    return {**plain, **changes}


def finish(world: World) -> str:
    """Store a comparison with all its answers: input 1 is gained, input 2 lost."""
    row = world.compare()
    assert world.jobs.claim(row.id, "somebody")
    verdicts = (("verified", "unknown", "verified"), ("verified", "verified", "unknown"))
    sides = []
    for entry, answers in zip(row.networks, verdicts, strict=True):
        items = [
            item(index, verdict, lower={"crown": 0.5 if verdict == "verified" else -0.5})
            for index, verdict in enumerate(answers)
        ]
        for one in items:
            world.comparisons.add_item(row.id, "somebody", position=entry.position, item=one)
        world.comparisons.set_layers(comparing(row.id, "somebody", entry.position), LAYERS)
        sides.append(
            {
                "network_id": entry.network_id,
                "name": entry.network.name,
                "sha256": entry.network.sha256,
                "items": items,
                "layers": LAYERS,
            }
        )
    result = strict(comparison_of(sides[0], sides[1:], methods=["crown"]))
    assert isinstance(result, dict)
    world.comparisons.succeed(row.id, "somebody", result)
    return row.id


def test_a_request_is_queued_and_followed(api: Api) -> None:
    response = api.client.post("/v1/comparisons", json=body(api, count=2))
    assert response.status_code == 202, response.text
    made = response.json()
    assert response.headers["location"] == f"/v1/comparisons/{made['id']}"
    assert made["state"] == "queued"
    assert made["progress"]["total"] == 4
    assert made["baseline"]["name"] == "n.onnx"
    assert [entry["name"] for entry in made["candidates"]] == ["m.onnx"]
    assert made["settings"]["indices"] == [0, 1]
    assert made["result"] is None
    assert api.queue.sent == [(made["id"], "bounds")]
    assert api.client.get(f"/v1/comparisons/{made['id']}").json() == made
    job = api.client.get(f"/v1/jobs/{made['id']}").json()
    assert (job["kind"], job["url"]) == ("comparison", f"/v1/comparisons/{made['id']}")


def test_exact_comparisons_go_to_the_exact_queue(api: Api) -> None:
    made = api.client.post("/v1/comparisons", json=body(api, methods=["exact"])).json()
    assert api.queue.sent == [(made["id"], "exact")]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"baseline_id": "net_00000000000000000000000000"}, "body.baseline_id: there is no"),
        ({"candidate_ids": ["net_00000000000000000000000000"]}, "candidate_ids.0: there is no"),
        ({"candidate_ids": []}, "body.candidate_ids"),
        ({"candidate_ids": None}, "body.candidate_ids"),
        ({"dataset_id": "dat_00000000000000000000000000"}, "there is no data set"),
        ({"epsilon": -1}, "body.epsilon"),
        ({"methods": ["magic"]}, "body.methods.0"),
        ({"targets": [3]}, "3 is out of range: the network has 3 outputs"),
        ({"indices": [9]}, "9 is out of range: the data set has 5 inputs"),
        ({"candidates": []}, "body.candidates"),
    ],
)
def test_bad_requests_are_refused(api: Api, changes: dict[str, Any], words: str) -> None:
    document = problem(api.client.post("/v1/comparisons", json=body(api, **changes)), 422, words)
    assert document["errors"]
    assert api.client.get("/v1/comparisons").json()["items"] == []
    assert api.queue.sent == []


def test_a_repeated_candidate_is_refused(api: Api) -> None:
    asked = body(api)
    asked["candidate_ids"] *= 2
    problem(api.client.post("/v1/comparisons", json=asked), 422, "must not repeat")


@pytest.mark.parametrize(
    ("details", "words"),
    [
        ({"outputs": 4}, "the network has 4 outputs, the baseline 3"),
        ({"input_shape": [1, 5]}, "the network takes (1, 5)"),
    ],
)
def test_networks_that_do_not_fit_each_other_are_refused(
    api: Api, details: dict[str, Any], words: str
) -> None:
    other = upload(api.world, b"odd", "odd.onnx", **details)
    response = api.client.post("/v1/comparisons", json=body(api, candidate_ids=[other]))
    document = problem(response, 422, words)
    assert document["type"].endswith(":shape")


def test_a_key_replays_a_request(api: Api) -> None:
    headers = {"Idempotency-Key": "once"}
    asked = body(api)
    first = api.client.post("/v1/comparisons", json=asked, headers=headers)
    again = api.client.post("/v1/comparisons", json=asked, headers=headers)
    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(api.queue.sent) == 1
    other = api.client.post("/v1/comparisons", json={**asked, "epsilon": 0.2}, headers=headers)
    problem(other, 422, "used before with a different request")


def test_an_equal_comparison_is_taken_over_whole(api: Api) -> None:
    asked = body(api)
    first = api.client.post("/v1/comparisons", json=asked).json()
    world = api.world
    assert world.jobs.claim(first["id"], "w")
    row = world.comparisons.get(first["id"])
    sides = []
    for entry in row.networks:
        items = [item(index) for index in range(5)]
        for one in items:
            world.comparisons.add_item(row.id, "w", position=entry.position, item=one)
        world.comparisons.set_layers(comparing(row.id, "w", entry.position), None)
        identity = {"network_id": entry.network_id, "name": "old", "sha256": "0"}
        sides.append({**identity, "items": items})
    result = comparison_of(sides[0], sides[1:], methods=["crown"])
    world.comparisons.succeed(row.id, "w", result)
    api.queue.reset()
    again = api.client.post("/v1/comparisons", json=asked).json()
    assert (again["state"], again["cached"]) == ("succeeded", True)
    assert again["progress"] == {"done": 10, "total": 10, "parked": 0, "seconds_left": None}
    assert again["result"]["baseline"]["name"] == "n.onnx"
    assert again["result"]["candidates"][0]["name"] == "m.onnx"
    assert len(api.client.get(f"/v1/comparisons/{again['id']}/items").json()["items"]) == 5
    assert api.queue.sent == []
    fresh = api.client.post("/v1/comparisons", json={**asked, "reuse": False}).json()
    assert (fresh["state"], fresh["progress"]["done"]) == ("queued", 0)


def test_answers_of_certifications_are_taken_over(api: Api) -> None:
    asked = body(api)
    question = {key: asked[key] for key in ("dataset_id", "epsilon", "methods")}
    made = api.client.post(
        "/v1/certifications", json={**question, "network_id": asked["candidate_ids"][0]}
    ).json()
    assert api.world.jobs.claim(made["id"], "w")
    for index in range(5):
        api.world.certifications.add_item(made["id"], "w", item(index))
    api.world.certifications.succeed(made["id"], "w", {"count": 5})
    comparison = api.client.post("/v1/comparisons", json=asked).json()
    assert (comparison["state"], comparison["progress"]["done"]) == ("queued", 5)
    other = api.client.post("/v1/comparisons", json={**asked, "epsilon": 0.2}).json()
    assert other["progress"]["done"] == 0


def test_the_figures_are_those_of_the_report(api: Api) -> None:
    identifier = finish(api.world)
    view = api.client.get(f"/v1/comparisons/{identifier}").json()
    assert view["state"] == "succeeded"
    (candidate,) = view["result"]["candidates"]
    assert (candidate["gained"], candidate["lost"]) == ([1], [2])
    assert candidate["difference"]["crown"]["certified_accuracy"] == 0
    assert candidate["difference"]["crown"]["p_value"] == 1.0
    report = api.client.get(f"/v1/comparisons/{identifier}/report").json()
    assert list(report) == ["region", "settings", "baseline", "candidates"]
    assert report["candidates"] == view["result"]["candidates"]
    page = api.client.get(f"/v1/comparisons/{identifier}/report.html")
    assert page.text.startswith("<!doctype html>")
    assert "m.onnx beside n.onnx" in page.text


def test_the_table_has_the_networks_side_by_side(api: Api) -> None:
    response = api.client.get(f"/v1/comparisons/{finish(api.world)}/items.csv")
    assert response.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert [row["baseline_verdict"] for row in rows] == ["verified", "unknown", "verified"]
    assert [row["candidate1_verdict"] for row in rows] == ["verified", "verified", "unknown"]
    assert [float(row["candidate1_lower_crown"]) for row in rows] == [0.5, 0.5, -0.5]


def test_answers_are_paged_network_by_network(api: Api) -> None:
    identifier = finish(api.world)
    candidate = api.client.get(f"/v1/comparisons/{identifier}").json()["candidates"][0]["id"]
    url = f"/v1/comparisons/{identifier}/items"
    first = api.client.get(url, params={"limit": 2}).json()
    rest = api.client.get(url, params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [entry["index"] for entry in first["items"] + rest["items"]] == [0, 1, 2]
    assert rest["next_cursor"] is None
    found = api.client.get(url, params={"network": candidate, "verdict": "unknown"}).json()
    assert [entry["index"] for entry in found["items"]] == [2]
    problem(api.client.get(url, params={"network": "net_1"}), 404, "network in this comparison")


def test_lists_are_filtered(api: Api) -> None:
    done = finish(api.world)
    waiting = api.world.compare([0]).id
    found = api.client.get("/v1/comparisons").json()["items"]
    assert [entry["id"] for entry in found] == [waiting, done]
    found = api.client.get("/v1/comparisons", params={"state": "succeeded"}).json()["items"]
    assert [entry["id"] for entry in found] == [done]
    candidate = found[0]["candidates"][0]["id"]
    for network, count in ((api.world.network, 2), (candidate, 2), ("net_1", 0)):
        page = api.client.get("/v1/comparisons", params={"network": network}).json()
        assert len(page["items"]) == count
    first = api.client.get("/v1/comparisons", params={"limit": 1}).json()
    rest = api.client.get("/v1/comparisons", params={"cursor": first["next_cursor"]}).json()
    assert [entry["id"] for entry in rest["items"]] == [done]


def test_cancelling_and_deleting(api: Api) -> None:
    identifier = api.world.compare().id
    url = f"/v1/comparisons/{identifier}"
    problem(api.client.delete(url), 409, "cancel it")
    problem(api.client.get(f"{url}/report"), 409, "is queued; its report is there once")
    problem(api.client.delete(f"/v1/networks/{api.world.network}"), 409, "is used by comparison")
    problem(api.client.delete(f"/v1/datasets/{api.world.dataset}"), 409, "is used by comparison")
    assert api.client.post(f"{url}/cancel").json()["state"] == "cancelled"
    assert api.client.post(f"{url}/cancel").status_code == 202
    assert api.client.delete(url).status_code == 204
    problem(api.client.get(url), 404, "there is no comparison")
    assert api.client.delete(f"/v1/networks/{api.world.network}").status_code == 204


def test_what_has_succeeded_cannot_be_cancelled(api: Api) -> None:
    url = f"/v1/comparisons/{finish(api.world)}/cancel"
    problem(api.client.post(url), 409, "already succeeded")


@pytest.mark.parametrize("path", ["", "/items", "/items.csv", "/report", "/report.html"])
def test_what_is_not_there(api: Api, path: str) -> None:
    problem(api.client.get(f"/v1/comparisons/{ABSENT}{path}"), 404, "there is no comparison")


def test_the_body_has_to_be_json(api: Api) -> None:
    response = api.client.post(
        "/v1/comparisons", content=b"a=1", headers={"content-type": "text/plain"}
    )
    problem(response, 415, "send application/json")
