"""The two clients: the same operations, called or awaited."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Generic, Self, TypeVar

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
W = TypeVar("W", httpx.BaseTransport, httpx.AsyncBaseTransport)


class _Client(Generic[R, W]):
    """What both clients offer, of the arguments that `Client` names.

    Attributes:
        _opens: The class of httpx that carries requests.
        _runs: Decides whether operations are called or awaited.
    """

    _opens: ClassVar[Callable[..., Any]]
    _runs: ClassVar[Callable[..., Any]]

    def __init__(
        self,
        server: str | None = None,
        api_key: str | None = None,
        *,
        settings: Settings | None = None,
        notice: Notice | None = None,
        transport: W | None = None,
    ) -> None:
        self.settings = settings or Settings.from_environment(server, api_key)
        http = self._opens(
            base_url=self.settings.server, headers=self.settings.headers(), transport=transport
        )
        self._runner: R = self._runs(http, self.settings, notice)
        self.networks: Networks[R] = Networks(self._runner)
        self.datasets: Datasets[R] = Datasets(self._runner)
        self.certifications: Certifications[R] = Certifications(self._runner)
        self.comparisons: Comparisons[R] = Comparisons(self._runner)
        self.trainings: Trainings[R] = Trainings(self._runner)
        self.jobs: Jobs[R] = Jobs(self._runner)
        self.keys: Keys[R] = Keys(self._runner)
        self.webhooks: Webhooks[R] = Webhooks(self._runner)


class Client(_Client[SyncRunner, httpx.BaseTransport]):
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

    _opens = httpx.Client
    _runs = SyncRunner

    def close(self) -> None:
        """Close the connections."""
        self._runner.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()


class AsyncClient(_Client[AsyncRunner, httpx.AsyncBaseTransport]):
    """A client whose operations are awaited, in asyncio; arguments as for `Client`."""

    _opens = httpx.AsyncClient
    _runs = AsyncRunner

    async def close(self) -> None:
        """Close the connections."""
        await self._runner.http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_raised: object) -> None:
        await self.close()
