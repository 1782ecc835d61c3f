"""Processes that tests start and are sure to stop."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from store.settings import Settings
from tests.helpers.imports import ROOT

SLOW_WORKER = (sys.executable, "-m", "tests.helpers.engines")


def free_port() -> int:
    """Return a port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment that gives a process these settings, and no others."""
    given = settings.model_dump(mode="json", exclude_unset=True)
    secrets = {"database_url": settings.database, "broker_url": settings.broker}
    given.update({name: value for name, value in secrets.items() if name in given})
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TIGHTROPE_")}
    named = {f"TIGHTROPE_{key.upper()}": str(value) for key, value in given.items()}
    return {**kept, **named, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


@contextmanager
def running(
    command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None, cwd: Path = ROOT
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process in a group of its own; kill the group when the block ends."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(command),
            env=None if env is None else dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def alive(pid: int) -> bool:
    """Return whether a process runs; one that waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def children(pid: int) -> list[int]:
    """Return the processes that a process has started, from any of its threads."""
    listings = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(word) for listing in listings for word in listing.read_text().split()]
