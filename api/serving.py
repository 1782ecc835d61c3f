"""What both ways to start the API have in common: the address, and how it is served."""

from __future__ import annotations

import ipaddress
from typing import Any

from sqlalchemy.exc import DBAPIError

from store.database import Database
from store.keys import Keys
from store.settings import PREFIX, Settings, SettingsError

__all__ = ["check_address", "server_options"]

_DRAIN_SECONDS = 3


def check_address(host: str, settings: Settings) -> None:
    """Refuse to listen where others could reach a service that asks nobody for a key.

    Args:
        host: Name or address to listen on.
        settings: Of this process.

    Raises:
        SettingsError: `host` is no loopback address, keys are not needed, and nobody allowed it.
    """
    if _is_loopback(host) or settings.allow_unauthenticated or _keys_needed(settings):
        return
    raise SettingsError(
        f"{host} can be reached by others, and the service asks nobody who they are; "
        f"listen on 127.0.0.1, make a key with `tightrope keys create`, set {PREFIX}REQUIRE_KEYS=1 "
        f"to ask for keys from the start, or set {PREFIX}ALLOW_UNAUTHENTICATED=1 if everyone who "
        "can reach it is to be trusted"
    )


def server_options() -> dict[str, Any]:
    """Return what uvicorn is told: requests are logged by nobody, headers of proxies not believed.

    Proxies that may be believed are a matter of the application, which knows the settings.
    """
    return {
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "timeout_graceful_shutdown": _DRAIN_SECONDS,
    }


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _keys_needed(settings: Settings) -> bool:
    """Return whether the service asks for keys; a database without tables yet has none."""
    if settings.require_keys is not None:
        return settings.require_keys
    database = Database(settings.database)
    try:
        return Keys(database).ever_made()
    except DBAPIError:
        return False
    finally:
        database.close()
