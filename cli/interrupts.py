"""Ctrl-C as a request that work looks at, so that native solvers stop where they can."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import click

__all__ = ["stop_on_interrupt"]


@contextmanager
def stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Give the question "was Ctrl-C pressed?" to the work inside, and act on it at the end.

    The first SIGINT is only noted: solvers ask between their steps and return. A second one
    interrupts at once. Whatever the work returned after the first is dropped.

    Yields:
        A function that returns whether to stop.

    Raises:
        KeyboardInterrupt: On leaving, where an interrupt came.
    """
    pressed = False

    def note(_signal: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True
        click.echo("stopping; press Ctrl-C again to stop at once", err=True)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt
