"""How steps are performed: at once, or awaited. Nothing else tells the two clients apart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

import httpx

from tightrope_client.calls import Paging, Request
from tightrope_client.flows import Compute, Flow, Pause, Retry, Send, Step, exchange
from tightrope_client.settings import Settings

__all__ = ["AsyncRunner", "Runner", "SyncRunner"]

T = TypeVar("T")
H = TypeVar("H", httpx.Client, httpx.AsyncClient)
_PIECE_BYTES = 2**18


class Runner(Generic[H]):
    """What both runners have.

    Args:
        http: Sends requests.
        settings: Of the client.
        notice: Told why a request is repeated, and in how many seconds.
    """

    def __init__(
        self,
        http: H,
        settings: Settings,
        notice: Callable[[str, float], object] | None = None,
    ) -> None:
        self.http: H = http
        self.settings = settings
        self.retry = Retry(settings.retries) if notice is None else Retry(settings.retries, notice)

    def build(self, request: Request, content: object) -> httpx.Request:
        """Return a request as httpx sends it."""
        arguments = request.arguments(self.settings.timeout_seconds)
        if content is not None:
            arguments["content"] = content
        built: httpx.Request = self.http.build_request(**arguments)
        return built


class SyncRunner(Runner[httpx.Client]):
    """Performs steps one after the other in this thread."""

    def run(self, flow: Flow[T]) -> T:
        """Return the result of a flow."""
        try:
            step = next(flow)
            while True:
                step = _resume(flow, *self._perform(step))
        except StopIteration as stop:
            result: T = stop.value
            return result

    def iterate(self, paging: Paging[T]) -> Iterator[T]:
        """Yield the entries of all pages; a page is asked for when it is needed."""
        cursor: str | None = None
        while True:
            page = self.run(exchange(paging(cursor), self.retry))
            yield from page.items
            cursor = page.following
            if cursor is None:
                return

    def _perform(self, step: Step) -> tuple[object, BaseException | None]:
        match step:
            case Pause(seconds):
                time.sleep(seconds)
                return None, None
            case Compute(function):
                return _attempt(function)
            case Send(request):
                return self._send(request), None

    def _send(self, request: Request) -> object:
        content = None if request.upload is None else _pieces(request.upload)
        try:
            response = self.http.send(self.build(request, content), stream=True)
            try:
                if request.into is None or not response.is_success:
                    response.read()
                else:
                    with _staged(request.into) as file:
                        for piece in response.iter_bytes():
                            file.write(piece)
            finally:
                response.close()
        except httpx.TransportError as error:
            return error
        return response


class AsyncRunner(Runner[httpx.AsyncClient]):
    """Performs steps in asyncio's event loop."""

    async def run(self, flow: Flow[T]) -> T:
        """Return the result of a flow."""
        try:
            step = next(flow)
            while True:
                step = _resume(flow, *await self._perform(step))
        except StopIteration as stop:
            result: T = stop.value
            return result

    async def iterate(self, paging: Paging[T]) -> AsyncIterator[T]:
        """Yield the entries of all pages; a page is asked for when it is needed."""
        cursor: str | None = None
        while True:
            page = await self.run(exchange(paging(cursor), self.retry))
            for entry in page.items:
                yield entry
            cursor = page.following
            if cursor is None:
                return

    async def _perform(self, step: Step) -> tuple[object, BaseException | None]:
        match step:
            case Pause(seconds):
                await asyncio.sleep(seconds)
                return None, None
            case Compute(function):
                return await asyncio.to_thread(_attempt, function)
            case Send(request):
                return await self._send(request), None

    async def _send(self, request: Request) -> object:
        content = None if request.upload is None else _awaited(_pieces(request.upload))
        try:
            response = await self.http.send(self.build(request, content), stream=True)
            try:
                if request.into is None or not response.is_success:
                    await response.aread()
                else:
                    with _staged(request.into) as file:
                        async for piece in response.aiter_bytes():
                            await asyncio.to_thread(file.write, piece)
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            return error
        return response


def _resume(flow: Flow[Any], outcome: object, error: BaseException | None) -> Step:
    """Tell a flow what became of its step, and return the next one."""
    return flow.send(outcome) if error is None else flow.throw(error)


def _attempt(function: Callable[[], object]) -> tuple[object, BaseException | None]:
    try:
        return function(), None
    except OSError as error:
        return None, error


def _pieces(upload: Path | bytes) -> Iterator[bytes]:
    if isinstance(upload, bytes):
        yield upload
        return
    with upload.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece


async def _awaited(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield pieces that are read in a thread, so that the loop goes on meanwhile."""
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


@contextmanager
def _staged(target: Path) -> Iterator[BinaryIO]:
    """Yield a file that gets its name only when all of it is there."""
    partial = target.with_name(f".{target.name}.part")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
