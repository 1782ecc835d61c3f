"""`tightrope serve`: the whole service from one command, with nothing else to install."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import uvicorn

from api.app import create_app
from api.serving import check_address, server_options
from store.blobs import BlobStore
from store.database import Database
from store.errors import StoreError
from store.identifiers import new_identifier
from store.jobs import Jobs
from store.migrate import migrate
from store.reaper import Reaper
from store.settings import PREFIX, Settings, get_settings
from worker.app import JobQueue, create_celery
from worker.collecting import collect_rarely, loading
from worker.cores import available_cores, thread_environment
from worker.logs import configure
from worker.transport import clear_messages

__all__ = ["WORKER_COMMAND", "ServeError", "Supervisor", "serve"]

logger = logging.getLogger(__name__)

WORKER_COMMAND = (sys.executable, "-m", "worker")
_FAILED = 3
_BAD_INPUT = 2
_INTERRUPTED = 130
_WORKER_GRACE_SECONDS = 15.0
_LONGEST_PAUSE_SECONDS = 30.0


class ServeError(Exception):
    """The service cannot start.

    Attributes:
        status: Exit status.
    """

    def __init__(self, message: str, *, status: int = _FAILED) -> None:
        super().__init__(message)
        self.status = status


def serve(
    host: str, port: int, data_dir: Path, *, worker_command: Sequence[str] = WORKER_COMMAND
) -> int:
    """Serve until interrupted; return the exit status.

    Args:
        host: Address to listen on; others than loopback take keys, or a setting that allows them.
        port: Port to listen on; 0 takes a free one.
        data_dir: Folder of database, files and messages; made if it is missing.
        worker_command: Starts a worker; `--name` and `--parent` are added.

    Returns:
        0 after SIGTERM, 130 after Ctrl-C, 2 for settings that cannot be used, 3 when the
        service cannot start.
    """
    try:
        settings = get_settings().model_copy(update={"data_dir": data_dir.resolve()})
        configure(settings.log_level, settings.log_format)
        check_address(host, settings)
        with bound(host, port) as listener, owned(settings.data_dir):
            return _run(settings, listener, worker_command)
    except (ServeError, StoreError) as error:
        status = error.status if isinstance(error, ServeError) else _BAD_INPUT
        sys.stderr.write(f"tightrope serve: {error}\n")
        return status


@contextmanager
def bound(host: str, port: int) -> Iterator[socket.socket]:
    """Open a listening socket, before anything else is touched.

    Raises:
        ServeError: The port is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Only where the protocol is named does asyncio send small pieces at once: otherwise the body of
    # an answer waits for its head to be acknowledged, which clients put off for 40 ms.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(2048)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ServeError(
                f"cannot listen on {host}:{port}: {reason}; choose another with --port"
            ) from error
        yield listener


@contextmanager
def owned(data_dir: Path) -> Iterator[None]:
    """Hold the data folder, so that no second service works in it.

    Raises:
        ServeError: Another one does, or the folder cannot be made.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        handle = (data_dir / "serve.lock").open("ab")
    except OSError as error:
        raise ServeError(f"cannot use {data_dir}: {error.strerror}") from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ServeError(
                f"{data_dir} belongs to a service that is running; choose another --data-dir"
            ) from error
        yield


def _run(settings: Settings, listener: socket.socket, worker_command: Sequence[str]) -> int:
    database = Database(settings.database)
    migrate(database)
    jobs = Jobs(database, lease_seconds=settings.lease_seconds)
    reaper = Reaper(
        database, lease_seconds=settings.lease_seconds, max_attempts=settings.max_attempts
    )
    _take_over(settings, jobs, reaper)
    with loading():
        server = _Server(uvicorn.Config(create_app(settings), **server_options()))
    collect_rarely()
    supervisor = Supervisor(settings, reaper, command=worker_command)
    supervisor.start()
    address = listener.getsockname()
    shown = f"[{address[0]}]" if ":" in address[0] else address[0]
    url = f"http://{shown}:{address[1]}"
    sys.stdout.write(f"Tightrope serves {url} (data in {settings.data_dir})\n")
    sys.stdout.flush()
    try:
        server.run(sockets=[listener])
    finally:
        supervisor.stop()
        database.close()
    return server.status


def _take_over(settings: Settings, jobs: Jobs, reaper: Reaper) -> None:
    """Pick up what the last run of the service left.

    The folder is this process's alone, so every running job is an orphan, and messages can go:
    workers announce queued jobs again.
    """
    BlobStore(settings.blob_dir).clear_incoming()
    if settings.database_url is None:
        for job_id in reaper.settle(owner="*"):
            logger.info("job %s goes on", job_id)
    if settings.broker is None:
        clear_messages(settings.broker_dir)
        queue = JobQueue(create_celery(settings))
        for job_id, name in jobs.due(resend_seconds=settings.resend_seconds, all_queued=True):
            queue.send(job_id, name)


class _Server(uvicorn.Server):
    """Remembers what ended it, in place of raising the signal again.

    Attributes:
        status: Exit status that fits.
    """

    status = 0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; a second Ctrl-C stops without waiting for open requests."""
        self.status = _INTERRUPTED if sig == signal.SIGINT else 0
        super().handle_exit(sig, frame)
        self._captured_signals.clear()


class Supervisor:
    """Keeps one worker process running.

    Args:
        settings: Handed on through the environment.
        reaper: Frees what a worker that died had.
        command: Starts a worker; `--name` and `--parent` are added.
    """

    def __init__(
        self,
        settings: Settings,
        reaper: Reaper,
        *,
        command: Sequence[str] = WORKER_COMMAND,
    ) -> None:
        self._settings = settings
        self._reaper = reaper
        self._command = tuple(command)
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    def start(self) -> None:
        """Start a worker, and another whenever it dies."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the worker; its job goes back to the queue."""
        self._stopping.set()
        self._thread.join()

    def _watch(self) -> None:
        pause = 0.5
        while not self._stopping.is_set():
            name = new_identifier("wkr")
            process = self._spawn(name)
            if self._wait(process):
                return
            logger.error("the worker ended with status %s; starting another", process.returncode)
            self._reaper.settle(owner=name)
            self._stopping.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _spawn(self, name: str) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C in a terminal reaches the worker through `stop` alone.
        return subprocess.Popen(  # noqa: S603 (no shell; the command is the program's own)
            [*self._command, "--name", name, "--parent", str(os.getpid())],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno(),
            start_new_session=True,
        )

    def _wait(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait until the worker ends or has to; return whether it had to."""
        while process.poll() is None:
            if self._stopping.wait(0.2):
                process.terminate()
                try:
                    process.wait(_WORKER_GRACE_SECONDS)
                except subprocess.TimeoutExpired:
                    logger.warning("the worker does not stop; killing it")
                    process.kill()
                    process.wait()
                return True
        return False

    def _environment(self) -> dict[str, str]:
        threads = self._settings.worker_threads or available_cores()
        settings = {f"{PREFIX}DATA_DIR": str(self._settings.data_dir)}
        return thread_environment(threads, {**os.environ, **settings})
