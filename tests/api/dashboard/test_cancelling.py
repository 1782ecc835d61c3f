"""Jobs are cancelled from their pages, by those who may, after having been asked again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from api.principal import Scope
from tests.api.dashboard.pages import BROWSER, links, shown, words
from tests.api.test_access import bearer
from tests.api.test_forms import OURS, log_in
from tests.helpers.api import Api

MADE: dict[str, Callable[[Api], str]] = {
    "certification": lambda api: api.world.certify().id,
    "comparison": lambda api: api.world.compare().id,
    "training": lambda api: api.world.train().id,
}
SCOPES = {
    "certification": Scope.SUBMIT,
    "comparison": Scope.SUBMIT,
    "training": Scope.TRAIN,
}


@pytest.mark.parametrize("kind", MADE)
def test_a_job_is_cancelled(api: Api, kind: str) -> None:
    job = MADE[kind](api)
    page = f"/{kind}s/{job}"
    assert f"{page}/cancel" in links(shown(api.client.get(page)))
    asked = shown(api.client.get(f"{page}/cancel"))
    assert page in links(asked)
    assert f"Cancel the {kind}" in words(asked)
    assert api.client.get(f"/v1/jobs/{job}").json()["state"] == "queued"
    response = api.client.post(f"{page}/cancel", headers=OURS)
    assert (response.status_code, response.headers["location"]) == (303, page)
    assert api.client.get(f"/v1/jobs/{job}").json()["state"] == "cancelled"
    after = shown(api.client.get(page))
    assert f"{page}/cancel" not in links(after)
    assert f"/new/{kind}?from={job}" in links(after)
    assert "nothing is left to cancel" in words(shown(api.client.get(f"{page}/cancel")))


@pytest.mark.parametrize("kind", MADE)
def test_a_running_job_is_told_to_stop(api: Api, kind: str) -> None:
    job = MADE[kind](api)
    assert api.world.jobs.claim(job, "somebody")
    page = f"/{kind}s/{job}"
    assert api.client.post(f"{page}/cancel", headers=OURS).status_code == 303
    after = shown(api.client.get(page))
    assert "It was asked to stop" in words(after)
    assert f"{page}/cancel" not in links(after)
    assert "asked to stop already" in words(shown(api.client.get(f"{page}/cancel")))


def test_what_is_over_is_not_cancelled(api: Api) -> None:
    done = api.world.finish()
    refused = api.client.post(f"/certifications/{done}/cancel", headers={**BROWSER, **OURS})
    assert refused.status_code == 409
    assert refused.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("kind", MADE)
def test_jobs_of_another_kind_are_not_there(api: Api, kind: str) -> None:
    for other, make in MADE.items():
        if other != kind:
            path = f"/{kind}s/{make(api)}/cancel"
            assert api.client.get(path).status_code == 404
            assert api.client.post(path, headers=OURS).status_code == 404


@pytest.mark.parametrize("kind", MADE)
def test_it_takes_scope_and_token(guarded: Api, kind: str) -> None:
    job = MADE[kind](guarded)
    page = f"/{kind}s/{job}"
    token = log_in(guarded, guarded.client, Scope.READ)
    assert f"{page}/cancel" not in links(shown(guarded.client.get(page)))
    sent = {"csrf": token}
    assert guarded.client.get(f"{page}/cancel").status_code == 403
    assert guarded.client.post(f"{page}/cancel", headers=OURS, data=sent).status_code == 403
    token = log_in(guarded, guarded.client, Scope.READ, SCOPES[kind])
    assert guarded.client.post(f"{page}/cancel", headers=OURS).status_code == 403
    elsewhere = {"Sec-Fetch-Site": "cross-site"}
    sent = {"csrf": token}
    assert guarded.client.post(f"{page}/cancel", headers=elsewhere, data=sent).status_code == 403
    assert guarded.world.jobs.get(job).state == "queued"
    assert token in guarded.client.get(f"{page}/cancel").text
    assert guarded.client.post(f"{page}/cancel", headers=OURS, data=sent).status_code == 303
    assert guarded.world.jobs.get(job).state == "cancelled"
    guarded.client.cookies.clear()
    admin = bearer(guarded.key(Scope.ADMIN).token)
    entry = guarded.client.get("/v1/audit", headers=admin).json()["items"][0]
    assert (entry["action"], entry["target"]) == (f"cancel_{kind}", job)
