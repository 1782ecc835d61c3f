"""Webhooks go where the operator said, and nowhere inside the network."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.destinations import DestinationError, Destinations, is_public


def destinations(*hosts: str, private: bool = False, signed: bool = True) -> Destinations:
    return Destinations(frozenset(hosts), private, signed)


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.org/a?b=c",
        "http://hooks.example.org",
        "https://HOOKS.example.org:443/",
        "https://hooks.example.org./",
        "https://a.b.team.example.net:8443/x",
    ],
)
def test_what_is_named_may_be_told(url: str) -> None:
    assert destinations("hooks.example.org", "*.team.example.net:8443").check(url).hostname


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://other.example.org/", "none of the hosts"),
        ("https://hooks.example.org.evil.example/", "none of the hosts"),
        ("https://xhooks.example.org/", "none of the hosts"),
        ("https://team.example.net:8443/", "none of the hosts"),
        ("https://a.team.example.net/", "none of the hosts"),
        ("https://hooks.example.org:8080/", "none of the hosts"),
        ("https://user:word@hooks.example.org/", "name or password"),
        ("https://hooks.example.org@evil.example/", "name or password"),
        ("ftp://hooks.example.org/", "begins with https://"),
        ("file:///etc/passwd", "begins with https://"),
        ("hooks.example.org", "begins with https://"),
        ("https://hooks.example.org:port/", "no URL"),
        ("https://[::1/", "no URL"),
        ("https://hooks.example.org/\r\nHost: x", "printable"),
        ("https://hooks.example.org/ x", "printable"),
        ("https://hööks.example.org/", "printable"),
        ("https://hooks.example.org/" + "x" * 2000, "2000 characters"),
    ],
)
def test_what_is_not_is_refused_and_told_why(url: str, words: str) -> None:
    with pytest.raises(DestinationError, match=words):
        destinations("hooks.example.org", "*.team.example.net:8443").check(url)


@pytest.mark.parametrize("where", [destinations(), destinations("a.example", signed=False)])
def test_nothing_is_sent_unless_the_operator_said_where_and_gave_a_secret(
    where: Destinations,
) -> None:
    with pytest.raises(DestinationError, match=r"TIGHTROPE_WEBHOOK_HOSTS and .*SECRET"):
        where.check("https://a.example/")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0",  # noqa: S104
        "100.64.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1",
        "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1",
        "2002:7f00:1::", "2002:a00:1::1",
    ],
)  # fmt: skip
def test_addresses_inside_are_seen_through_every_disguise(address: str) -> None:
    assert not is_public(address)
    where = destinations("a.example")
    parts = where.check("https://a.example/")
    with pytest.raises(DestinationError, match="not a public address"):
        where.address(parts, lambda *_: ["93.184.216.34", address])
    assert destinations("a.example", private=True).address(parts, lambda *_: [address]) == address


@pytest.mark.parametrize("address", ["93.184.216.34", "1.1.1.1", "2606:4700::1111"])
def test_addresses_of_the_internet_will_do(address: str) -> None:
    assert is_public(address)


@given(number=st.integers(0, 2**32 - 1))
def test_an_address_is_judged_alike_in_both_forms(number: int) -> None:
    plain = ipaddress.IPv4Address(number)
    assert is_public(f"::ffff:{plain}") == is_public(str(plain))
    assert is_public(str(plain)) <= (not plain.is_private)


def test_hosts_that_lead_nowhere() -> None:
    where = destinations("a.example")
    parts = where.check("https://a.example/")

    def unknown(host: str, port: int) -> list[str]:
        raise OSError(f"{host}:{port}")

    with pytest.raises(DestinationError, match=r"is not known: a\.example:443"):
        where.address(parts, unknown)
    with pytest.raises(DestinationError, match="no address"):
        where.address(parts, lambda *_: [])
