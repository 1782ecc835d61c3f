"""Finished jobs in the formats of continuous integration, over the wire."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from store.answers import answer_values
from store.columns import Base
from store.job_tables import JobRow
from store.tables import ComparedItemRow, ItemRow, TrainingRow
from tests.api.checks import problem
from tests.helpers.api import Api
from tests.helpers.junit import check_junit, outcomes
from tests.helpers.sarif import check_sarif
from tests.helpers.service import item

JUNIT, SARIF = "junit.xml", "sarif.json"
BROKEN = {"counterexample": {"x": [0.0] * 4, "y": [0.0, 0.0, 1.0]}, "upper": -1.0}


def answer(api: Api, rows: Sequence[Base], job_id: str, *, error: str | None = None) -> None:
    """Store answers and end their job."""
    with api.world.database.write() as session:
        session.add_all(rows)
        job = session.get_one(JobRow, job_id)
        job.state = "succeeded" if error is None else "failed"
        job.error = None if error is None else {"type": "SolverFailedError", "message": error}
        job.started_at = job.finished_at = datetime.now(UTC)


def certified(api: Api, *, error: str | None = None) -> str:
    """Store a certification with answers of every kind; a failed one lacks the last."""
    row = api.world.certify((0, 1, 2, 4))
    answers = [item(0), item(1, "falsified", **BROKEN), item(2, "misclassified")]
    if error is None:
        answers.append(item(4, "unknown", reason="timeout"))
    rows = [ItemRow(certification_id=row.id, **answer_values(entry)) for entry in answers]
    answer(api, rows, row.id, error=error)
    return row.id


def test_a_certification_as_junit(api: Api) -> None:
    response = api.client.get(f"/v1/certifications/{certified(api)}/{JUNIT}")
    assert response.headers["content-type"] == "application/xml"
    root = check_junit(response.text)
    assert list(outcomes(root).values()) == ["passed", "failure", "failure", "error"]
    assert root[0].get("name") == "n.onnx"
    assert root[0].get("timestamp")


def test_a_certification_as_sarif(api: Api) -> None:
    path = f"/v1/certifications/{certified(api)}/{SARIF}"
    response = api.client.get(path, params={"uri": "nets/n.onnx"})
    assert response.headers["content-type"] == "application/sarif+json"
    run = check_sarif(response.text)
    rules = [result["ruleId"] for result in run["results"]]
    assert rules == ["falsified", "misclassified", "unknown"]
    assert "gets the answer 2" in run["results"][0]["message"]["text"]
    assert run["artifacts"][0]["location"]["uri"] == "nets/n.onnx"
    named = check_sarif(api.client.get(path).text)
    assert named["artifacts"][0]["location"]["uri"] == "n.onnx"
    problem(api.client.get(path, params={"uri": ""}), 422, "query.uri")


def test_a_failed_certification_has_both_and_passes_for_nothing(api: Api) -> None:
    path = f"/v1/certifications/{certified(api, error='no memory is left')}"
    root = check_junit(api.client.get(f"{path}/{JUNIT}").text)
    assert outcomes(root)["input 4"] == "error"
    run = check_sarif(api.client.get(f"{path}/{SARIF}").text)
    (note,) = run["invocations"][0]["toolExecutionNotifications"]
    assert "no memory is left; 1 inputs have no answer" in note["message"]["text"]


def test_a_comparison(api: Api) -> None:
    row = api.world.compare((0, 1, 2))
    verdicts = (("verified", "verified", "unknown"), ("verified", "unknown", "unknown"))
    rows = [
        ComparedItemRow(
            comparison_id=row.id, position=position, **answer_values(item(index, verdict))
        )
        for position, side in enumerate(verdicts)
        for index, verdict in enumerate(side)
    ]
    answer(api, rows, row.id, error="it gave up")
    path = f"/v1/comparisons/{row.id}"
    root = check_junit(api.client.get(f"{path}/{JUNIT}").text)
    assert list(outcomes(root).values()) == ["passed", "failure", "skipped"]
    run = check_sarif(api.client.get(f"{path}/{SARIF}").text)
    assert [result["ruleId"] for result in run["results"]] == ["lost", "unknown"]
    assert not run["invocations"][0]["executionSuccessful"]


def test_a_training(api: Api) -> None:
    row = api.world.train(baseline=True)
    path = f"/v1/trainings/{row.id}"
    for file in (JUNIT, SARIF):
        problem(api.client.get(f"{path}/{file}"), 409, "is queued")
    api.client.post(f"/v1/jobs/{row.id}/cancel")
    root = check_junit(api.client.get(f"{path}/{JUNIT}").text)
    assert outcomes(root) == {"candidate": "skipped"}
    run = check_sarif(api.client.get(f"{path}/{SARIF}").text)
    (note,) = run["invocations"][0]["toolExecutionNotifications"]
    assert (run["results"], note["message"]["text"]) == ([], "the job was cancelled.")


def test_a_training_finds_what_the_comparison_of_its_arms_found(api: Api) -> None:
    training, comparison = api.world.train(baseline=True), api.world.compare((0,))
    path = f"/v1/trainings/{training.id}/{SARIF}"
    with api.world.database.write() as session:
        session.get_one(TrainingRow, training.id).comparison_id = comparison.id
        session.get_one(JobRow, training.id).state = "succeeded"
    problem(api.client.get(path), 409, f"comparison {comparison.id} is queued")
    rows = [
        ComparedItemRow(
            comparison_id=comparison.id, position=position, **answer_values(item(0, verdict))
        )
        for position, verdict in enumerate(("verified", "unknown"))
    ]
    answer(api, rows, comparison.id)
    (result,) = check_sarif(api.client.get(path).text)["results"]
    assert result["ruleId"] == "lost"


@pytest.mark.parametrize("file", [JUNIT, SARIF])
@pytest.mark.parametrize("kind", ["certification", "comparison"])
def test_there_is_nothing_before_the_end(api: Api, kind: str, file: str) -> None:
    row = {"certification": api.world.certify, "comparison": api.world.compare}[kind]()
    problem(api.client.get(f"/v1/{kind}s/{row.id}/{file}"), 409, "is queued", "/items")


@pytest.mark.parametrize("path", ["certifications/x/junit.xml", "certifications/x/sarif.json",
    "comparisons/x/junit.xml", "comparisons/x/sarif.json", "trainings/x/junit.xml",
    "trainings/x/sarif.json"])  # fmt: skip
def test_what_is_not_there(api: Api, path: str) -> None:
    problem(api.client.get(f"/v1/{path}"), 404, "x")
