"""Has untrusted files looked at by another process, so that the worst they can do is end it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from store.errors import StoreError
from store.settings import Settings
from worker.cores import thread_environment

__all__ = [
    "FileKind",
    "Inspector",
    "InspectorUnavailableError",
    "RejectedFileError",
    "StoredExample",
    "StoredProof",
    "SubprocessInspector",
]

FileKind = Literal["network", "dataset"]

# Passed on to the process; everything else, passwords above all, stays out of its reach.
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "LD_LIBRARY_PATH", "HOME", "TMPDIR")
_JUDGED_BY = ("network", "dataset")
_START_SECONDS = 120.0
_RETRY_SECONDS = 0.05
_GRACE_SECONDS = 10.0


class RejectedFileError(StoreError):
    """An uploaded file cannot be used.

    Attributes:
        kind: Name of the error that the file caused.
        parts: Nodes that are in the way, each with `node`, `operator` and `reason`.
    """

    def __init__(self, kind: str, message: str, parts: Sequence[Mapping[str, str]] = ()) -> None:
        super().__init__(message)
        self.kind = kind
        self.parts = parts


class InspectorUnavailableError(StoreError):
    """Files cannot be looked at at the moment."""


class Inspector(Protocol):
    """Looks at uploaded files."""

    def start(self) -> None:
        """Get ready, without waiting for it."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...

    def inspect(self, kind: FileKind, path: Path, name: str) -> Mapping[str, Any]:
        """Return what is known about a file.

        Raises:
            RejectedFileError: It cannot be used.
        """
        ...

    def check(self, stored: StoredProof) -> Mapping[str, Any]:
        """Return what comes of checking a proof; see `worker.proofs`.

        Raises:
            RejectedFileError: It cannot be checked.
        """
        ...

    def replay(self, stored: StoredExample) -> Mapping[str, Any]:
        """Return what comes of running a counterexample again; see `worker.replays`.

        Raises:
            RejectedFileError: It cannot be run.
        """
        ...


@dataclass(frozen=True)
class StoredProof:
    """A proof and what it has to show.

    Attributes:
        proof, network, dataset: Files.
        settings: Of the certification.
        index: Of the input.
    """

    proof: Path
    network: Path
    dataset: Path
    settings: Mapping[str, Any]
    index: int


@dataclass(frozen=True)
class StoredExample:
    """A counterexample and what it has to be one of.

    Attributes:
        x, y: The input and its outputs, flat.
        network, dataset: Files.
        settings: Of the certification.
        index: Of the input.
    """

    x: Sequence[float]
    y: Sequence[float]
    network: Path
    dataset: Path
    settings: Mapping[str, Any]
    index: int


class SubprocessInspector:
    """Has files inspected by `python -m worker.inspection`, which forks for each of them.

    Args:
        settings: For the limits.
    """

    def __init__(self, settings: Settings) -> None:
        self._memory_bytes = settings.inspection_memory_bytes
        self._seconds = settings.inspection_seconds
        self._lock = threading.Lock()
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process, unless it runs; return before it is ready."""
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                return
            self._remove_folder()
            self._folder = Path(tempfile.mkdtemp(prefix="tightrope-"))
            # A session of its own: Ctrl-C in a terminal is not for it.
            self._process = subprocess.Popen(  # noqa: S603 (no shell, no input of others)
                self._command(self._folder / "socket"),
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )

    def close(self) -> None:
        """End the process."""
        with self._lock:
            if self._process is not None:
                self._process.kill()
                self._process.wait()
            self._remove_folder()

    def inspect(self, kind: FileKind, path: Path, name: str) -> Mapping[str, Any]:
        """Return what is known about a file.

        Raises:
            RejectedFileError: It is bad, or reading it broke a limit.
            InspectorUnavailableError: The process cannot be reached.
        """
        what = {"kind": kind, "path": str(path.resolve()), "name": name}
        return self._asked(what, f"reading the {kind}")

    def check(self, stored: StoredProof) -> Mapping[str, Any]:
        """Return what comes of checking a proof; see `worker.proofs`.

        Raises:
            RejectedFileError: Its certification cannot be read, or checking it broke a limit.
            InspectorUnavailableError: The process cannot be reached.
        """
        files = {name: str(getattr(stored, name).resolve()) for name in ("proof", *_JUDGED_BY)}
        what = {"kind": "proof", **files, "settings": stored.settings, "index": stored.index}
        return self._asked(what, "checking the proof")

    def replay(self, stored: StoredExample) -> Mapping[str, Any]:
        """Return what comes of running a counterexample again; see `worker.replays`.

        Raises:
            RejectedFileError: Its certification cannot be read, or running it broke a limit.
            InspectorUnavailableError: The process cannot be reached.
        """
        files = {name: str(getattr(stored, name).resolve()) for name in _JUDGED_BY}
        values = {"x": list(stored.x), "y": list(stored.y)}
        asked = {"settings": stored.settings, "index": stored.index}
        what = {"kind": "counterexample", **files, **values, **asked}
        return self._asked(what, "running the counterexample")

    def _asked(self, what: Mapping[str, Any], words: str) -> Mapping[str, Any]:
        """Return what the process answers.

        Args:
            what: The request, without its limits.
            words: What is done, for people.
        """
        request = {**what, "memory_bytes": self._memory_bytes, "seconds": self._seconds}
        with self._connect() as connection:
            connection.settimeout(self._seconds + _GRACE_SECONDS)
            try:
                connection.sendall(json.dumps(request).encode() + b"\n")
                text = b"".join(iter(lambda: connection.recv(2**16), b""))
            except OSError as error:
                raise self._too_much(words) from error
        if not text:
            raise self._too_much(words)
        answer = json.loads(text)
        if "error" in answer:
            told = answer["error"]
            raise RejectedFileError(told["type"], told["message"], told.get("parts", ()))
        details: Mapping[str, Any] = answer["details"]
        return details

    def _connect(self) -> socket.socket:
        """Return a connection; the process may still be loading what it needs."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            self.start()
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(str(self._folder_in_use() / "socket"))
            except OSError:
                connection.close()
                time.sleep(_RETRY_SECONDS)
            else:
                return connection
        raise InspectorUnavailableError("the process that reads files does not start; try again")

    def _folder_in_use(self) -> Path:
        if self._folder is None:
            raise InspectorUnavailableError("the service is stopping")
        return self._folder

    def _remove_folder(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _command(self, address: Path) -> list[str]:
        parent = f"--parent={os.getpid()}"
        return [sys.executable, "-m", "worker.inspection", str(address), parent]

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        return thread_environment(1, kept)

    def _too_much(self, words: str) -> RejectedFileError:
        gigabytes = self._memory_bytes / 2**30
        return RejectedFileError(
            "ResourceLimitError",
            f"{words} was stopped: it crashed its reader or took more than "
            f"{self._seconds:g} s or {gigabytes:.3g} GiB; check that the file is what it should be",
        )
