"""How many workers of one installation share this machine, so that they share its cores.

Each worker holds a lock on a file of its own for as long as it lives, in a folder that is named
after the machine: the kernel lets go of the lock when the process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path
from typing import Self

__all__ = ["Neighbours"]


class Neighbours:
    """Counts the workers on this machine while a context is open, this one included.

    Args:
        folder: That workers of the installation share.
        name: Of this worker.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder / socket.gethostname()
        self._path = self._folder / f"{name}.lock"
        self._handle: int | None = None

    def share(self, cores: int) -> int:
        """Return how many of the cores are this worker's, at least 1."""
        return max(1, cores // max(1, self.count()))

    def count(self) -> int:
        """Return how many workers live on this machine."""
        return sum(_held(path) for path in self._folder.glob("*.lock"))

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        while self._handle is None:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(handle, fcntl.LOCK_EX)
            if os.fstat(handle).st_nlink:
                self._handle = handle
            else:  # somebody found it without a lock, and removed it
                os.close(handle)
        return self

    def __exit__(self, *_raised: object) -> None:
        self._path.unlink(missing_ok=True)
        if self._handle is not None:
            os.close(self._handle)


def _held(path: Path) -> bool:
    """Return whether a worker holds this file; one that nobody holds is removed."""
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:  # it has just ended
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        path.unlink(missing_ok=True)
        return False
    finally:
        os.close(handle)
