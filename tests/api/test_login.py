"""People log in with a key; pages of other sites get nothing done in their name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from api.authentication import csrf_token, is_same_origin
from api.principal import Scope
from api.routes.login import local_path
from store.access_tables import LoginRow
from store.keys import Keys, MadeKey
from tests.api.checks import problem
from tests.helpers.api import Api, opened
from tests.helpers.service import wait_until

COOKIE = "tightrope_session"
PAGE = {"Accept": "text/html,application/xhtml+xml"}


def own(api: Api) -> dict[str, str]:
    """Return what a browser says of a form that one of our pages sent."""
    return {"Origin": str(api.client.base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin"}


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None
    return found[1]


def submit(
    api: Api, key: str, *, target: str = "/", headers: dict[str, str] | None = None
) -> httpx.Response:
    """Load the page and send its form."""
    page = api.client.get("/login", params={"next": target})
    form = {"key": key, "csrf": hidden(page.text, "csrf"), "next": hidden(page.text, "next")}
    return api.client.post("/login", data=form, headers=own(api) if headers is None else headers)


@pytest.fixture
def made(guarded: Api) -> MadeKey:
    return guarded.key(Scope.READ, Scope.SUBMIT)


@pytest.fixture
def visitor(guarded: Api, made: MadeKey) -> Iterator[Api]:
    """Somebody who is logged in."""
    assert submit(guarded, made.token).status_code == 303
    yield guarded
    guarded.client.cookies.clear()


def test_a_browser_is_led_to_the_login_and_back(guarded: Api, made: MadeKey) -> None:
    for path in ("/", "/docs", "/v1/jobs"):
        response = guarded.client.get(path, headers=PAGE)
        assert (response.status_code, response.headers["location"]) == (303, f"/login?next={path}")
    problem(guarded.client.get("/"), 401)
    problem(guarded.client.post("/v1/networks", headers=PAGE), 401)
    response = submit(guarded, f"  {made.token}\n", target="/docs")
    assert (response.status_code, response.headers["location"]) == (303, "/docs")
    cookie = response.headers["set-cookie"]
    for word in ("HttpOnly", "SameSite=lax", "Max-Age=43200", "Path=/"):
        assert word in cookie
    assert "Secure" not in cookie
    assert "OpenAPI document" in guarded.client.get("/docs", headers=PAGE).text
    page = guarded.client.get("/", headers=PAGE).text
    assert "Log out" in page
    assert guarded.client.get("/v1/me").json()["key_id"] == made.row.id
    assert guarded.client.get("/openapi.json").status_code == 200


def test_the_cookie_is_kept_as_a_hash(visitor: Api) -> None:
    cookie = visitor.client.cookies[COOKIE]
    with visitor.world.database.read() as session:
        kept = session.get(LoginRow, cookie)
        rows = session.query(LoginRow).all()
    assert kept is None
    assert len(rows) == 1
    assert cookie not in visitor.client.get("/").text


@pytest.mark.parametrize("key", ["", "x", "trk_" + "0" * 26 + "_" + "0" * 52, "<script>"])
def test_a_wrong_key_logs_nobody_in(guarded: Api, key: str) -> None:
    response = submit(guarded, key)
    assert response.status_code == 401
    assert 'role="alert"' in response.text
    assert COOKIE not in guarded.client.cookies
    assert "<script" not in response.text


def test_who_was_logged_out_is_told_why_and_led_back(visitor: Api, made: MadeKey) -> None:
    path = "/certifications?cursor=x"
    assert "You were logged out" not in visitor.client.get("/login").text
    Keys(visitor.world.database).revoke(made.row.id)
    visitor.app.state.services.keyring.forget()
    sent = visitor.client.get(path, headers=PAGE)
    page = visitor.client.get(sent.headers["location"], headers=PAGE).text
    assert "You were logged out" in page
    assert "the key was revoked; ask for another one" in page
    assert hidden(page, "next") == path
    fresh = visitor.key(Scope.READ)
    assert submit(visitor, fresh.token, target=path).headers["location"] == path
    assert "You were logged out" not in visitor.client.get("/login").text


def test_a_key_that_is_over_logs_nobody_in(guarded: Api) -> None:
    late = guarded.key(Scope.READ, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert "has expired" in submit(guarded, late.token).text


def test_logins_are_guessed_no_faster_than_keys(tmp_path: Path) -> None:
    with opened(tmp_path, require_keys=True, refusals_per_minute=2) as strict:
        assert [submit(strict, "x").status_code for _ in range(3)] == [401, 401, 429]


def test_a_logout_ends_the_login_everywhere(visitor: Api) -> None:
    cookie = visitor.client.cookies[COOKIE]
    csrf = hidden(visitor.client.get("/").text, "csrf")
    response = visitor.client.post("/logout", data={"csrf": csrf}, headers=own(visitor))
    assert (response.status_code, response.headers["location"]) == (303, "/login")
    assert COOKIE not in visitor.client.cookies
    stolen = {"Cookie": f"{COOKIE}={cookie}"}
    problem(visitor.client.get("/v1/me", headers=stolen), 401, "log in again")
    assert visitor.client.post("/logout", headers=own(visitor)).status_code == 303
    admin = {"Authorization": f"Bearer {visitor.key(Scope.ADMIN).token}"}
    entries = visitor.client.get("/v1/audit", headers=admin).json()["items"]
    assert [entry["action"] for entry in entries] == ["log_out", "log_in"]


def test_a_login_ends_with_its_key_and_with_its_time(
    guarded: Api, made: MadeKey, visitor: Api
) -> None:
    assert visitor.client.get("/v1/me").status_code == 200
    with visitor.world.database.write() as session:
        session.execute(update(LoginRow).values(expires_at=datetime.now(UTC)))
    wait_until(lambda: visitor.client.get("/v1/me").status_code == 401)
    problem(visitor.client.get("/v1/me"), 401, "log in again")
    assert visitor.client.get("/", headers=PAGE).status_code == 303
    assert submit(guarded, made.token).status_code == 303
    Keys(guarded.world.database).revoke(made.row.id)
    wait_until(lambda: visitor.client.get("/v1/me").status_code == 401)
    problem(visitor.client.get("/v1/me"), 401, "revoked")


def test_a_login_sees_its_project_and_does_what_its_key_may(visitor: Api) -> None:
    queued = visitor.world.certify().id
    token = {"X-CSRF-Token": csrf_token(visitor.client.cookies[COOKIE]), **own(visitor)}
    url = f"/v1/jobs/{queued}/cancel"
    assert visitor.client.post(url, headers=token).status_code == 202
    problem(visitor.client.get("/v1/keys"), 403, "the scope admin")


@pytest.mark.parametrize(
    "changes",
    [
        {"X-CSRF-Token": None},
        {"X-CSRF-Token": "0" * 64},
        {"X-CSRF-Token": "é"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": None, "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": None, "Origin": "null"},
        {"Sec-Fetch-Site": None, "Origin": None},
    ],
)
def test_pages_of_other_sites_change_nothing(visitor: Api, changes: dict[str, str | None]) -> None:
    queued = visitor.world.certify().id
    good = {"X-CSRF-Token": csrf_token(visitor.client.cookies[COOKIE]), **own(visitor)}
    sent = {
        name: value.encode() for name, value in {**good, **changes}.items() if value is not None
    }
    for method, url in (("POST", f"/v1/jobs/{queued}/cancel"), ("POST", "/v1/networks"),
                        ("DELETE", f"/v1/networks/{visitor.world.network}")):  # fmt: skip
        problem(visitor.client.request(method, url, headers=sent), 403, "pages of this service")
    assert visitor.world.jobs.get(queued).state == "queued"
    assert visitor.client.get("/v1/jobs", headers=sent).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}],
)
def test_pages_of_other_sites_log_nobody_in_or_out(
    guarded: Api, made: MadeKey, headers: dict[str, str]
) -> None:
    problem(submit(guarded, made.token, headers=headers), 403, "load the page again")
    assert COOKIE not in guarded.client.cookies
    assert submit(guarded, made.token).status_code == 303
    csrf = hidden(guarded.client.get("/").text, "csrf")
    problem(guarded.client.post("/logout", data={"csrf": csrf}, headers=headers), 403)
    problem(guarded.client.post("/logout", data={"csrf": "x"}, headers=own(guarded)), 403)
    assert guarded.client.get("/v1/me").status_code == 200


def test_a_form_is_sent_from_its_own_page_only(guarded: Api, made: MadeKey) -> None:
    page = guarded.client.get("/login").text
    form = {"key": made.token, "csrf": hidden(page, "csrf")}
    guarded.client.get("/login")  # another page, whose cookie took the place of the first
    problem(guarded.client.post("/login", data=form, headers=own(guarded)), 403)
    guarded.client.cookies.clear()
    problem(guarded.client.post("/login", data=form, headers=own(guarded)), 403)


def test_without_keys_nobody_logs_in(api: Api) -> None:
    response = api.client.get("/login", params={"next": "/docs"}, headers=PAGE)
    assert (response.status_code, response.headers["location"]) == (303, "/docs")
    assert "Log out" not in api.client.get("/").text


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "/\\evil.example", "https://evil.example", "evil", "", "/\t/evil", "/a\r\nb",
     "javascript:alert(1)", "\\\\evil"],
)  # fmt: skip
def test_a_login_leads_to_no_other_site(guarded: Api, made: MadeKey, target: str) -> None:
    assert local_path(target) == "/"
    page = guarded.client.get("/login")
    form = {"key": made.token, "csrf": hidden(page.text, "csrf"), "next": target}
    response = guarded.client.post("/login", data=form, headers=own(guarded))
    assert response.headers["location"] == "/"


@given(st.text(max_size=30))
def test_where_a_login_leads_is_always_a_path_of_ours(target: str) -> None:
    path = local_path(target)
    assert path.startswith("/")
    parts = urlsplit(path)
    assert (parts.scheme, parts.netloc) == ("", "")
    assert local_path(path) == path


@given(st.sampled_from(["same-origin", "none", "same-site", "cross-site", "x", None]),
       st.sampled_from(["http://h", "https://h", "http://h:81", "http://g", "null", None]),
       st.booleans())  # fmt: skip
def test_what_counts_as_a_page_of_ours(site: str | None, origin: str | None, stated: bool) -> None:
    given_headers = {"sec-fetch-site": site, "origin": origin, "host": "h"}
    headers = {name: value for name, value in given_headers.items() if value is not None}
    if site is not None:
        expected = site in ("same-origin", "none")
    elif origin is not None:
        expected = origin.endswith("//h")
    else:
        expected = not stated
    assert is_same_origin(headers, stated=stated) == expected
