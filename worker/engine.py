"""The process that computes for a worker: `python -m worker.engine --socket FD`.

Torch, onnxruntime and the solvers run here and nowhere else in a worker, on files of strangers. A
crash of any of them ends this process alone: the worker notices, notes what happened and starts
another. It knows neither the database nor the broker, and of the environment only what libraries
need; its memory can be limited.

It is told what to compute and answers item by item (`worker.frames`); a thread of its own listens
for the word to stop, and ends the process when the worker is gone.
"""

from __future__ import annotations

import argparse
import logging
import os
import queue
import resource
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import TightropeError
from worker.collecting import loading
from worker.frames import Frame, FrameError, receive, send, work_from_json
from worker.logs import configure, job_logged
from worker.work import CertificationWork, Engines, TrainingWork

__all__ = ["load_engines", "main", "serve"]

logger = logging.getLogger(__name__)

_STATUS = Path("/proc/self/status")
_OOM_SCORE = Path("/proc/self/oom_score_adj")
# Of all processes of the service this one goes first when the machine's memory ends.
_FIRST_TO_GO = "500"
_LARGEST_FILE_BYTES = 2**35
_LOST_PARENT = 1


@dataclass(frozen=True)
class _Call:
    """One piece of work: its number, and the request."""

    number: int
    body: Mapping[str, Any]


class _Line:
    """The connection to the worker: calls in, answers out, and which call has to stop."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._calls: queue.SimpleQueue[_Call] = queue.SimpleQueue()
        self._stopped = 0
        threading.Thread(target=self._listen, name="listener", daemon=True).start()

    def next_call(self) -> _Call:
        """Wait for work."""
        return self._calls.get()

    def cancelled(self, number: int) -> bool:
        """Return whether a call has to stop."""
        return self._stopped >= number

    def send(self, number: int, attachments: Sequence[bytes] = (), **body: object) -> None:
        """Answer; the process ends where nobody is left to be answered."""
        try:
            send(self._connection, Frame({"call": number, **body}, attachments))
        except OSError:
            os._exit(_LOST_PARENT)

    def _listen(self) -> None:
        with suppress(FrameError, OSError):
            while (frame := receive(self._connection)) is not None:
                number = int(frame.body["call"])
                if frame.body.get("cancel"):
                    self._stopped = number
                else:
                    self._calls.put(_Call(number, frame.body))
        os._exit(_LOST_PARENT)  # the main thread may be in the middle of a solver


def serve(connection: socket.socket, engines: Engines, *, memory_bytes: int | None = None) -> None:
    """Compute what is asked for until the other side is gone.

    Args:
        connection: To the worker.
        engines: What computes.
        memory_bytes: Address space beyond what is in use now; None for no limit.
    """
    _limit(memory_bytes)
    line = _Line(connection)
    while True:
        call = line.next_call()
        with job_logged(str(call.body.get("job", "-"))):
            _answer(line, call, engines)


def _answer(line: _Line, call: _Call, engines: Engines) -> None:
    """Do one piece of work and send what comes of it."""
    _limit_processor(call.body.get("processor_seconds"))
    try:
        _CALLS[call.body["kind"]](line, call, engines)
    except TightropeError as error:
        line.send(call.number, error={"type": type(error).__name__, "message": str(error)})
    except MemoryError:
        logger.exception("out of memory")
        line.send(call.number, error={"type": "MemoryError", "message": ""})
    except Exception as error:  # the worker decides what becomes of the job
        logger.exception("failed")
        line.send(call.number, error={"type": "InternalError", "message": type(error).__name__})
    else:
        line.send(call.number, end=True)


def _stopper(line: _Line, call: _Call) -> Callable[[], bool]:
    return lambda: line.cancelled(call.number)


def _certify(line: _Line, call: _Call, engines: Engines) -> None:
    work = work_from_json(CertificationWork, call.body["work"])
    for item in engines.certify(work, _stopper(line, call)):
        line.send(call.number, item=item)


def _measure(line: _Line, call: _Call, engines: Engines) -> None:
    work = work_from_json(CertificationWork, call.body["work"])
    layers = engines.measure(work, _stopper(line, call))
    line.send(call.number, result=layers if layers is None else list(layers))


def _train(line: _Line, call: _Call, engines: Engines) -> None:
    work = work_from_json(TrainingWork, call.body["work"])
    outcome = engines.train(
        work, _stopper(line, call), lambda event: line.send(call.number, item=event)
    )
    files = [outcome.onnx] + ([] if outcome.checkpoint is None else [outcome.checkpoint])
    told = {
        "cancelled": outcome.cancelled,
        "result": outcome.result,
        "details": outcome.details,
        "validation_indices": outcome.validation_indices,
    }
    line.send(call.number, files, result=told)


_CALLS: Mapping[str, Callable[[_Line, _Call, Engines], None]] = {
    "certify": _certify,
    "measure": _measure,
    "train": _train,
}


def _limit(memory_bytes: int | None) -> None:
    """Limit this process, for good."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    largest = _LARGEST_FILE_BYTES if most == resource.RLIM_INFINITY else min(most, 2**35)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    with suppress(OSError):
        _OOM_SCORE.write_text(_FIRST_TO_GO)
    if memory_bytes is not None:
        space = _address_space_bytes() + memory_bytes
        resource.setrlimit(resource.RLIMIT_AS, (space, space))


def _limit_processor(seconds: float | None) -> None:
    """Let the kernel end this process after so much more processor time."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    allowed = resource.RLIM_INFINITY
    if seconds is not None:
        allowed = max(1, round(spent.ru_utime + spent.ru_stime + seconds))
    if most != resource.RLIM_INFINITY:
        allowed = most if allowed == resource.RLIM_INFINITY else min(allowed, most)
    resource.setrlimit(resource.RLIMIT_CPU, (allowed, most))


def _address_space_bytes() -> int:
    """Return the address space in use; torch alone reserves several GiB without touching them."""
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith("VmSize:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{_STATUS} does not state VmSize")


def load_engines(threads: int) -> Engines:
    """Load torch and the solvers, which takes seconds.

    Args:
        threads: For arithmetic.
    """
    import torch  # noqa: PLC0415 (reads the thread settings when it is loaded)

    from worker.certification import WarmCertifiers, measure  # noqa: PLC0415
    from worker.trainer import train_arm  # noqa: PLC0415

    torch.set_num_threads(threads)
    return Engines(certify=WarmCertifiers(), measure=measure, train=train_arm)


def main(
    arguments: Sequence[str] | None = None, load: Callable[[int], Engines] = load_engines
) -> int:
    """Compute for the worker at the other end of a socket; return the exit status.

    Args:
        arguments: Of the command line.
        load: Returns what computes, given the number of threads.
    """
    parser = argparse.ArgumentParser(prog="python -m worker.engine", description=__doc__)
    parser.add_argument("--socket", type=int, required=True, help="file descriptor")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory-bytes", type=int)
    parser.add_argument("--log-level", default="INFO")
    parser.add_argument("--log-format", default="text")
    parser.add_argument("--niceness", type=int, default=0)
    parsed = parser.parse_args(arguments)
    configure(parsed.log_level, parsed.log_format)
    # Whoever asks how far it is should not have to wait for the computation itself.
    os.nice(parsed.niceness)
    with loading():
        engines = load(parsed.threads)
    with socket.socket(fileno=parsed.socket) as connection:
        serve(connection, engines, memory_bytes=parsed.memory_bytes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
