"""Clients over a fake way to a server, and a clock that does not let anybody wait."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from tests.e2e.test_serve import serving
from tests.helpers.small_files import write_mlp, write_three, write_two_class
from tightrope_client import AsyncClient, Client, Settings

Handler = Callable[[httpx.Request], httpx.Response]
KINDS = ("sync", "async")
# A client of either kind, and what its operation comes to: at once, or awaited.
Either = Any
Operation = Callable[[Either], Either]


@dataclass
class Clock:
    """Time that passes only when somebody sleeps."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.slept.append(seconds)
        self.now += seconds

    async def awaited(self, seconds: float) -> None:
        self.sleep(seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("tightrope_client.flows.time", made)
    monkeypatch.setattr("tightrope_client.runners.time", made)
    # Not the function itself: servers of other tests sleep by it in threads of this process.
    own = SimpleNamespace(sleep=made.awaited, to_thread=asyncio.to_thread)
    monkeypatch.setattr("tightrope_client.runners.asyncio", own)
    return made


class Fake:
    """A server in this process: answers from a list, then its last answer for ever.

    Args:
        answers: Responses, errors to raise, or functions from requests to responses.
    """

    def __init__(self, *answers: object) -> None:
        self.requests: list[httpx.Request] = []
        self._answers = list(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        found = answer(request) if callable(answer) else answer
        assert isinstance(found, httpx.Response)
        # A response is read once; a repeated answer has to be one of its own.
        return httpx.Response(found.status_code, headers=found.headers, content=found.content)


def perform(kind: str, server: Handler, operation: Operation, **others: object) -> Either:
    """Return what an operation of either client comes to; lists of what it iterates over.

    Args:
        kind: `sync` or `async`.
        server: Answers.
        operation: Of a client.
        others: Settings of the client; `notice` besides.
    """
    notice: Any = others.pop("notice", None)
    settings = Settings("http://server.test", **others)  # type: ignore[arg-type]
    transport = httpx.MockTransport(server)
    if kind == "sync":
        with Client(settings=settings, notice=notice, transport=transport) as client:
            found = operation(client)
            return list(found) if inspect.isgenerator(found) else found

    async def act() -> Either:
        async with AsyncClient(settings=settings, notice=notice, transport=transport) as client:
            found = operation(client)
            if inspect.isasyncgen(found):
                return [entry async for entry in found]
            return await found

    return asyncio.run(act())


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run the service with its worker, and yield its address."""
    with serving(tmp_path_factory.mktemp("service") / "data") as (_, visitor):
        yield str(visitor.http.base_url).rstrip("/")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a network, a worse one, and data; one input of three is verified."""
    folder = tmp_path / "repository"
    (folder / "nets").mkdir(parents=True)
    write_two_class(folder / "nets" / "two.onnx")
    write_mlp(folder / "nets" / "worse.onnx", [([[1.0, -1.0], [0.0, 0.0]], [0.0, 0.79])])
    write_three(folder / "three.npz")
    monkeypatch.chdir(folder)
    for name in ("TIGHTROPE_SERVER", "TIGHTROPE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return folder
