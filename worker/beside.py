"""Threads that work beside a block, from when it is entered until it is left."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from worker.logs import in_this_context

__all__ = ["Beside"]


class Beside:
    """Base of what has threads of its own while a context is open.

    Loops end soon after `self._done` is set. What they log carries the job of the thread that made
    this.

    Args:
        loops: What the threads do, by their names.
        leaving_seconds: How long leaving waits for each of them; None for as long as it takes.
    """

    def __init__(
        self, loops: dict[str, Callable[[], None]], *, leaving_seconds: float | None = None
    ) -> None:
        self._done = threading.Event()
        self._leaving_seconds = leaving_seconds
        self._threads = [
            threading.Thread(target=in_this_context(loop), name=name, daemon=True)
            for name, loop in loops.items()
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()
        for thread in self._threads:
            thread.join(self._leaving_seconds)
        self._left(error)

    def _stop(self) -> None:
        """Tell the loops to end."""
        self._done.set()

    def _left(self, error: BaseException | None) -> None:
        """Do what is left to do once the threads have ended; `error` is what the block raised."""
