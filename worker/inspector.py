"""Has untrusted files looked at by another process, so that the worst they can do is end it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from store.errors import StoreError
from store.settings import Settings
from worker.cores import thread_environment

__all__ = ["FileKind", "Inspector", "RejectedFileError", "SubprocessInspector"]

logger = logging.getLogger(__name__)

FileKind = Literal["network", "dataset"]

# Passed on to the process; everything else, passwords above all, stays out of its reach.
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "LD_LIBRARY_PATH", "HOME", "TMPDIR")
# Loading torch is this service's own time and not the file's fault.
_START_SECONDS = 60.0
_CLEAN_UP_SECONDS = 5.0


class RejectedFileError(StoreError):
    """An uploaded file cannot be used.

    Attributes:
        kind: Name of the error that the file caused.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Inspector(Protocol):
    """Looks at uploaded files."""

    def inspect(self, kind: FileKind, path: Path, name: str) -> Mapping[str, Any]:
        """Return what is known about a file.

        Raises:
            RejectedFileError: It cannot be used.
        """
        ...


class SubprocessInspector:
    """Starts `python -m worker.inspection` for every file.

    Args:
        settings: For the limits.
    """

    def __init__(self, settings: Settings) -> None:
        self._memory_bytes = settings.inspection_memory_bytes
        self._seconds = settings.inspection_seconds

    def inspect(self, kind: FileKind, path: Path, name: str) -> Mapping[str, Any]:
        """Return what is known about a file.

        Raises:
            RejectedFileError: It is bad, or reading it broke a limit.
        """
        try:
            done = subprocess.run(  # noqa: S603 (no shell, and the path is this service's own)
                self._command(kind, path, name),
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=self._seconds + _START_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise self._too_much(kind) from error
        if done.returncode != 0:
            logger.warning(
                "inspection of a %s ended with status %d: %s",
                kind,
                done.returncode,
                done.stderr.decode(errors="replace")[-2000:],
            )
            raise self._too_much(kind)
        answer = json.loads(done.stdout)
        if "error" in answer:
            raise RejectedFileError(answer["error"]["type"], answer["error"]["message"])
        details: Mapping[str, Any] = answer["details"]
        return details

    def _command(self, kind: FileKind, path: Path, name: str) -> list[str]:
        return [
            sys.executable,
            "-m",
            "worker.inspection",
            kind,
            str(path.resolve()),
            f"--name={name}",
            f"--memory-bytes={self._memory_bytes}",
            f"--seconds={self._seconds}",
        ]

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        return thread_environment(1, kept)

    def _too_much(self, kind: FileKind) -> RejectedFileError:
        gigabytes = self._memory_bytes / 2**30
        return RejectedFileError(
            "ResourceLimitError",
            f"reading the {kind} was stopped: it crashed its reader or took more than "
            f"{self._seconds:g} s or {gigabytes:.3g} GiB; check that the file is what it should be",
        )
