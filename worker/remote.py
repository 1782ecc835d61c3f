"""Engines that compute in a process of their own, which a crash ends and the worker replaces.

The worker itself loads no torch: it keeps the lease alive, stores answers and watches. What ends
the other process (a segmentation fault in a solver, the kernel short of memory, a limit on
processor time) becomes an `EngineDiedError` that names the signal, and the next piece of work finds
a new process.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

from store.settings import Settings
from worker.cores import thread_environment
from worker.errors import EngineDiedError, RemoteError
from worker.frames import Frame, FrameError, receive, send, work_to_json
from worker.logs import current_job
from worker.watch import Watch, ending
from worker.work import ArmOutcome, CertificationWork, Engines, TrainingWork

__all__ = ["ENGINE_COMMAND", "EngineProcess", "passed_on"]

logger = logging.getLogger(__name__)

ENGINE_COMMAND = (sys.executable, "-m", "worker.engine")

# Passed on to the process; everything else, passwords above all, stays out of its reach.
_PASSED_ON = frozenset(
    {"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "LD_PRELOAD"}
)
_PASSED_ON_PREFIXES = (
    "PYTHON", "OMP_", "MKL_", "OPENBLAS_", "KMP_", "GOMP_", "MALLOC_", "TORCH", "PYTORCH_",
    "CUDA", "NVIDIA_", "CUBLAS_", "GRB_", "GUROBI_", "FAKETIME",
)  # fmt: skip
_POLL_SECONDS = 0.05
_LOADING_SECONDS = 600.0
_SLACK = 2.0


class EngineProcess:
    """Starts the process that computes, and again whenever it has died.

    Args:
        settings: For its limits, and how long it may go on after it was told to stop.
        threads: For arithmetic.
        command: Starts it; the socket and the options are added.
    """

    def __init__(
        self, settings: Settings, *, threads: int = 1, command: Sequence[str] = ENGINE_COMMAND
    ) -> None:
        self._settings = settings
        self._threads = threads
        self._command = tuple(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._number = 0

    def start(self) -> None:
        """Start the process, unless it runs; return before it has loaded what it needs."""
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        ours, theirs = socket.socketpair()
        options = [f"--socket={theirs.fileno()}", f"--threads={self._threads}"]
        options.append(f"--log-level={self._settings.log_level}")
        options.append(f"--log-format={self._settings.log_format}")
        options.append(f"--niceness={self._settings.worker_niceness}")
        if self._settings.worker_memory_bytes is not None:
            options.append(f"--memory-bytes={self._settings.worker_memory_bytes}")
        with theirs:
            # A session of its own: Ctrl-C in a terminal is for the worker, which tells it.
            self._process = subprocess.Popen(  # noqa: S603 (no shell, no input of others)
                [*self._command, *options],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        self._connection = ours

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()

    def engines(self) -> Engines:
        """Return what computes, over there."""
        return Engines(certify=self.certify, measure=self.measure, train=self.train)

    def certify(
        self, work: CertificationWork, cancelled: Callable[[], bool]
    ) -> Iterator[Mapping[str, Any]]:
        """Yield items as they come; see `worker.certification.certify`.

        Raises:
            RemoteError: Network, data set and settings do not fit each other.
            MemoryError: There was not enough.
            EngineDiedError: The process died.
        """
        call = self._call("certify", work, cancelled, seconds=_longest(work))
        try:
            for frame in call:
                if "item" in frame.body:
                    yield frame.body["item"]
        finally:
            call.close()

    def measure(
        self, work: CertificationWork, cancelled: Callable[[], bool]
    ) -> Sequence[Mapping[str, Any]] | None:
        """Return how tight each layer is; see `worker.certification.measure`.

        Raises:
            RemoteError, MemoryError, EngineDiedError: As in `certify`.
        """
        layers: Sequence[Mapping[str, Any]] | None = None
        for frame in self._call("measure", work, cancelled, seconds=_longest(work)):
            layers = frame.body.get("result", layers)
        return layers

    def train(
        self,
        work: TrainingWork,
        cancelled: Callable[[], bool],
        progress: Callable[[Mapping[str, Any]], None],
    ) -> ArmOutcome:
        """Train; see `worker.trainer.train_arm`. Progress comes while it goes.

        Raises:
            RemoteError, MemoryError, EngineDiedError: As in `certify`.
        """
        outcome: ArmOutcome | None = None
        call = self._call("train", work, cancelled, seconds=None)
        try:
            for frame in call:
                if "item" in frame.body:
                    progress(frame.body["item"])
                else:
                    outcome = _outcome(frame)
        finally:
            call.close()
        return _UNFINISHED if outcome is None else outcome

    def _call(
        self,
        kind: str,
        work: CertificationWork | TrainingWork,
        cancelled: Callable[[], bool],
        *,
        seconds: float | None,
    ) -> Generator[Frame, None, None]:
        """Yield what comes of one piece of work, up to its end; stop it when nobody listens."""
        self.start()
        self._number += 1
        processor = None if seconds is None else seconds * self._threads
        body = {
            "call": self._number,
            "kind": kind,
            "work": work_to_json(work),
            "job": current_job(),
            "processor_seconds": processor,
        }
        whole = None if seconds is None else time.monotonic() + _LOADING_SECONDS + seconds
        watch = Watch(cancelled, whole, self._settings.stop_seconds)
        finished = False
        try:
            self._send(body)
            while (frame := self._next(watch)) is not None:
                if "end" in frame.body or "error" in frame.body:
                    finished = True
                    self._raise_error(frame.body.get("error"))
                    return
                yield frame
            finished = True  # it did not stop, and was ended
        finally:
            if not finished:
                self._abandon()

    def _send(self, body: Mapping[str, Any]) -> None:
        if self._connection is None:
            raise self._died()
        try:
            send(self._connection, Frame(body))
        except OSError as error:
            raise self._died() from error

    def _next(self, watch: Watch) -> Frame | None:
        """Return the next frame; None where the process had to be ended because it did not stop.

        Raises:
            EngineDiedError: It died, or took far longer than the work may.
        """
        if self._connection is None:
            raise self._died()
        while True:
            # Asked before every frame, so that many of them in a row do not put off the stop.
            if watch.asks_to_stop():
                self._send({"call": self._number, "cancel": True})
            if watch.patience_ended():
                logger.warning("the process that computes does not stop; ending it")
                self.close()
                return None
            if watch.overdue():
                self.close()
                message = "the work took far longer than its time limits allow, and was ended"
                raise EngineDiedError("overdue", message)
            if select.select([self._connection], [], [], _POLL_SECONDS)[0]:
                break
        try:
            frame = receive(self._connection)
        except (FrameError, OSError) as error:
            raise self._died() from error
        if frame is None:
            raise self._died()
        return frame

    def _abandon(self) -> None:
        """Tell the process to stop and wait until it has."""
        if self._connection is None:
            return
        watch = Watch(lambda: True, None, self._settings.stop_seconds)
        with suppress(EngineDiedError):
            while (frame := self._next(watch)) is not None:
                if "end" in frame.body or "error" in frame.body:
                    return

    def _died(self) -> EngineDiedError:
        """Return what to say of the process's death, and clear up behind it."""
        status: int | None = None
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                status = self._process.wait(5.0)
        self.close()
        ended, hint = ending(status)
        return EngineDiedError(ended, f"the process that computes was ended by {ended}{hint}")

    def _raise_error(self, error: Mapping[str, Any] | None) -> None:
        """Raise what the process told."""
        if error is None:
            return
        if error["type"] == "MemoryError":
            self.close()  # what is left of its memory is in pieces
            raise MemoryError
        if error["type"] == "InternalError":
            raise RuntimeError(f"the process that computes met a {error['message']}; see its log")
        raise RemoteError(str(error["type"]), str(error["message"]))

    def _environment(self) -> dict[str, str]:
        return thread_environment(self._threads, passed_on(os.environ))


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what processes that load solvers may know of an environment."""
    return {
        name: value
        for name, value in environment.items()
        if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)
    }


def _longest(work: CertificationWork) -> float:
    """Return how many seconds the work can need: its limits hold per input and method."""
    stages = len(work.settings["methods"]) + 1
    each: float = work.settings["timeout_seconds"] * stages
    # Checking is not cut short, and takes about as long as proving.
    each += 2 * (work.settings.get("proof_timeout_seconds") or 0.0)
    return _LOADING_SECONDS + _SLACK * each * max(1, len(work.indices))


# A training that was told to stop and had to be ended: its checkpoint is what there is.
_UNFINISHED = ArmOutcome(
    cancelled=True,
    result={"best_epoch": 0},
    onnx=b"",
    details={},
    checkpoint=None,
    validation_indices=None,
)


def _outcome(frame: Frame) -> ArmOutcome:
    told = frame.body["result"]
    indices = told["validation_indices"]
    return ArmOutcome(
        cancelled=told["cancelled"],
        result=told["result"],
        onnx=frame.attachments[0],
        details=told["details"],
        checkpoint=frame.attachments[1] if len(frame.attachments) > 1 else None,
        validation_indices=None if indices is None else tuple(indices),
    )
