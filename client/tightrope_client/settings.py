"""How a client reaches its server: address, key, patience."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, Self

import httpx

from tightrope_client.errors import ConfigurationError

__all__ = ["DEFAULT_SERVER", "RetryPolicy", "Settings", "version"]

DEFAULT_SERVER = "http://127.0.0.1:8000"
SERVER_VARIABLE = "TIGHTROPE_SERVER"
KEY_VARIABLE = "TIGHTROPE_API_KEY"


def version() -> str:
    """Return the version of the installed distribution."""
    try:
        return metadata.version("tightrope-client")
    except metadata.PackageNotFoundError:
        return "unknown"


@dataclass(frozen=True)
class RetryPolicy:
    """How long a request is repeated while the server cannot be reached or is overloaded.

    Attributes:
        patience_seconds: From the first failure to the last attempt; 0 for one attempt.
        first_delay_seconds: Doubles with every attempt.
        longest_delay_seconds: Between attempts, unless the server itself asks for longer.
    """

    patience_seconds: float = 60.0
    first_delay_seconds: float = 0.5
    longest_delay_seconds: float = 15.0

    def __post_init__(self) -> None:
        """Refuse what no clock can follow."""
        if self.patience_seconds < 0 or not self.first_delay_seconds > 0:
            raise ConfigurationError("a retry policy needs patience of 0 or more, delays above 0")

    def delay(self, attempt: int) -> float:
        """Return the seconds to wait after so many attempts, from 1."""
        # Beyond 2**30 the power means nothing, and would overflow in the end.
        doubled = self.first_delay_seconds * 2.0 ** min(attempt - 1, 30)
        return min(self.longest_delay_seconds, doubled)


@dataclass(frozen=True)
class Settings:
    """Where the server is and who asks.

    Attributes:
        server: Address, such as `https://tightrope.example`; may have a path.
        api_key: Sent as `Authorization: Bearer`; None for a server that asks for none.
        retries: While it cannot be reached.
        timeout_seconds: For an answer that is not held back on purpose.
    """

    server: str = DEFAULT_SERVER
    api_key: str | None = field(default=None, repr=False)
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    timeout_seconds: float = 60.0

    def __post_init__(self) -> None:
        """Refuse an address or a key that cannot be sent."""
        try:
            url = httpx.URL(self.server)
        except httpx.InvalidURL as error:
            raise ConfigurationError(
                f"{self.server!r} is no address of a server: {error}"
            ) from error
        if url.scheme not in {"http", "https"} or not url.host:
            raise ConfigurationError(
                f"{self.server!r} is no address of a server; give one such as {DEFAULT_SERVER} "
                f"(option, or the variable {SERVER_VARIABLE})"
            )
        if self.api_key is not None and not (self.api_key.isascii() and self.api_key.isprintable()):
            raise ConfigurationError(
                f"the API key has characters that no key has; check the variable {KEY_VARIABLE}"
            )

    @classmethod
    def from_environment(
        cls,
        server: str | None = None,
        api_key: str | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        **others: Any,  # noqa: ANN401 (the fields of this class)
    ) -> Self:
        """Return settings; what is not given comes from `TIGHTROPE_SERVER`, `TIGHTROPE_API_KEY`.

        Raises:
            ConfigurationError: They cannot be used.
        """
        variables = os.environ if environment is None else environment
        key = variables.get(KEY_VARIABLE) if api_key is None else api_key
        address = variables.get(SERVER_VARIABLE) if server is None else server
        # Secrets that were piped into a variable end in a newline.
        stripped = (key or "").strip() or None
        return cls((address or "").strip() or DEFAULT_SERVER, stripped, **others)

    def headers(self) -> dict[str, str]:
        """Return what every request carries."""
        named = {"User-Agent": f"tightrope-client/{version()}"}
        return (
            named
            if self.api_key is None
            else {
                **named,
                "Authorization": f"Bearer {self.api_key}",
            }
        )
