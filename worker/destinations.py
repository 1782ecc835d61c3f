"""Where webhooks may go.

A URL in a request makes a machine inside the network open a connection. So the host has to be one
that the operator named, its address has to be public unless the operator said otherwise, and the
connection goes to the very address that was looked at: a name that leads elsewhere a moment later
(DNS rebinding) gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from store.settings import PREFIX, Settings

__all__ = ["DestinationError", "Destinations", "Resolver", "is_public", "resolve"]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Sequence[str]]
"""Returns the addresses of a host."""

_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_LONGEST_URL = 2000


class DestinationError(Exception):
    """A webhook may not go there; the message says why."""


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host as the system knows them.

    Raises:
        OSError: It is not known.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def is_public(text: str) -> bool:
    """Return whether an address is one of the Internet, whatever other address it hides."""
    address = ipaddress.ip_address(text.partition("%")[0])
    return all(
        one.is_global and not one.is_multicast and not one.is_reserved for one in _faces(address)
    )


def _faces(address: Address) -> list[Address]:
    """Return an address and those that packets to it end up at."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    hidden = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        hidden.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    return [address, *(one for one in hidden if one is not None)]


@dataclass(frozen=True)
class Destinations:
    """The operator's word on where webhooks may go.

    Attributes:
        hosts: Names, `*.` and a domain, each with its port where that is not the usual one.
        private: Addresses that are not public will do.
        signed: There is a secret to sign with.
    """

    hosts: frozenset[str]
    private: bool
    signed: bool

    @staticmethod
    def of(settings: Settings) -> Destinations:
        """Return what the settings say."""
        named = (host.strip().lower() for host in settings.webhook_hosts.split(","))
        return Destinations(
            hosts=frozenset(host for host in named if host),
            private=settings.webhook_private,
            signed=settings.webhook_secret is not None,
        )

    def check(self, url: str) -> SplitResult:
        """Return a URL in its parts, if webhooks may go there as far as its text tells.

        Raises:
            DestinationError: They may not.
        """
        if not self.hosts or not self.signed:
            raise DestinationError(
                "this service sends no webhooks; its operator has to set "
                f"{PREFIX}WEBHOOK_HOSTS and {PREFIX}WEBHOOK_SECRET"
            )
        if len(url) > _LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url:
            raise DestinationError(
                f"a URL has at most {_LONGEST_URL} characters, all of them printable ASCII"
            )
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise DestinationError(f"this is no URL: {error}") from error
        if parts.scheme not in _PORTS or not parts.hostname:
            raise DestinationError("a URL begins with https:// or http:// and names a host")
        if parts.username is not None or parts.password is not None:
            raise DestinationError("a URL must not carry a name or password")
        if not self._is_named(parts.hostname, port, _PORTS[parts.scheme]):
            raise DestinationError(
                f"{parts.netloc} is none of the hosts that {PREFIX}WEBHOOK_HOSTS allows"
            )
        return parts

    def address(self, parts: SplitResult, resolver: Resolver) -> str:
        """Return the address to connect to.

        Args:
            parts: Of a URL that was checked.
            resolver: Asked once.

        Raises:
            DestinationError: The host is unknown, or leads to an address that is not public.
        """
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        try:
            found = list(resolver(host, port))
        except OSError as error:
            raise DestinationError(f"{host} is not known: {error}") from error
        if not found:
            raise DestinationError(f"{host} has no address")
        private = [address for address in found if not is_public(address)]
        if private and not self.private:
            raise DestinationError(f"{host} leads to {private[0]}, which is not a public address")
        return found[0]

    def _is_named(self, host: str, port: int | None, usual: int) -> bool:
        host = host.lower().rstrip(".")
        suffix = "" if port is None or port == usual else f":{port}"
        names = [host, *(f"*.{rest}" for rest in _parents(host))]
        return any(f"{name}{suffix}" in self.hosts for name in names)


def _parents(host: str) -> list[str]:
    labels = host.split(".")
    return [".".join(labels[start:]) for start in range(1, len(labels))]
