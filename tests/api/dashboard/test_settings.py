"""Settings: workers and what they have for everybody, keys and projects for those who run it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from api.authentication import csrf_token
from api.principal import Scope
from store.keys import Keys
from store.projects import Projects
from store.workers import Workers
from tests.api.dashboard.pages import BROWSER, counted, links, shown, words
from tests.api.test_access import bearer
from tests.api.test_forms import OURS, log_in
from tests.helpers.api import Api, opened
from tests.helpers.pages import parsed

FACTS = {
    "versions": {"torch": "2.13.0", "gurobipy": "13.0.3", "highspy": "1.15.1"},
    "solvers": [
        {"name": "gurobi", "package": "gurobipy", "licence": "unavailable", "note": "it <expired>"},
        {"name": "highs", "package": "highspy", "licence": "open", "note": ""},
    ],
}


def seen(api: Api, name: str, **more: object) -> None:
    settings = {"queues": "bounds,exact", "device": "cpu", "version": "0.1.0", **more}
    Workers(api.world.database).seen(name, **settings)  # type: ignore[arg-type]


def send(api: Api, path: str, sent: Mapping[str, Any]) -> httpx.Response:
    return api.client.post(path, headers={**BROWSER, **OURS}, data=dict(sent))


def test_nobody_works(api: Api) -> None:
    text = words(shown(api.client.get("/settings")))
    assert "None is alive" in text
    assert "Nobody is there to tell" in text
    assert "whoever reaches this address may do everything" in text


def test_workers_tell_what_they_have(api: Api) -> None:
    seen(api, "first", cores=12, facts=FACTS)
    seen(api, "second")
    seen(api, "third", facts={"solvers": [], "failure": "no answer within 180 s"})
    response = api.client.get("/settings")
    text = words(shown(response))
    for said in ("first", "bounds, exact", "12", "2.13.0", "gurobi 13.0.3", "cannot be used",
                 "it <expired>", "highs 1.15.1", "free software", "has not looked for them yet",
                 "No answer within 180 s"):  # fmt: skip
        assert said in text
    assert "<expired>" not in response.text


def test_limits_have_units(api: Api) -> None:
    text = words(shown(api.client.get("/settings")))
    assert "no limit" in text
    assert "2.0 min" in text
    assert "50 000 000" in text


def test_a_key_is_shown_once(guarded: Api) -> None:
    token = log_in(guarded, guarded.client, Scope.ADMIN)
    form = {"csrf": token, "name": "ci <b>", "scopes": ["read", "train"], "valid_days": "7"}
    response = send(guarded, "/settings/keys", form)
    assert response.status_code == 201
    assert response.headers["cache-control"] == "no-store"
    page = parsed(response.text)
    (made,) = [text for text in page.text if text.startswith("trk_")]
    assert "ci <b>" not in response.text
    me = guarded.client.get("/v1/me", headers=bearer(made)).json()
    assert (me["name"], me["scopes"]) == ("ci <b>", ["read", "train"])
    listed = guarded.client.get("/settings")
    assert made not in listed.text
    assert made.rpartition("_")[2] not in listed.text
    assert "ci <b>" in words(shown(listed))
    key = Keys(guarded.world.database).get(me["key_id"])
    assert key.expires_at is not None
    assert timedelta(days=6) < key.expires_at - datetime.now(UTC) < timedelta(days=8)
    entry = guarded.client.get("/v1/audit", headers=_admin(guarded)).json()["items"][0]
    assert (entry["action"], entry["target"]) == ("create_key", me["key_id"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": ""}, "This is needed"),
        ({"scopes": []}, "Give at least 1"),
        ({"scopes": ["root"]}, "This should be"),
        ({"valid_days": "0"}, "greater than or equal to 1"),
        ({"valid_days": "soon"}, "no whole number"),
        ({"project_id": "prj_nowhere"}, "prj_nowhere"),
    ],
)
def test_what_is_wrong_with_a_key(guarded: Api, changes: dict[str, object], said: str) -> None:
    token = log_in(guarded, guarded.client, Scope.ADMIN)
    before = len(Keys(guarded.world.database).page(limit=100))
    form = {"csrf": token, "name": "ci", "scopes": ["read"], "valid_days": "7", **changes}
    response = send(guarded, "/settings/keys", form)
    assert response.status_code in (404, 422)
    assert said in words(parsed(response.text))
    assert len(Keys(guarded.world.database).page(limit=100)) == before


def test_a_key_is_revoked_after_a_question(guarded: Api) -> None:
    token = log_in(guarded, guarded.client, Scope.ADMIN)
    key = guarded.key(Scope.READ)
    path = f"/settings/keys/{key.row.id}/revoke"
    assert path in links(shown(guarded.client.get("/settings")))
    assert "logged in with" not in words(shown(guarded.client.get(path)))
    assert guarded.client.get("/v1/me", headers=bearer(key.token)).status_code == 200
    assert send(guarded, path, {}).status_code == 403
    response = send(guarded, path, {"csrf": token})
    assert response.status_code == 303
    after = shown(guarded.client.get(response.headers["location"]))
    assert path not in links(after)
    assert "revoked" in words(after)
    assert guarded.client.get("/v1/me", headers=bearer(key.token)).status_code == 401


def test_ones_own_key_is_revoked_with_a_warning(guarded: Api) -> None:
    token = log_in(guarded, guarded.client, Scope.ADMIN)
    own = guarded.client.get("/v1/me").json()["key_id"]
    path = f"/settings/keys/{own}/revoke"
    assert "you are logged in with" in words(shown(guarded.client.get(path)))
    assert send(guarded, path, {"csrf": token}).status_code == 303
    led = guarded.client.get("/settings", headers=BROWSER)
    assert (led.status_code, led.headers["location"]) == (303, "/login?next=/settings")


def test_an_expired_key_is_told(guarded: Api) -> None:
    late = datetime.now(UTC) - timedelta(days=1)
    guarded.key(Scope.READ, expires_at=late)
    page = shown(guarded.client.get("/settings", headers=_admin(guarded)))
    assert "expired" in words(page)


def test_others_read_and_are_told_why(guarded: Api) -> None:
    seen(guarded, "first", facts=FACTS)
    token = log_in(guarded, guarded.client, Scope.READ, Scope.SUBMIT)
    text = words(shown(guarded.client.get("/settings")))
    assert "gurobi 13.0.3" in text
    assert "one that has the scope admin" in text
    assert "Make the key" not in text
    sent = {"csrf": token, "name": "x", "scopes": ["admin"]}
    for path in ("/settings/keys", "/settings/projects", "/settings/keys/key_x/revoke"):
        assert send(guarded, path, sent).status_code == 403
    assert guarded.client.get("/settings/keys/key_x/revoke").status_code == 403


def test_administrators_of_a_project_see_that_project(guarded: Api) -> None:
    other = Projects(guarded.world.database).create("other").id
    own = guarded.key(Scope.READ, project_id=other)
    foreign = guarded.key(Scope.READ)
    made = guarded.key(Scope.ADMIN, project_id=other).row.id
    cookie = guarded.app.state.services.logins.open(made)
    guarded.client.cookies.set("tightrope_session", cookie)
    token = csrf_token(cookie)
    page = shown(guarded.client.get("/settings"))
    assert f"/settings/keys/{own.row.id}/revoke" in links(page)
    assert f"/settings/keys/{foreign.row.id}/revoke" not in links(page)
    assert "Make the project" not in words(page)
    assert guarded.client.get("/settings?project=default").status_code == 404
    sent = {"csrf": token, "name": "mine"}
    assert send(guarded, "/settings/projects", sent).status_code == 403
    assert send(guarded, f"/settings/keys/{foreign.row.id}/revoke", sent).status_code == 404
    reaching = {**sent, "scopes": ["read"], "project_id": "default"}
    assert send(guarded, "/settings/keys", reaching).status_code == 404
    shown_once = send(guarded, "/settings/keys", {**sent, "scopes": ["read"]}).text
    (key,) = re.findall(r">(trk_[^<]+)<", shown_once)
    assert guarded.client.get("/v1/me", headers=bearer(key)).json()["project_id"] == other


def test_operators_make_projects(guarded: Api) -> None:
    token = log_in(guarded, guarded.client, Scope.ADMIN)
    response = send(guarded, "/settings/projects", {"csrf": token, "name": "vision <b>"})
    assert response.status_code == 303
    page = shown(guarded.client.get(response.headers["location"]))
    assert "vision <b>" in words(page)
    assert "There is none" in words(page)
    again = send(guarded, "/settings/projects", {"csrf": token, "name": "vision <b>"})
    assert again.status_code == 409
    assert "already" in words(parsed(again.text))
    assert send(guarded, "/settings/projects", {"csrf": token}).status_code == 422


def test_the_first_key_closes_the_service(tmp_path_factory: pytest.TempPathFactory) -> None:
    with opened(tmp_path_factory.mktemp("first"), key_cache_seconds=0) as api:
        assert "From the first key on" in words(shown(api.client.get("/settings")))
        made = send(api, "/settings/keys", {"name": "ops", "scopes": ["admin"]})
        assert made.status_code == 201
        assert api.client.get("/settings", headers=BROWSER).status_code == 303


def test_the_number_of_queries_is_constant(guarded: Api) -> None:
    admin = _admin(guarded)

    def queries() -> int:
        with counted(guarded) as statements:
            shown(guarded.client.get("/settings", headers=admin))
        return len([one for one in statements if "SELECT" in one])

    few = max(queries(), queries())
    for number in range(30):
        guarded.key(Scope.READ)
        Projects(guarded.world.database).create(f"p{number}")
        seen(guarded, f"w{number}", facts=FACTS)
    assert queries() <= few < 12


def _admin(api: Api) -> dict[str, str]:
    return bearer(api.key(Scope.ADMIN).token)
