"""What every answer tells browsers, and whose word about a request is taken."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from api.authentication import names_loopback
from api.headers import PAGE_POLICY, SECURITY_HEADERS
from api.principal import Scope
from store.settings import Settings
from tests.api.checks import problem
from tests.helpers.api import Api, opened


@pytest.mark.parametrize("path", ["/", "/v1/jobs", "/v1/jobs/x", "/nothing", "/healthz", "/docs",
                                  "/metrics", "/openapi.json", "/login"])  # fmt: skip
def test_every_answer_has_them(api: Api, guarded: Api, path: str) -> None:
    for service in (api, guarded):
        response = service.client.get(path)
        for name in SECURITY_HEADERS:
            assert response.headers[name], name
        assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "strict-transport-security" not in response.headers
        assert "server" not in response.headers


def test_failures_have_them_too(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = api.client.put("/v1/networks")
    problem(refused, 405)
    assert refused.headers["x-frame-options"] == "DENY"
    monkeypatch.setattr("store.jobs.Jobs.page", lambda *_arguments, **_options: 1 / 0)
    response = api.client.get("/v1/jobs")
    problem(response, 500)
    assert set(SECURITY_HEADERS) <= {
        name.title().replace("Csp", "CSP") for name in response.headers
    }


def test_reports_run_no_scripts(api: Api) -> None:
    certified = api.world.finish()
    response = api.client.get(f"/v1/certifications/{certified}/report.html")
    assert response.headers["content-security-policy"] == PAGE_POLICY
    assert "<script" not in response.text
    assert "script-src" not in PAGE_POLICY
    assert (
        api.client.get("/v1/jobs")
        .headers["content-security-policy"]
        .startswith("default-src 'none'")
    )


def test_proxies_are_believed_where_they_are_trusted_only(tmp_path: Path) -> None:
    said = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}

    def asked(**changes: object) -> tuple[httpx.Response, str, str]:
        with opened(tmp_path / str(len(changes)), require_keys=True, **changes) as service:
            token = service.key(Scope.ADMIN).token
            headers = {"Authorization": f"Bearer {token}", **said}
            made = service.client.post("/v1/projects", json={"name": "p"}, headers=headers)
            entry = service.client.get("/v1/audit", headers=headers).json()["items"][0]
            login = service.client.get("/login", headers=said)
            return made, entry["address"], login.headers["set-cookie"]

    response, address, cookie = asked()
    assert "strict-transport-security" not in response.headers
    assert address == "127.0.0.1"
    assert "Secure" not in cookie
    response, address, cookie = asked(trusted_proxies="10.0.0.0/8, 127.0.0.1")
    assert response.headers["strict-transport-security"].startswith("max-age=")
    assert address == "192.0.2.7"
    assert "Secure" in cookie


def test_over_https_the_cookie_is_of_this_host_alone(tmp_path: Path) -> None:
    with opened(tmp_path, require_keys=True, trusted_proxies="127.0.0.1") as service:
        said = {"X-Forwarded-Proto": "https", "Sec-Fetch-Site": "same-origin"}
        page = service.client.get("/login", headers=said)
        csrf = re.search(r'name="csrf" value="([^"]*)"', page.text)
        form_cookie = page.headers["set-cookie"].partition(";")[0]
        assert csrf is not None
        form = {"key": service.key(Scope.READ).token, "csrf": csrf[1]}
        headers = {**said, "Cookie": form_cookie}
        response = service.client.post("/login", data=form, headers=headers)
        assert response.status_code == 303
        cookie = response.headers.get_list("set-cookie")[0]
        assert cookie.startswith("__Host-tightrope_session=")
        assert "Secure" in cookie
        assert "Path=/" in cookie
        assert "Domain" not in cookie
        sent = {"Cookie": cookie.partition(";")[0]}
        assert service.client.get("/v1/me", headers={**said, **sent}).status_code == 200
        problem(service.client.get("/v1/me", headers=sent), 401)


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example"),
        *("10.0.0.1", "[::2]", "", "[", "a@b"),
    ],
)
def test_without_keys_the_service_answers_to_its_own_names_only(api: Api, host: str) -> None:
    """A page whose name leads here, though it is another's, must not read what is here."""
    problem(api.client.get("/v1/jobs", headers={"Host": host}), 421, "localhost or 127.0.0.1")
    assert not names_loopback(host)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:99", "[::1]:8000"])
def test_names_of_this_machine(api: Api, host: str) -> None:
    assert api.client.get("/v1/jobs", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ],
)
def test_without_keys_other_sites_change_nothing(api: Api, sent: dict[str, str]) -> None:
    form = {"file": ("x.onnx", b"another")}
    problem(api.client.post("/v1/networks", files=form, headers=sent), 403, "another site")
    assert len(api.client.get("/v1/networks", headers=sent).json()["items"]) == 1
    assert api.client.post("/v1/networks", files=form).status_code == 201


def test_names_that_were_set_are_the_only_ones(tmp_path: Path) -> None:
    with opened(tmp_path, require_keys=True, allowed_hosts="cert.example,other.example") as service:
        headers = {"Authorization": f"Bearer {service.key(Scope.READ).token}"}
        for host in ("cert.example", "CERT.example:443", "other.example", "127.0.0.1"):
            response = service.client.get("/v1/me", headers={**headers, "Host": host})
            assert response.status_code == 200, host
        for path in ("/v1/me", "/login", "/docs"):
            response = service.client.get(path, headers={**headers, "Host": "evil.example"})
            problem(response, 421, "evil.example")


@pytest.mark.parametrize(("name", "value"), [("trusted_proxies", "*"), ("trusted_proxies", "proxy"),
                                             ("allowed_hosts", "a b"), ("allowed_hosts", "a:80"),
                                             ("allowed_hosts", "*")])  # fmt: skip
def test_settings_that_would_trust_everybody_are_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name):
        Settings.model_validate({name: value})
