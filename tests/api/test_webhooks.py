"""Webhooks in requests, how telling them went, and the secret they are signed with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from api.app import create_app
from tests.api.checks import problem
from tests.helpers.api import Api
from tests.helpers.service import FakeInspector, FakeQueue, service_settings, serving
from worker.webhooks import project_secret

SECRET = "s" * 40


@pytest.fixture
def told(api: Api) -> Iterator[httpx.Client]:
    """A service on the same data whose operator allows webhooks."""
    settings = service_settings(
        api.world.settings.data_dir, webhook_hosts="hooks.example.org", webhook_secret=SECRET
    )
    app = create_app(settings, inspector=FakeInspector(), queue=FakeQueue())
    with serving(app) as client:
        yield client


def bodies(api: Api, url: str) -> dict[str, dict[str, Any]]:
    common = {"dataset_id": api.world.dataset, "epsilon": 0.1, "webhook": {"url": url}}
    other = api.world.compare().networks[1].network_id
    return {
        "certifications": {"network_id": api.world.network, **common},
        "comparisons": {
            "baseline_id": api.world.network, "candidate_ids": [other], **common
        },
        "trainings": {"architecture": "mlp:8", "epochs": 1, **common},
    }  # fmt: skip


def test_every_kind_of_job_takes_a_webhook(api: Api, told: httpx.Client) -> None:
    url = "https://hooks.example.org/x"
    for kind, body in bodies(api, url).items():
        made = told.post(f"/v1/{kind}", json=body)
        assert made.status_code == 202, made.text
        identifier = made.json()["id"]
        assert api.world.jobs.get(identifier).webhook_url == url
        path = f"/v1/jobs/{identifier}/deliveries"
        assert told.get(path).json() == {"items": []}
        told.post(f"/v1/jobs/{identifier}/cancel")
        (delivery,) = told.get(path).json()["items"]
        assert (delivery["state"], delivery["url"], delivery["attempts"]) == ("pending", url, 0)
        assert delivery["id"].startswith("dlv_")


def test_a_webhook_decides_no_answer(api: Api, told: httpx.Client) -> None:
    body = bodies(api, "https://hooks.example.org/x")["certifications"]
    first = told.post("/v1/certifications", json=body).json()
    assert "webhook" not in first["settings"]


@pytest.mark.parametrize("kind", ["certifications", "comparisons", "trainings"])
def test_where_webhooks_may_not_go_is_refused(api: Api, told: httpx.Client, kind: str) -> None:
    body = bodies(api, "https://169.254.169.254/latest")[kind]
    document = problem(told.post(f"/v1/{kind}", json=body), 422, "TIGHTROPE_WEBHOOK_HOSTS")
    assert document["errors"][0]["location"] == "body.webhook.url"


def test_without_hosts_there_are_no_webhooks(api: Api) -> None:
    body = bodies(api, "https://hooks.example.org/x")["certifications"]
    problem(api.client.post("/v1/certifications", json=body), 422, "sends no webhooks")
    problem(api.client.get("/v1/webhook-secret"), 404)


def test_the_secret_is_shown_and_kept_nowhere(told: httpx.Client) -> None:
    response = told.get("/v1/webhook-secret")
    assert response.json() == {"secret": project_secret(SECRET, "default")}
    assert response.headers["Cache-Control"] == "no-store"


def test_deliveries_of_no_job(api: Api) -> None:
    problem(api.client.get("/v1/jobs/job_x/deliveries"), 404)
