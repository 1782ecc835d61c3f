"""The two clients: the same operations, called or awaited."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Self

import httpx

from tightrope_client.access import Keys, Webhooks
from tightrope_client.jobs import Jobs
from tightrope_client.operations import R
from tightrope_client.resources import Certifications, Comparisons, Trainings
from tightrope_client.runners import AsyncRunner, SyncRunner
from tightrope_client.settings import Settings
from tightrope_client.uploads import Datasets, Networks

__all__ = ["AsyncClient", "Client"]

Notice = Callable[[str, float], object]


class _Resources(Generic[R]):
    """What both clients offer.

    Args:
        runner: Decides whether operations are called or awaited.
    """

    def __init__(self, runner: R) -> None:
        self.networks: Networks[R] = Networks(runner)
        self.datasets: Datasets[R] = Datasets(runner)
        self.certifications: Certifications[R] = Certifications(runner)
        self.comparisons: Comparisons[R] = Comparisons(runner)
        self.trainings: Trainings[R] = Trainings(runner)
        self.jobs: Jobs[R] = Jobs(runner)
        self.keys: Keys[R] = Keys(runner)
        self.webhooks: Webhooks[R] = Webhooks(runner)


class Client(_Resources[SyncRunner]):
    """A client that waits for each answer.

    Args:
        server: Address; `TIGHTROPE_SERVER` if absent, and then this machine.
        api_key: `TIGHTROPE_API_KEY` if absent.
        settings: Patience and more, in place of both.
        notice: Told why a request is about to be repeated, and in how many seconds.
        transport: Of httpx, for tests and for other ways to the server.

    Raises:
        ConfigurationError: Address or key cannot be used.
    """

    def __init__(
        self,
        server: str | None = None,
        api_key: str | None = None,
        *,
        settings: Settings | None = None,
        notice: Notice | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.settings = settings or Settings.from_environment(server, api_key)
        self._http = httpx.Client(**_options(self.settings), transport=transport)
        super().__init__(SyncRunner(self._http, self.settings, notice))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()


class AsyncClient(_Resources[AsyncRunner]):
    """A client whose operations are awaited, in asyncio; arguments as for `Client`."""

    def __init__(
        self,
        server: str | None = None,
        api_key: str | None = None,
        *,
        settings: Settings | None = None,
        notice: Notice | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.settings = settings or Settings.from_environment(server, api_key)
        self._http = httpx.AsyncClient(**_options(self.settings), transport=transport)
        super().__init__(AsyncRunner(self._http, self.settings, notice))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_raised: object) -> None:
        await self.close()


def _options(settings: Settings) -> dict[str, Any]:
    """Return what both kinds of httpx's clients are given."""
    return {"base_url": settings.server, "headers": settings.headers()}
