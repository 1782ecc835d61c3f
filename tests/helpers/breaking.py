"""Ways for a process to break, by name."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from models.errors import DataError

__all__ = ["FAULTS"]


def _fill_memory() -> None:
    kept = []
    while True:
        kept.append(bytearray(2**24))


def _refuse() -> None:
    raise DataError("input 1 holds NaN")


def _fill_disk() -> None:
    with Path(os.devnull).open("wb"):
        raise OSError(28, "No space left on device")


def _burn() -> None:
    while True:
        pass


FAULTS: Mapping[str, Callable[[], object]] = {
    "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "abort": os.abort,
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda: os._exit(7),
    "memory": _fill_memory,
    "refuse": _refuse,
    "disk": _fill_disk,
    "hang": lambda: time.sleep(3600),
    "burn": _burn,
}
