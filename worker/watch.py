"""When work of another process has to stop or is overdue, and what it means that one has ended."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

__all__ = ["HINTS", "Watch", "ending"]

HINTS: Mapping[int, str] = {
    signal.SIGKILL: "most likely the machine ran out of memory",
    signal.SIGSEGV: "a library it uses crashed",
    signal.SIGABRT: "a library it uses gave up, perhaps for want of memory",
    signal.SIGBUS: "a library it uses crashed, or a disk is full",
    signal.SIGXCPU: "it used more processor time than the work may take",
    signal.SIGXFSZ: "it wrote a file beyond the limit",
}


class Watch:
    """Knows when one piece of work has to stop, was patient enough, or is overdue.

    Args:
        cancelled: Whether the work has to stop.
        whole: When it is overdue, by the monotonic clock; None for never.
        patience_seconds: How long it may go on after it was told to stop.
    """

    def __init__(
        self, cancelled: Callable[[], bool], whole: float | None, patience_seconds: float
    ) -> None:
        self._cancelled = cancelled
        self._whole = whole
        self._patience_seconds = patience_seconds
        self._ends: float | None = None

    def asks_to_stop(self) -> bool:
        """Return whether the work has to be told to stop: once."""
        if self._ends is not None or not self._cancelled():
            return False
        self._ends = time.monotonic() + self._patience_seconds
        return True

    def patience_ended(self) -> bool:
        """Return whether it was told long ago."""
        return self._ends is not None and time.monotonic() > self._ends

    def overdue(self) -> bool:
        """Return whether it takes longer than it can need."""
        return self._whole is not None and time.monotonic() > self._whole


def ending(status: int | None) -> tuple[str, str]:
    """Return what ended a process, and what that hints at."""
    if status is None:
        return "nothing that is known", ""
    if status >= 0:
        return f"itself, with status {status}", ""
    with suppress(ValueError):
        hint = HINTS.get(-status, "")
        return signal.Signals(-status).name, f": {hint}" if hint else ""
    return f"signal {-status}", ""
