"""Files by the hash of their content, written whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from store.errors import NotFoundError, StoreFullError

__all__ = ["BlobStore", "IncomingBlob"]

_HASH = re.compile("[0-9a-f]{64}")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class IncomingBlob:
    """A file that is being received: it is gone unless `keep` is called.

    Use as a context manager. Written beside the store, so that keeping it is one rename.

    Attributes:
        path: Where the bytes are until then.
        size_bytes: How many came so far.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.path = root / "incoming" / secrets.token_hex(16)
        self.size_bytes = 0
        self._hash = hashlib.sha256()
        with full_disk_reported():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("xb")
            fcntl.flock(self._file, fcntl.LOCK_EX)  # until this process closes it, or ends

    @property
    def sha256(self) -> str:
        """Hash of what came so far, in hexadecimal."""
        return self._hash.hexdigest()

    def write(self, data: bytes) -> None:
        """Append `data`.

        Raises:
            StoreFullError: The disk is full.
        """
        with full_disk_reported():
            self._file.write(data)
        self._hash.update(data)
        self.size_bytes += len(data)

    def flush(self) -> None:
        """Make everything written so far readable at `path`, and durable.

        Raises:
            StoreFullError: The disk is full.
        """
        with full_disk_reported():
            self._file.flush()
            os.fsync(self._file.fileno())

    def keep(self) -> str:
        """Move the file to its place and return its hash. Call with the store locked.

        Raises:
            StoreFullError: The disk is full.
        """
        self.flush()
        target = path_of(self._root, self.sha256)
        with full_disk_reported():
            target.parent.mkdir(parents=True, exist_ok=True)
            self.path.replace(target)
            _sync_folder(target.parent)
        return self.sha256

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        with suppress(OSError):  # closing flushes, which fails again on a full disk
            self._file.close()
        self.path.unlink(missing_ok=True)


class BlobStore:
    """A folder of files named by their SHA-256.

    Args:
        root: The folder; made when first needed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def receive(self) -> IncomingBlob:
        """Start to receive a file.

        Raises:
            StoreFullError: The disk is full.
        """
        return IncomingBlob(self.root)

    def put(self, data: bytes) -> str:
        """Store `data` and return its hash.

        Raises:
            StoreFullError: The disk is full; nothing is left behind.
        """
        with self.receive() as incoming:
            incoming.write(data)
            return incoming.keep()

    def path(self, sha256: str) -> Path:
        """Return where the file with that hash is.

        Raises:
            NotFoundError: There is none.
        """
        path = path_of(self.root, sha256)
        if not path.is_file():
            raise NotFoundError("stored file", sha256)
        return path

    def delete(self, sha256: str) -> None:
        """Remove a file if it is there. Call with the store locked."""
        path_of(self.root, sha256).unlink(missing_ok=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold every other process off, between a change of files and that of the rows for them.

        Without it an upload of a content whose last user is being deleted could lose its file.
        """
        with full_disk_reported():
            self.root.mkdir(parents=True, exist_ok=True)
            handle = (self.root / ".lock").open("ab")
        with handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def check(self) -> None:
        """Write and remove a small file.

        Raises:
            OSError: The folder cannot be written.
            StoreFullError: The disk is full.
        """
        with self.receive() as incoming:
            incoming.write(b"\0")
            incoming.flush()

    def clear_incoming(self, *, spare_seconds: float = 0.0) -> None:
        """Remove what processes that were killed left half received.

        Args:
            spare_seconds: Files as young as this are left alone, since a process that is about to
                lock one may not have come to it yet.
        """
        for path in (self.root / "incoming").glob("*"):
            with suppress(OSError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # somebody's, while that one lives
                if time.time() - os.fstat(file.fileno()).st_mtime >= spare_seconds:
                    path.unlink(missing_ok=True)


def path_of(root: Path, sha256: str) -> Path:
    """Return where a file with that hash belongs; two letters a folder keeps folders small.

    Raises:
        NotFoundError: It is no hash, so that no other text ever becomes a path.
    """
    if _HASH.fullmatch(sha256) is None:
        raise NotFoundError("stored file", sha256)
    return root / sha256[:2] / sha256


@contextmanager
def full_disk_reported() -> Iterator[None]:
    """Turn the operating system's ways to say that the disk is full into one.

    Raises:
        StoreFullError: It is.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StoreFullError(
                "the server's disk is full, nothing was stored; "
                "free some space in its data folder and try again"
            ) from error
        raise


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
