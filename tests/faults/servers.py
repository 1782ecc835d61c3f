"""Redis and PostgreSQL on ports that stay theirs, to be killed and started again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psycopg

from tests.helpers.imports import ROOT
from tests.helpers.processes import children, free_port
from tests.helpers.servers import (
    PASSWORD,
    USER,
    accepts,
    find_postgres,
    find_redis,
    listens,
    prepare_postgres,
    unprivileged,
)
from tests.helpers.service import wait_until

__all__ = ["PostgresServer", "Process", "RedisServer", "find_faketime"]


class Process:
    """A process that is started, killed and started again.

    Args:
        command: Starts it.
        log: Takes what it says, of every start.
        env: Its environment; None for ours.
    """

    def __init__(
        self,
        command: list[str],
        log: Path,
        env: Mapping[str, str] | None = None,
        *,
        cwd: Path = ROOT,
    ) -> None:
        self.command, self.log = command, log
        self._env, self._cwd = env, cwd
        self.running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        with self.log.open("ab") as output:
            self.running = subprocess.Popen(
                self.command,
                env=None if self._env is None else dict(self._env),
                cwd=self._cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self, number: signal.Signals = signal.SIGKILL, *, group: bool = False) -> None:
        """Send a signal to it, or to all it has started, and wait until it is gone."""
        if self.running is None or self.running.poll() is not None:
            return
        if group:
            os.killpg(self.running.pid, number)
        else:
            self.running.send_signal(number)
        self.running.wait(60)


class RedisServer:
    """Redis that keeps its data in memory alone, so that a restart forgets all of it.

    Args:
        folder: For its log.
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        words = [find_redis(), "--port", str(self.port), "--bind", "127.0.0.1"]
        words += ["--save", "", "--appendonly", "no"]
        self._process = Process(words, folder / "redis.log", cwd=folder)

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._process.start()
        wait_until(lambda: listens(self.port))

    def kill(self) -> None:
        """End it at once."""
        self._process.stop()


class PostgresServer:
    """PostgreSQL, whose clock can be made to follow a file where libfaketime is at hand.

    Args:
        folder: For its data and log.
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        root = f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}"
        self._root, self.url = f"{root}/postgres", f"{root}/tightrope"
        data = prepare_postgres(folder)
        self.clock = folder / "clock"
        self.clock.write_text("+0")
        self.clock.chmod(0o644)
        words = [f"{find_postgres()}/postgres", "-D", str(data), "-p", str(self.port), "-k", ""]
        words += ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        self._words, self._log = unprivileged(words), folder.with_suffix(".log")
        self._process = Process(self._words, self._log, cwd=Path("/"))
        self._made = False

    def start(self) -> None:
        """Start it and wait until it answers.

        After a kill it refuses to start for as long as a process of the old server lives.
        """
        wait_until(self._accepts, seconds=120)
        if not self._made:
            with psycopg.connect(self._root, autocommit=True) as connection:
                connection.execute("CREATE DATABASE tightrope")
            self._made = True

    def _accepts(self) -> bool:
        running = self._process.running
        if running is None or running.poll() is not None:
            self._process.start()
        return accepts(self._root)

    def stop(self) -> None:
        """Stop it as an administrator does: every connection is cut."""
        self._process.stop(signal.SIGINT, group=True)

    def kill(self) -> None:
        """End it at once, with everything it has started, each of which leads a group."""
        running = self._process.running
        started = [] if running is None else children(running.pid)
        self._process.stop(signal.SIGKILL, group=True)
        for pid in started:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def follow_clock(self, library: Path) -> None:
        """Restart it under libfaketime: from here on its clock can be moved."""
        self.stop()
        env = dict(os.environ)
        env |= {"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(self.clock)}
        env |= {"FAKETIME_CACHE_DURATION": "1", "DONT_FAKE_MONOTONIC": "1"}
        self._process = Process(self._words, self._log, env, cwd=Path("/"))
        self.start()

    def leave_clock(self) -> None:
        """Restart it with the real clock."""
        self.kill()  # under libfaketime it may hang on its way out
        self._process = Process(self._words, self._log, cwd=Path("/"))
        self.start()

    def move_clock(self, seconds: int) -> None:
        """Let its clock be so far from the real one."""
        self.clock.write_text(f"{seconds:+d}")


def find_faketime() -> Path | None:
    """Return the library that changes what a process takes for the time, where it is installed."""
    if shutil.which("faketime") is None:
        return None
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    return found[0] if found else None
