"""Equal reads of the database, made once for all who ask at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

from anyio.to_thread import run_sync
from fastapi import Request, Response
from pydantic import BaseModel

from api.services import Services

__all__ = ["SharedReads", "Shown", "read_once", "show_once"]

Value = TypeVar("Value")


@dataclass(frozen=True)
class Shown:
    """What clients are shown of a row.

    Attributes:
        view: As a wire type.
        tag: Differs where the view tells something else.
    """

    view: BaseModel
    tag: str


class SharedReads:
    """Reads for many: while one is under way, all who ask wait for the next one together.

    Nobody is given what was read before they asked, so that whoever changes something sees it.
    Hundreds of clients that poll one job, or wake at its end, cost two reads and not hundreds.
    """

    def __init__(self) -> None:
        self._next: dict[Hashable, asyncio.Task[Any]] = {}
        self._busy: dict[Hashable, asyncio.Event] = {}

    async def read(self, key: Hashable, read: Callable[[], Value]) -> Value:
        """Return what `read` returns, in a thread.

        Args:
            key: Equal for equal reads.
            read: Asks the database; called after this was called.
        """
        task = self._next.get(key)
        if task is None:
            task = asyncio.create_task(self._read_next(key, read))
            self._next[key] = task
        # One client that leaves must not take the others' answer with it.
        found: Value = await asyncio.shield(task)
        return found

    async def _read_next(self, key: Hashable, read: Callable[[], Value]) -> Value:
        while (busy := self._busy.get(key)) is not None:
            await busy.wait()
        del self._next[key]
        done = self._busy[key] = asyncio.Event()
        try:
            return await run_sync(read)
        finally:
            del self._busy[key]
            done.set()


async def read_once(
    request: Request, services: Services, get: Callable[[str], Value], identifier: str
) -> Value:
    """Return a row, read together with all who ask for it at the same time.

    Args:
        request: That asks.
        services: Of the request: rows are shared inside a project only.
        get: Such as `services.jobs.get`.
        identifier: Of the row.
    """
    key = _key(services, get, identifier)
    return await _reads_of(request).read(key, lambda: get(identifier))


async def show_once(
    request: Request,
    services: Services,
    get: Callable[[str], Value],
    identifier: str,
    show: Callable[[Value], Shown],
) -> Response:
    """Return the answer that shows a row, read and written out once for all who ask at a time.

    Args:
        request: That asks.
        services: Of the request.
        get: Such as `services.jobs.get`.
        identifier: Of the row.
        show: Makes what clients see of the row; the same function for the same `get`.
    """

    def made() -> tuple[bytes, str]:
        shown = show(get(identifier))
        return shown.view.model_dump_json().encode(), shown.tag

    key = (*_key(services, get, identifier), "shown")
    body, tag = await _reads_of(request).read(key, made)
    return Response(body, media_type="application/json", headers={"ETag": tag})


def _reads_of(request: Request) -> SharedReads:
    reads = request.app.state.reads
    if not isinstance(reads, SharedReads):
        raise TypeError("the application was not made by create_app")
    return reads


def _key(services: Services, get: Callable[[str], Any], identifier: str) -> tuple[Hashable, ...]:
    """Return what equal reads have in common."""
    tenant = services.database.tenant
    project = None if tenant is None else tenant.project_id
    return project, type(getattr(get, "__self__", None)).__name__, get.__name__, identifier
