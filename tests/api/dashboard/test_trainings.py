"""Pages of trainings: what was asked, curves while they run, and the networks that come out."""

from __future__ import annotations

import re
from typing import Any

import pytest

from api.principal import Scope
from store.learning import Learning
from store.projects import Projects
from store.states import JobState
from store.trainings import Metric, NewArtifact
from tests.api.dashboard.pages import BROWSER, counted, links, shown, words
from tests.api.test_access import bearer
from tests.helpers.api import Api
from tests.helpers.service import NETWORK_DETAILS

OWNER = "somebody"
EPOCH: dict[str, Any] = {
    "epsilon": 0.05, "kappa": 1.0, "learning_rate": 5e-4, "loss": {"total": 0.5, "robust": 0.4},
    "clean_accuracy": 0.9, "empirical_accuracy": 0.8, "certified_accuracy": 0.7, "mean_bound": 1.0,
    "mean_gap": 0.5, "unstable": {"relu": 3.0}, "seconds": 1.5,
}  # fmt: skip


def step(arm: str, number: int, *, epoch: int = 1, ends: bool = False) -> Metric:
    """Return a step of two; the second ends an epoch."""
    payload = {
        "arm": arm, "step": number, "steps": 10, "epoch": epoch, "epochs": 5,
        "epsilon": 0.01 * number, "kappa": 0.5, "loss": {"total": 2.0 / number, "robust": 1.0},
        "metrics": {**EPOCH, "epoch": epoch} if ends else None,
    }  # fmt: skip
    return Metric(arm, number, payload)


def running(api: Api, steps: int, **changes: Any) -> str:  # noqa: ANN401
    """Store a training that has made so many steps, two an epoch, and return its id."""
    training = api.world.train(**changes).id
    assert api.world.jobs.claim(training, OWNER)
    noted = [step("candidate", n, epoch=(n + 1) // 2, ends=n % 2 == 0) for n in range(1, steps + 1)]
    api.world.trainings.note(training, OWNER, noted, done=steps, total=20)
    return training


def finished(api: Api, name: str = "narrow") -> str:
    """Store a training with both arms and return its id."""
    training = running(api, 4, baseline=True, name=name)
    twin = [step("baseline", 1), step("baseline", 2, ends=True)]
    api.world.trainings.note(training, OWNER, twin, done=20, total=20)
    for arm in ("candidate", "baseline"):
        content = f"{training}{arm}".encode()
        network = api.world.upload(api.world.networks, content, f"{arm}.onnx", NETWORK_DETAILS)
        result = {
            "network_id": network, "best_epoch": 1, "epochs": 2, "stopped": "completed",
            "seconds": 3.0, "best": {**EPOCH, "epoch": 1}, "record": {"seed": 0},
        }  # fmt: skip
        file = NewArtifact(f"{arm}.onnx", "application/octet-stream", content)
        api.world.trainings.finish_arm(training, OWNER, arm=arm, result=result, artifacts=[file])
    api.world.trainings.succeed(training, OWNER)
    return training


def test_no_training(api: Api) -> None:
    page = shown(api.client.get("/trainings"))
    assert "There is no training yet" in words(page)
    assert "/new/training" in links(page)


def test_the_list(api: Api) -> None:
    done, waiting = finished(api), api.world.train(name=None, architecture="mlp:8").id
    page = shown(api.client.get("/trainings"))
    assert {f"/trainings/{done}", f"/trainings/{waiting}"} <= set(links(page))
    for said in ("narrow", "mlp:8", "crown-ibp", "70.0 %", "beside a baseline"):
        assert said in words(page)
    assert [attrs["data-job"] for _, attrs in page.tags if "data-job" in attrs] == [waiting]


def test_a_training_that_waits(api: Api) -> None:
    training = api.world.train(name="narrow").id
    page = shown(api.client.get(f"/trainings/{training}"))
    assert "No step is done yet" in words(page)
    (main,) = [attrs for tag, attrs in page.tags if tag == "main"]
    assert main["data-follow"] == training


def test_curves_from_the_first_steps_on(api: Api) -> None:
    training = running(api, 1)
    page = shown(api.client.get(f"/trainings/{training}"))
    assert "Loss, step by step" in words(page)
    assert "Schedule, step by step" in words(page)
    api.world.trainings.note(training, OWNER, [step("candidate", 2, ends=True)], done=2, total=20)
    text = words(shown(api.client.get(f"/trainings/{training}")))
    for said in ("Accuracy", "Bounds", "Unstable neurons", "Schedule", "Loss, step by step",
                 "after epoch 1", "of step 2 of 10"):  # fmt: skip
        assert said in text
    assert "Schedule, step by step" not in text


def test_what_came_out(api: Api) -> None:
    training = finished(api)
    page = shown(api.client.get(f"/trainings/{training}"))
    text = words(page)
    assert "Dashed: baseline" in text
    assert "1 of 2" in text
    found = links(page)
    networks = [one for one in found if one.startswith("/networks/net_")]
    assert len(set(networks)) >= 2
    for one in (*networks, f"/v1/trainings/{training}/report.html",
                f"/v1/trainings/{training}/artifacts/baseline.onnx"):  # fmt: skip
        assert api.client.get(one).status_code == 200
    assert any(one.startswith("/new/certification?network_id=") for one in found)
    assert "data-follow" not in next(attrs for tag, attrs in page.tags if tag == "main")
    dashed = [attrs for _, attrs in page.tags if "dashed" in (attrs.get("class") or "")]
    assert dashed


def test_a_failure_is_told(api: Api) -> None:
    training = running(api, 1)
    error = {"type": "DivergedError", "message": "the loss is no number any more"}
    api.world.jobs.finish(training, OWNER, JobState.FAILED, error=error)
    for path in ("/trainings", f"/trainings/{training}"):
        assert "the loss is no number any more" in words(shown(api.client.get(path)))


def test_names_are_escaped(api: Api) -> None:
    evil = "<script>x</script>"
    training = finished(api, evil)
    for path in ("/trainings", f"/trainings/{training}", f"/trainings/{training}/cancel"):
        response = api.client.get(path)
        shown(response)
        assert evil not in response.text


def test_long_lists_are_paged(api: Api) -> None:
    for _ in range(51):
        api.world.train()
    first = shown(api.client.get("/trainings"))
    (older,) = [one for one in links(first) if one.startswith("/trainings?cursor=")]
    second = shown(api.client.get(older))
    pages = [{one for one in links(page) if one.startswith("/trainings/job_")}
             for page in (first, second)]  # fmt: skip
    assert [len(page) for page in pages] == [50, 1]
    assert not pages[0] & pages[1]


def test_another_project_sees_nothing(guarded: Api) -> None:
    training = finished(guarded)
    other = Projects(guarded.world.database).create("other").id
    foreign = bearer(guarded.key(Scope.READ, project_id=other).token)
    own = bearer(guarded.key(Scope.READ).token)
    assert "narrow" in guarded.client.get("/trainings", headers=own).text
    assert "narrow" not in guarded.client.get("/trainings", headers=foreign).text
    page = shown(guarded.client.get(f"/trainings/{training}", headers=own))
    assert not [one for one in links(page) if one.startswith("/new/")]
    refused = guarded.client.get(f"/trainings/{training}", headers={**foreign, **BROWSER})
    assert refused.status_code == 404


def test_the_number_of_queries_is_constant(api: Api) -> None:
    def queries(path: str) -> int:
        with counted(api) as statements:
            shown(api.client.get(path))
        return len([one for one in statements if re.match(r"\s*(SELECT|WITH)", one)])

    short, long = running(api, 4), running(api, 4)
    few = queries("/trainings")
    more = [step("candidate", n, epoch=3) for n in range(5, 1500)]
    api.world.trainings.note(long, OWNER, more, done=1500, total=2000)
    for _ in range(30):
        api.world.train()
    assert queries("/trainings") == few
    assert queries(f"/trainings/{short}") == queries(f"/trainings/{long}") < 12


@pytest.mark.parametrize("most", [1, 7, 400])
def test_of_many_steps_some_are_read_and_the_last(api: Api, most: int) -> None:
    training = running(api, 50)
    steps = Learning(api.world.database).steps(training, most=most)["candidate"]
    assert len(steps) <= most + 1
    assert steps[-1]["step"] == 50
    numbers = [entry["step"] for entry in steps]
    assert numbers == sorted(numbers)
    assert Learning(api.world.database).steps("job_x", most=most) == {}


def test_epochs_are_read_without_steps(api: Api) -> None:
    training = running(api, 7)
    epochs = Learning(api.world.database).epochs(training)
    assert [entry["epoch"] for entry in epochs["candidate"]] == [1, 2, 3]
