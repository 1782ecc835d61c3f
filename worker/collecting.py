"""Collections of garbage that stop nobody: what a process has loaded is not walked through again.

Python's full collections walk through every object there is, and nothing else runs meanwhile. In a
process that has loaded the API or the solvers these are about two hundred thousand, which all stay:
a collection takes more than a tenth of a second and frees next to nothing. Loading itself brings on
several.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["collect_rarely", "loading"]

_YOUNGEST = 5000


@contextmanager
def loading() -> Iterator[None]:
    """Load without any collection; leave all there is at the end out of those to come.

    For the moment before a process begins to work: the first time counts. What it drops later is
    freed as ever, unless it refers to itself in a circle.
    """
    gc.disable()
    try:
        yield
        if not gc.get_freeze_count():
            gc.collect()
            gc.freeze()
    finally:
        gc.enable()


def collect_rarely() -> None:
    """Look for garbage in larger steps than Python's 700 objects made and not yet freed.

    Of requests that are answered side by side, a few hundred bring a full collection otherwise. Not
    for processes that compute: what they drop may be large.
    """
    gc.set_threshold(_YOUNGEST, *gc.get_threshold()[1:])
