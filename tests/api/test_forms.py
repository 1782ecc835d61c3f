"""Forms of pages: who may send them, and what shows that a page of the service did."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI, Request

from api.authentication import csrf_token
from api.principal import PrincipalDependency, Scope, needs_form
from api.problems import install
from tests.api.checks import problem
from tests.api.test_access import bearer
from tests.helpers.api import Api
from tests.helpers.service import serving

OURS = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def client(guarded: Api) -> Iterator[httpx.Client]:
    """A page's form that says what it was given, and who sent it."""
    app = FastAPI()
    app.state.services = guarded.app.state.services
    install(app)

    @app.post("/form", dependencies=[needs_form(Scope.SUBMIT)])
    async def take(request: Request, principal: PrincipalDependency) -> list[str]:
        form = await request.form()
        return [principal.name, str(form.get("x", ""))]

    with serving(app) as made:
        yield made


def log_in(guarded: Api, client: httpx.Client, *scopes: Scope) -> str:
    """Log in with a new key and return the token of forms."""
    cookie = guarded.app.state.services.logins.open(guarded.key(*scopes).row.id)
    client.cookies.set("tightrope_session", cookie)
    return csrf_token(cookie)


def test_a_login_sends_forms_with_their_token(guarded: Api, client: httpx.Client) -> None:
    token = log_in(guarded, client, Scope.SUBMIT)
    sent = {"csrf": token, "x": "1"}
    for file in (None, {"file": ("a", b"b")}):
        assert client.post("/form", headers=OURS, data=sent, files=file).json() == ["test", "1"]
    for wrong in ({}, {"csrf": ""}, {"csrf": token[::-1]}, {"csrf": "é"}):
        problem(client.post("/form", headers=OURS, data=wrong), 403, "load the page again")
    from_a_file = {"csrf": ("csrf", token.encode())}
    problem(client.post("/form", headers=OURS, files=from_a_file), 403, "load the page again")


@pytest.mark.parametrize("headers", [{}, {"Sec-Fetch-Site": "cross-site"},
                                     {"Origin": "https://evil.example"}])  # fmt: skip
def test_other_sites_send_none(guarded: Api, client: httpx.Client, headers: dict[str, str]) -> None:
    token = log_in(guarded, client, Scope.SUBMIT)
    problem(client.post("/form", headers=headers, data={"csrf": token}), 403, "pages of this")


def test_forms_take_their_scope(guarded: Api, client: httpx.Client) -> None:
    token = log_in(guarded, client, Scope.READ)
    problem(client.post("/form", headers=OURS, data={"csrf": token}), 403, "the scope submit")


def test_keys_need_no_token(guarded: Api, client: httpx.Client) -> None:
    sent = bearer(guarded.key(Scope.SUBMIT).token)
    assert client.post("/form", headers=sent, data={"x": "2"}).json() == ["test", "2"]
    problem(client.post("/form", data={"x": "2"}), 401)


def test_people_read_refusals_as_pages(guarded: Api, client: httpx.Client) -> None:
    log_in(guarded, client, Scope.SUBMIT)
    refused = client.post("/form", headers={**OURS, "Accept": "text/html"}, data={})
    assert refused.status_code == 403
    assert refused.headers["content-type"].startswith("text/html")
    assert "load the page again" in refused.text
