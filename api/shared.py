"""Equal reads of the database, made once for all who ask at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from anyio.to_thread import run_sync
from fastapi import Request

from api.services import Services

__all__ = ["SharedReads", "read_once"]

Value = TypeVar("Value")


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
    reads = request.app.state.reads
    if not isinstance(reads, SharedReads):
        raise TypeError("the application was not made by create_app")
    tenant = services.database.tenant
    project = None if tenant is None else tenant.project_id
    kind = type(getattr(get, "__self__", None))
    key = (project, kind, getattr(get, "__name__", ""), identifier)
    return await reads.read(key, lambda: get(identifier))
