"""Where the server is and who asks: from arguments, from the environment, or refused."""

from __future__ import annotations

import tomllib

import httpx
import pytest

from tests.client.conftest import KINDS, Fake, perform
from tests.helpers.imports import ROOT
from tightrope_client import ConfigurationError, RetryPolicy, Settings
from tightrope_client.settings import version

KEY = "trk_01jr3v7q9k_secret"


def test_the_environment_stands_in_for_what_is_not_given() -> None:
    named = {"TIGHTROPE_SERVER": "https://one.test/x ", "TIGHTROPE_API_KEY": f"{KEY}\n"}
    found = Settings.from_environment(environment=named)
    assert (found.server, found.api_key) == ("https://one.test/x", KEY)
    given = Settings.from_environment("http://two.test", "other", environment=named)
    assert (given.server, given.api_key) == ("http://two.test", "other")
    nothing = Settings.from_environment(environment={"TIGHTROPE_API_KEY": "  "})
    assert (nothing.server, nothing.api_key) == ("http://127.0.0.1:8000", None)


@pytest.mark.parametrize("server", ["ftp://server.test", "server.test", "http://", "http://x:port"])
def test_an_address_that_is_none_is_refused(server: str) -> None:
    with pytest.raises(ConfigurationError, match="is no address of a server"):
        Settings(server)


@pytest.mark.parametrize("key", ["two\nlines", "schlüssel", "a\x00b"])
def test_a_key_that_no_header_carries_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(ConfigurationError, match="TIGHTROPE_API_KEY") as caught:
        Settings(api_key=key)
    assert key not in str(caught.value)


def test_the_key_is_not_shown() -> None:
    assert KEY not in repr(Settings(api_key=KEY))


@pytest.mark.parametrize("values", [(-1.0, 1.0), (1.0, 0.0)])
def test_a_policy_that_cannot_be_followed_is_refused(values: tuple[float, float]) -> None:
    with pytest.raises(ConfigurationError):
        RetryPolicy(*values)


def test_delays_double_up_to_the_longest() -> None:
    policy = RetryPolicy(first_delay_seconds=1.0, longest_delay_seconds=10.0)
    assert [policy.delay(n) for n in (1, 2, 3, 4, 5, 10**6)] == [1, 2, 4, 8, 10, 10]


@pytest.mark.parametrize("kind", KINDS)
def test_every_request_says_who_asks(kind: str) -> None:
    server = Fake(httpx.Response(204))
    perform(kind, server, lambda client: client.networks.delete("net_1"), api_key=KEY)
    perform(kind, server, lambda client: client.networks.delete("net_1"))
    with_key, without = (request.headers for request in server.requests)
    assert with_key["authorization"] == f"Bearer {KEY}"
    assert "authorization" not in without
    assert with_key["user-agent"] == f"tightrope-client/{version()}"


def test_the_version_is_that_of_the_distribution() -> None:
    project = tomllib.loads((ROOT / "client" / "pyproject.toml").read_text(encoding="utf-8"))
    server = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["version"] == version() == server["project"]["version"]
