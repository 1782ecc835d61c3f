"""Which addresses a service without logins may listen on."""

from __future__ import annotations

import ipaddress

from store.settings import PREFIX, SettingsError

__all__ = ["check_address"]


def check_address(host: str, *, allowed: bool) -> None:
    """Refuse to listen where others could reach a service that asks nobody for a key.

    Args:
        host: Name or address to listen on.
        allowed: Whether the operator wants that.

    Raises:
        SettingsError: `host` is no loopback address and nobody allowed it.
    """
    if allowed or host == "localhost":
        return
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise SettingsError(
            f"{host} can be reached by others, and the service asks nobody who they are; "
            f"listen on 127.0.0.1, or set {PREFIX}ALLOW_UNAUTHENTICATED=1 if everyone who can "
            "reach it is to be trusted"
        )
