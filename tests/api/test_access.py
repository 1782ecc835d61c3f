"""Who may do what: keys, scopes, projects, limits, and the log of it all."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from sqlalchemy.exc import OperationalError

from api.app import create_app
from api.principal import Need, PrincipalDependency, Scope, needs_of
from api.services import ServicesDependency
from store.keys import KeyLimits, Keys
from store.projects import Projects
from store.trainings import NewArtifact
from tests.api.checks import problem
from tests.helpers.api import Api, clean, opened
from tests.helpers.service import service_settings, wait_until

OPEN = {"/healthz", "/readyz", "/login", "/logout", "/static/{name}"}
NOWHERE = "01jr3v7q9k2m4n6p8r0s2t4v6w"
QUESTION = {"epsilon": 0.1, "count": 2}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def headers(api: Api, *scopes: Scope, **changes: Any) -> dict[str, str]:  # noqa: ANN401
    return bearer(api.key(*scopes, **changes).token)


def routes(holder: Any) -> Iterator[APIRoute]:  # noqa: ANN401 (an application or what it includes)
    for route in holder.routes:
        if isinstance(route, APIRoute):
            yield route
        elif hasattr(route, "original_router"):
            yield from routes(route.original_router)


def test_every_route_says_what_it_takes(tmp_path: Path) -> None:
    app = create_app(service_settings(tmp_path))
    found = {route.path: needs_of(route) for route in routes(app)}
    assert len(found) > 30
    assert {path for path, needs in found.items() if not needs} == OPEN
    for route in routes(app):
        scopes = {need.scope for need in needs_of(route)}
        if route.path.startswith("/v1/") and route.methods != {"GET"}:
            assert scopes & {Scope.SUBMIT, Scope.TRAIN, Scope.ADMIN}, route.path
    assert found["/v1/keys"] == [Need(Scope.ADMIN)]
    assert found["/v1/projects"] == [Need(Scope.ADMIN, installation=True)]
    assert found["/metrics"] == [Need(Scope.READ, installation=True)]


def test_a_route_that_says_nothing_gets_nothing(api: Api) -> None:
    app = FastAPI()
    app.state.services = api.app.state.services

    @app.get("/jobs")
    def forgetful(services: ServicesDependency) -> int:
        return len(services.jobs.page(limit=9))

    @app.get("/me")
    def also(principal: PrincipalDependency) -> str:
        return principal.name

    async def ask(path: str) -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            await client.get(path)

    for path in ("/jobs", "/me"):
        with pytest.raises(TypeError, match="does not say what it needs"):
            anyio.run(ask, path)


def test_the_document_says_what_each_operation_takes(api: Api) -> None:
    document = api.client.get("/openapi.json").json()
    assert set(document["components"]["securitySchemes"]) == {"key", "login"}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if path in OPEN:
                assert "security" not in operation
                continue
            taken = [set(next(iter(one.values()))) for one in operation["security"]]
            assert taken[0] == taken[1], f"{method} {path}"
            assert {"401", "403", "421", "429"} <= set(operation["responses"]), f"{method} {path}"
    assert document["paths"]["/v1/networks"]["post"]["security"][0] == {"key": ["submit"]}


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer x"},
        {"Authorization": "Basic dTpw"},
        {"Authorization": f"Bearer trk_{NOWHERE}_{'0' * 52}"},
        {"Cookie": "tightrope_session=x"},
    ],
)
def test_without_a_good_key_nothing_is_done(guarded: Api, sent: dict[str, str]) -> None:
    for method, path in (("GET", "/v1/jobs"), ("POST", "/v1/networks"), ("GET", "/openapi.json"),
                         ("GET", "/metrics"), ("GET", "/"), ("GET", "/docs")):  # fmt: skip
        response = guarded.client.request(method, path, headers=sent)
        problem(response, 401)
        assert response.headers["www-authenticate"].startswith("Bearer")
    assert guarded.client.get("/healthz", headers=sent).status_code == 200
    assert guarded.client.get("/readyz", headers=sent).status_code == 200


def test_a_key_is_good_until_it_is_not(guarded: Api) -> None:
    made = guarded.key(Scope.READ)
    sent = bearer(made.token)
    assert guarded.client.get("/v1/jobs", headers=sent).status_code == 200
    lower = {"authorization": f"bearer  {made.token}"}
    assert guarded.client.get("/v1/jobs", headers=lower).status_code == 200
    Keys(guarded.world.database).revoke(made.row.id)
    wait_until(lambda: guarded.client.get("/v1/jobs", headers=sent).status_code == 401)
    problem(guarded.client.get("/v1/jobs", headers=sent), 401, "revoked")
    past = datetime.now(UTC) - timedelta(seconds=1)
    expired = headers(guarded, Scope.ADMIN, expires_at=past)
    problem(guarded.client.get("/v1/jobs", headers=expired), 401, "expired")


SCOPES = {
    ("GET", "/v1/jobs"): "read",
    ("GET", f"/v1/networks/net_{NOWHERE}/file"): "read",
    ("GET", f"/v1/certifications/job_{NOWHERE}/items.csv"): "read",
    ("POST", "/v1/networks"): "submit",
    ("POST", "/v1/certifications"): "submit",
    ("POST", f"/v1/jobs/job_{NOWHERE}/cancel"): "submit",
    ("DELETE", f"/v1/networks/net_{NOWHERE}"): "submit",
    ("POST", "/v1/trainings"): "train",
    ("DELETE", f"/v1/trainings/job_{NOWHERE}"): "train",
    ("GET", "/v1/keys"): "admin",
    ("POST", "/v1/keys"): "admin",
    ("GET", "/v1/audit"): "admin",
    ("GET", "/v1/projects"): "admin",
}


@pytest.mark.parametrize(("asked", "scope"), SCOPES.items())
def test_a_scope_that_is_missing_is_named(guarded: Api, asked: tuple[str, str], scope: str) -> None:
    others = [one for one in Scope if one not in (scope, Scope.ADMIN)]
    body = {"json": {}} if asked[0] == "POST" else {}
    response = guarded.client.request(*asked, headers=headers(guarded, *others), **body)
    if response.status_code == 422:  # the body was read first
        pair = {"network_id": guarded.world.network, "dataset_id": guarded.world.dataset}
        sent = {
            "/v1/keys": {"name": "x"},
            "/v1/certifications": {**pair, "epsilon": 0.1},
            "/v1/trainings": {**pair, "epsilon": 0.1, "epochs": 1},
        }[asked[1]]
        response = guarded.client.request(*asked, headers=headers(guarded, *others), json=sent)
    problem(response, 403, f"the scope {scope}")
    for enough in (Scope(scope), Scope.ADMIN):
        answer = guarded.client.request(*asked, headers=headers(guarded, enough), **body)
        assert answer.status_code not in (401, 403), answer.text


def test_trainings_are_cancelled_by_keys_that_may_train(guarded: Api) -> None:
    training = guarded.world.train().id
    url = f"/v1/jobs/{training}/cancel"
    problem(guarded.client.post(url, headers=headers(guarded, Scope.SUBMIT)), 403, "train")
    both = headers(guarded, Scope.SUBMIT, Scope.TRAIN)
    assert guarded.client.post(url, headers=both).json()["state"] == "cancelled"


class Foreign:
    """Everything that one project has, and the key of another one."""

    def __init__(self, api: Api) -> None:
        world = api.world
        self.certification = world.finish()
        self.comparison = world.compare().id
        row = world.train(baseline=True)
        world.jobs.claim(row.id, "w")
        artifact = NewArtifact("network.onnx", "application/octet-stream", b"trained")
        result = {"best_epoch": 1, "stopped": "finished", "seconds": 1.0, "record": {},
                  "network_id": None}  # fmt: skip
        world.trainings.finish_arm(
            row.id, "w", arm="candidate", result=result, artifacts=[artifact]
        )
        self.training = row.id
        self.key = api.key(Scope.READ).row.id
        self.ids = {
            "network_id": world.network,
            "dataset_id": world.dataset,
            "certification_id": self.certification,
            "comparison_id": self.comparison,
            "training_id": self.training,
            "job_id": self.comparison,
            "artifact_name": "network.onnx",
            "key_id": self.key,
            "project_id": "default",
            "index": "0",
        }
        project = Projects(world.database).create("elsewhere")
        self.headers = headers(api, Scope.ADMIN, project_id=project.id)

    def path(self, template: str, *, real: bool) -> str:
        """Return a path with this project's ids, or with ids that lead nowhere."""
        return re.sub(r"\{(\w+)\}", lambda found: self._id(found[1], real=real), template)

    def _id(self, name: str, *, real: bool) -> str:
        own = self.ids[name]  # a route with a new kind of id: add one above
        return own if real or "_" not in own else f"{own.partition('_')[0]}_{NOWHERE}"


def test_ids_of_another_project_lead_nowhere(guarded: Api) -> None:
    foreign = Foreign(guarded)
    document = guarded.app.openapi()
    asked = 0
    for template, methods in document["paths"].items():
        if "{" not in template or "{project_id}" in template:
            continue
        for method in methods:
            answers = []
            for real in (True, False):
                path = foreign.path(template, real=real)
                response = guarded.client.request(method, path, headers=foreign.headers)
                words = problem(response, 404)
                # The same words too, but for the id: it is as if it had never been.
                answers.append(re.sub(r"[a-z]{2,4}_\w{26}", "ID", words["detail"]))
            assert answers[0] == answers[1], f"{method} {template}"
            asked += 1
    assert asked > 25
    administrator = headers(guarded, Scope.ADMIN)
    for template, methods in document["paths"].items():
        if "get" in methods and "{" in template:
            path = foreign.path(template, real=True)
            # Some answers go on for as long as the job does.
            with guarded.client.stream("GET", path, headers=administrator) as response:
                # What is true of its input needs neither proof nor counterexample to be found.
                missing = response.status_code == 404 and "{index}" in template
                assert missing or response.status_code not in (401, 403, 404), template


def test_lists_show_nothing_of_another_project(guarded: Api) -> None:
    foreign = Foreign(guarded)
    own_key = guarded.client.get("/v1/me", headers=foreign.headers).json()["key_id"]
    for kind in ("networks", "datasets", "certifications", "comparisons", "trainings", "jobs"):
        page = guarded.client.get(f"/v1/{kind}", headers=foreign.headers).json()
        assert page == {"items": [], "next_cursor": None}, kind
    for filters in ({"network": guarded.world.network}, {"state": "queued"}):
        page = guarded.client.get("/v1/certifications", params=filters, headers=foreign.headers)
        assert page.json()["items"] == []
    keys = guarded.client.get("/v1/keys", headers=foreign.headers).json()["items"]
    assert [key["id"] for key in keys] == [own_key]
    assert guarded.client.get("/v1/audit", headers=foreign.headers).json()["items"] == []
    page = guarded.client.get("/", headers=foreign.headers).text
    assert "No network is certified yet" in page
    assert "No job is finished yet" in page


def test_requests_cannot_name_what_another_project_has(guarded: Api) -> None:
    foreign = Foreign(guarded)
    world = guarded.world
    bodies: dict[str, dict[str, Any]] = {
        "certifications": {"network_id": world.network},
        "comparisons": {"baseline_id": world.network, "candidate_ids": [world.network]},
        "trainings": {"network_id": world.network, "epochs": 1},
    }
    for kind, body in bodies.items():
        answers = []
        for name in (world.network, f"net_{NOWHERE}"):
            changed = {
                key: [name] if isinstance(value, list) else name if key.endswith("_id") else value
                for key, value in body.items()
            }
            sent = {**changed, "dataset_id": world.dataset, "epsilon": 0.1}
            response = guarded.client.post(f"/v1/{kind}", json=sent, headers=foreign.headers)
            document = problem(response, 422, "there is no")
            answers.append(re.sub(r"[a-z]{3}_\w{26}", "ID", document["detail"]))
        assert answers[0] == answers[1], kind


def test_the_same_files_tell_nothing_about_each_other(guarded: Api) -> None:
    """Who uploads what another project has gets the answers of the first to upload it."""
    foreign = Foreign(guarded)
    ids = {}
    for kind, content, name in (
        ("networks", b"network", "n.onnx"),
        ("datasets", b"dataset", "d.npz"),
    ):
        seen = len(guarded.inspector.seen)
        response = guarded.client.post(
            f"/v1/{kind}", files={"file": (name, content)}, headers=foreign.headers
        )
        assert response.status_code == 201
        assert len(guarded.inspector.seen) == seen + 1  # as slow as for the first
        ids[kind] = response.json()["id"]
        assert ids[kind] not in foreign.ids.values()
    body = {"network_id": ids["networks"], "dataset_id": ids["datasets"], "epsilon": 0.1}
    sent = {**foreign.headers, "Idempotency-Key": "the-same"}
    own = {**headers(guarded, Scope.SUBMIT), "Idempotency-Key": "the-same"}
    first = {**body, "network_id": guarded.world.network, "dataset_id": guarded.world.dataset}
    assert guarded.client.post("/v1/certifications", json=first, headers=own).status_code == 202
    made = guarded.client.post("/v1/certifications", json=body, headers=sent)
    assert made.status_code == 202
    assert (made.json()["cached"], made.json()["state"]) == (False, "queued")
    assert "Idempotency-Replayed" not in made.headers
    gone = guarded.client.delete(f"/v1/certifications/{foreign.certification}", headers=own)
    assert gone.status_code == 204


def test_keys_over_http(guarded: Api) -> None:
    admin = headers(guarded, Scope.ADMIN)
    body = {"name": "nightly", "scopes": ["submit", "read"], "valid_days": 2}
    response = guarded.client.post("/v1/keys", json=body, headers=admin)
    assert response.status_code == 201, response.text
    assert response.headers["cache-control"] == "no-store"
    made = response.json()
    token = made.pop("key")
    assert made["scopes"] == ["read", "submit"]
    left = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=1, hours=23) < left <= timedelta(days=2)
    me = guarded.client.get("/v1/me", headers=bearer(token)).json()
    assert (me["name"], me["key_id"], me["keys_needed"]) == ("nightly", made["id"], True)
    assert me["limits"]["queued_jobs"] == 1000
    kept = guarded.client.get(response.headers["location"], headers=admin).json()
    assert {**kept, "last_used_at": None} == made
    assert kept["last_used_at"] is not None
    revoked = guarded.client.post(f"/v1/keys/{made['id']}/revoke", headers=admin).json()
    assert revoked["revoked_at"] is not None
    problem(guarded.client.get("/v1/me", headers=bearer(token)), 401, "revoked")
    listed = guarded.client.get("/v1/keys", headers=admin).json()["items"]
    assert listed[0] == revoked
    assert token not in guarded.client.get("/v1/keys", headers=admin).text


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "a\nb"},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["root"]},
        {"name": "x", "valid_days": 0},
        {"name": "x", "limits": {"queued_jobs": 0}},
        {"name": "x", "secret": "mine"},
    ],
)
def test_keys_that_cannot_be_made(guarded: Api, body: dict[str, Any]) -> None:
    problem(guarded.client.post("/v1/keys", json=body, headers=headers(guarded, Scope.ADMIN)), 422)


def test_the_installation_is_run_by_the_default_project(guarded: Api) -> None:
    admin = headers(guarded, Scope.ADMIN)
    response = guarded.client.post("/v1/projects", json={"name": "vision"}, headers=admin)
    assert response.status_code == 201
    project = response.json()
    assert guarded.client.get(response.headers["location"], headers=admin).json() == project
    problem(guarded.client.post("/v1/projects", json={"name": "vision"}, headers=admin), 409)
    names = [
        one["name"] for one in guarded.client.get("/v1/projects", headers=admin).json()["items"]
    ]
    assert names == ["vision", "default"]
    page = guarded.client.get("/v1/projects", params={"limit": 1}, headers=admin).json()
    rest = guarded.client.get(
        "/v1/projects", params={"cursor": page["next_cursor"]}, headers=admin
    ).json()
    assert [one["id"] for one in rest["items"]] == ["default"]
    limits = {"queued_jobs": 1, "inputs_per_job": 3}
    body = {"name": "v", "scopes": ["admin"], "project_id": project["id"], "limits": limits}
    made = guarded.client.post("/v1/keys", json=body, headers=admin).json()
    assert made["project_id"] == project["id"]
    theirs = bearer(made["key"])
    seen = guarded.client.get("/v1/keys", params={"project": "vision"}, headers=admin).json()
    assert [key["id"] for key in seen["items"]] == [made["id"]]
    assert guarded.client.get("/v1/me", headers=theirs).json()["limits"]["queued_jobs"] == 1
    # An administrator of the project runs that project, and nothing beside it.
    for path in ("/v1/projects", "/metrics"):
        problem(guarded.client.get(path, headers=theirs), 403, "the whole installation")
    own = guarded.client.post("/v1/keys", json={"name": "w"}, headers=theirs)
    assert own.json()["project_id"] == project["id"]
    for changes in ({"project_id": "default"}, {"project_id": f"prj_{NOWHERE}"}):
        body = {"name": "x", **changes}
        problem(guarded.client.post("/v1/keys", json=body, headers=theirs), 404, "no project")
    body = {"name": "x", "limits": {"queued_jobs": 10**6}}
    problem(guarded.client.post("/v1/keys", json=body, headers=theirs), 403, "installation")
    for path in ("/v1/keys", "/v1/audit"):
        problem(guarded.client.get(path, params={"project": "default"}, headers=theirs), 404)
    assert guarded.client.post(f"/v1/keys/{made['id']}/revoke", headers=admin).status_code == 200


def test_what_was_done_is_written_down(guarded: Api) -> None:
    admin = guarded.key(Scope.ADMIN)
    sent = bearer(admin.token)
    form = {"file": ("x.onnx", b"another")}
    network = guarded.client.post("/v1/networks", files=form, headers=sent).json()["id"]
    guarded.client.get(f"/v1/networks/{network}", headers=sent)
    guarded.client.delete(f"/v1/networks/{network}", headers=sent)
    problem(guarded.client.delete(f"/v1/networks/{network}", headers=sent), 404)
    guarded.client.post("/v1/networks", files=form)
    queued = guarded.world.certify().id
    guarded.client.post(f"/v1/jobs/{queued}/cancel", headers=sent)
    log = guarded.client.get("/v1/audit", headers=sent).json()["items"]
    told = [(entry["action"], entry["target"]) for entry in log]
    assert told == [
        ("cancel_job", queued),
        ("delete_network", network),
        ("create_network", network),
    ]
    assert {entry["actor"] for entry in log} == {"test"}
    assert {entry["key_id"] for entry in log} == {admin.row.id}
    assert {entry["address"] for entry in log} == {"127.0.0.1"}
    page = guarded.client.get("/v1/audit", params={"limit": 1}, headers=sent).json()
    following = {"cursor": page["next_cursor"], "action": "create_network"}
    rest = guarded.client.get("/v1/audit", params=following, headers=sent).json()
    assert [entry["action"] for entry in rest["items"]] == ["create_network"]
    none = guarded.client.get("/v1/audit", params={"key": f"key_{NOWHERE}"}, headers=sent).json()
    assert none["items"] == []


def test_what_cannot_be_written_down_is_logged(
    guarded: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_arguments: object) -> None:
        raise OperationalError("INSERT", {}, Exception("database or disk is full"))

    sent = headers(guarded, Scope.SUBMIT)
    queued = guarded.world.certify().id
    monkeypatch.setattr("store.audit.AuditLog.add", full)
    response = guarded.client.post(f"/v1/jobs/{queued}/cancel", headers=sent)
    assert response.status_code == 202
    assert f"not in the audit log: cancel_job {queued}" in caplog.text


def test_too_many_requests_of_a_key_are_refused(guarded: Api) -> None:
    slow = headers(guarded, Scope.READ, limits=KeyLimits(requests_per_minute=6, request_burst=3))
    for _ in range(3):
        assert guarded.client.get("/v1/jobs", headers=slow).status_code == 200
    response = guarded.client.get("/v1/jobs", headers=slow)
    problem(response, 429, "more than 6 requests a minute")
    assert 1 <= int(response.headers["retry-after"]) <= 10
    other = headers(guarded, Scope.READ)
    assert guarded.client.get("/v1/jobs", headers=other).status_code == 200


def test_guessing_keys_is_slowed_down(tmp_path: Path) -> None:
    with opened(tmp_path, require_keys=True, refusals_per_minute=3) as strict:
        good = headers(strict, Scope.READ)
        answers = [
            strict.client.get("/v1/jobs", headers=bearer(f"trk_{NOWHERE}_{digit * 52}"))
            for digit in "01234"
        ]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
        assert int(answers[-1].headers["retry-after"]) > 0
        # Who has a good key is not kept out by somebody else's guesses.
        assert strict.client.get("/v1/jobs", headers=good).status_code == 200


def test_a_key_has_only_so_much(guarded: Api) -> None:
    limits = KeyLimits(queued_jobs=1, upload_bytes=10, inputs_per_job=3)
    sent = headers(guarded, Scope.SUBMIT, limits=limits)
    for form in ({"files": {"file": ("x.onnx", b"x" * 11)}}, {"content": b"x" * 11}):
        kind = {} if "files" in form else {"Content-Type": "application/octet-stream"}
        response = guarded.client.post("/v1/networks", headers={**sent, **kind}, **form)  # type: ignore[arg-type]
        problem(response, 413, "10 bytes of this key")
    assert not list((guarded.world.settings.blob_dir / "incoming").glob("*"))
    small = guarded.client.post("/v1/networks", files={"file": ("x", b"x" * 10)}, headers=sent)
    assert small.status_code == 201
    body = {"network_id": guarded.world.network, "dataset_id": guarded.world.dataset, **QUESTION}
    many = guarded.client.post("/v1/certifications", json={**body, "count": 4}, headers=sent)
    assert problem(many, 422, "4 inputs")["errors"][0]["location"] == "body.count"
    pair = {"baseline_id": guarded.world.network, "candidate_ids": [small.json()["id"]],
            "dataset_id": guarded.world.dataset, **QUESTION}  # fmt: skip
    problem(guarded.client.post("/v1/comparisons", json=pair, headers=sent), 422, "4 inputs")
    assert guarded.client.post("/v1/certifications", json=body, headers=sent).status_code == 202
    full = guarded.client.post("/v1/certifications", json={**body, "count": 1}, headers=sent)
    problem(full, 429, "as many as it may have")
    assert int(full.headers["retry-after"]) > 0
    assert len(guarded.world.jobs.page(limit=9)) == 1


def test_keys_are_asked_for_from_the_first_one_on(tmp_path: Path) -> None:
    with opened(tmp_path) as fresh:
        me = fresh.client.get("/v1/me").json()
        assert (me["name"], me["key_id"], me["keys_needed"]) == ("anonymous", None, False)
        assert set(me["scopes"]) == set(Scope)
        assert set(me["limits"].values()) == {None}
        problem(fresh.client.get("/v1/me", headers=bearer("trk_x")), 401)
        made = fresh.client.post("/v1/keys", json={"name": "a", "scopes": ["admin"]}).json()
        problem(fresh.client.get("/v1/me"), 401)
        sent = bearer(made["key"])
        assert fresh.client.get("/v1/me", headers=sent).status_code == 200
        fresh.client.post(f"/v1/keys/{made['id']}/revoke", headers=sent)
        # That the last key is gone opens the service to nobody.
        problem(fresh.client.get("/v1/me"), 401)
        problem(fresh.client.get("/v1/me", headers=sent), 401)
        clean(fresh)


def test_no_log_has_a_key(guarded: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    made = guarded.key(Scope.ADMIN)
    secret = made.token.rpartition("_")[2]
    sent = bearer(made.token)
    wrong = bearer(made.token[:-1] + ("0" if made.token[-1] != "0" else "1"))
    new = guarded.client.post("/v1/keys", json={"name": "b"}, headers=sent).json()["key"]
    for used in (sent, wrong, {"Authorization": made.token}):
        guarded.client.get("/v1/jobs", headers=used)
        guarded.client.post("/v1/certifications", json={"x": 1}, headers=used)
    answers = [guarded.client.get(f"/v1/{kind}", headers=sent).text for kind in ("keys", "audit")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("store.jobs.Jobs.page", lambda *_args, **_options: 1 / 0)
        problem(guarded.client.get("/v1/jobs", headers=sent), 500)
    assert "division" in caplog.text
    for text in (caplog.text, *answers):
        assert secret not in text
        assert secret[:-1] not in text
        assert new.rpartition("_")[2] not in text
