"""Threads that work on one search: what they share is touched by one of them at a time.

Passes through a network are operators of torch, which let go of the interpreter, so that threads
compute side by side. They take turns at everything else: at the pool, at the bracket, at what was
measured. Nothing is copied and nothing is sent, which processes would have to.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import Enum
from types import TracebackType

import torch

from solvers.budget import Budget

__all__ = ["Crew", "Monitor", "Turn", "crew_size"]

_MOST = 4
"""More threads than this mostly wait for the interpreter; each gets more of torch's own instead."""
_NAP = 0.05
"""Seconds after which a thread without work looks around, if nobody has called it before."""


def crew_size(device: torch.device, wanted: int | None) -> int:
    """Return how many threads a search has.

    Args:
        device: On anything but a processor it is one.
        wanted: What the options say; None for one per thread that torch may use, up to a limit.
    """
    if device.type != "cpu":
        return 1
    return wanted or min(torch.get_num_threads(), _MOST)


class Monitor:
    """A lock around all that threads share; whoever computes leaves it for that long.

    Args:
        clock: Tells how long that was, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self._changed = threading.Condition(threading.Lock())

    def __enter__(self) -> None:
        """Wait until nobody else is inside."""
        self._changed.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the next one in."""
        self._changed.release()

    @contextmanager
    def left(self) -> Iterator[None]:
        """Let others in for the length of a block."""
        self._changed.release()
        try:
            yield
        finally:
            self._changed.acquire()

    def wait(self, seconds: float) -> None:
        """Let others in until one of them calls, or until that time has passed."""
        self._changed.wait(seconds)

    def call(self) -> None:
        """Wake all who wait."""
        self._changed.notify_all()


class Turn(Enum):
    """What came of a turn."""

    MADE = "made"
    IDLE = "idle"
    LAST = "last"


class Crew:
    """The threads of one search; whoever calls `run` is one of them.

    Args:
        size: How many there are.
        budget: Of the search. Whether it was cancelled, only the calling thread asks.

    Attributes:
        size: How many there are.
        monitor: Around all that they share.
        budget: For what they compute: it also ends once the search is over.
    """

    def __init__(self, size: int, budget: Budget) -> None:
        # Several threads wait for the interpreter now and then, which says nothing of the work.
        alone = size == 1 or torch.get_num_threads() // size > 1
        self.size = size
        self.monitor = Monitor(time.perf_counter if alone else time.thread_time)
        self._asked, self._home = budget.cancelled, threading.get_ident()
        self.budget = budget if size == 1 else replace(budget, cancelled=self._stopped)
        self._over = False
        self._failure: BaseException | None = None

    def _stopped(self) -> bool:
        if self._over:
            return True
        return threading.get_ident() == self._home and self._asked()

    def run(self, turn: Callable[[], Turn], between: Callable[[], None] | None = None) -> None:
        """Take turns until one says that it was the last.

        The first turn is taken before there are other threads, with all that torch may use: there
        is one region to begin with, and what it decides needs no crew.

        Args:
            turn: Called inside the monitor, by any thread; it should leave it while it computes.
            between: Called inside the monitor by the calling thread, after each of its turns.

        Raises:
            BaseException: Whatever a turn raised, in whichever thread.
        """
        with self.monitor:
            self._over = turn() is Turn.LAST
            if between is not None:
                between()
        if self._over:
            return
        with self._helped(turn):
            self._work(turn, between)
        if self._failure is not None:
            raise self._failure

    @contextmanager
    def _helped(self, turn: Callable[[], Turn]) -> Iterator[None]:
        """Let the other threads work for the length of a block; torch's own are shared out."""
        allowed, helpers = torch.get_num_threads(), list[threading.Thread]()
        each, grad = max(1, allowed // self.size), torch.is_grad_enabled()

        def help_along() -> None:
            torch.set_num_threads(each)  # counts for the thread that says it
            try:
                with torch.set_grad_enabled(grad):
                    self._work(turn)
            except BaseException as error:  # raised again by the thread that can handle it
                self._failure = self._failure or error
            finally:
                self._over = True

        try:
            for _ in range(1, self.size):
                helpers.append(threading.Thread(target=help_along, name="search", daemon=True))
                helpers[-1].start()
            if helpers:
                torch.set_num_threads(each)
            yield
        finally:
            self._over = True
            for helper in helpers:
                helper.join()
            if helpers:
                torch.set_num_threads(allowed)

    def _work(self, turn: Callable[[], Turn], between: Callable[[], None] | None = None) -> None:
        with self.monitor:
            while not self._over:
                came = turn()
                self._over = self._over or came is Turn.LAST
                if between is not None:
                    between()
                if came is Turn.IDLE:
                    self.monitor.wait(_NAP)
                else:
                    self.monitor.call()
