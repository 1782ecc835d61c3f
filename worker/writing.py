"""Stores answers as they come, beside the computation and several at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from worker.beside import Beside

__all__ = ["AnswerWriter"]

_PAUSE_SECONDS = 0.5


class AnswerWriter(Beside):
    """Writes from a thread of its own while a context is open; on leaving it all is written.

    An answer is stored within a fraction of a second, however long the next one takes, and bounds,
    which bring hundreds of answers a second, need one transaction for many.

    Args:
        store: Stores answers; called by one thread at a time.
        seconds: Between two writes.
    """

    def __init__(
        self,
        store: Callable[[Sequence[Mapping[str, Any]]], None],
        *,
        seconds: float = _PAUSE_SECONDS,
    ) -> None:
        super().__init__({"writer": self._loop})
        self._store = store
        self._seconds = seconds
        self._lock = threading.Lock()
        self._waiting: list[Mapping[str, Any]] = []
        self._news = threading.Event()
        self._error: Exception | None = None

    @property
    def failed(self) -> bool:
        """Whether storing has failed, so that there is no point in computing more."""
        return self._error is not None

    def add(self, item: Mapping[str, Any]) -> None:
        """Take an answer to be stored."""
        with self._lock:
            self._waiting.append(item)
        self._news.set()

    def _stop(self) -> None:
        super()._stop()
        self._news.set()

    def _left(self, error: BaseException | None) -> None:
        self._flush()
        if self._error is not None and error is None:
            raise self._error

    def _loop(self) -> None:
        while not self._done.is_set():
            self._news.wait()
            self._news.clear()
            self._flush()
            self._done.wait(self._seconds)

    def _flush(self) -> None:
        with self._lock:
            items, self._waiting = self._waiting, []
        if not items or self._error is not None:
            return
        try:
            self._store(items)
        except Exception as error:  # raised again by the thread that computes
            self._error = error
