"""How the readers of untrusted input fare: executions, crashes, hangs.

`python -m benchmarks.service fuzz [--seconds N] [--first N] [READER ...]`; N seconds for each.
Every reader runs in a process of its own, so that what ends the process is counted and the rest
goes on. An example has a number; `tests.fuzz.targets` makes the same bytes from it again.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from types import FrameType

from tests.fuzz.targets import TARGETS, attempt

__all__ = ["run"]

_HANG_SECONDS = 20
_SPARE_SECONDS = 10
_MEMORY_BYTES = 4 * 2**30
_SHOWN = 5


class _HangError(BaseException):
    """An example took too long; no handler of a reader catches it."""


@dataclass
class _Tally:
    """What came of the examples of one reader."""

    executions: int = 0
    accepted: int = 0
    hangs: list[int] = field(default_factory=list)
    crashes: dict[str, int] = field(default_factory=dict)
    slowest: float = 0.0


def run(arguments: Sequence[str] = ()) -> None:
    """Print a row for each reader, and the first examples that broke it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service fuzz")
    parser.add_argument("targets", nargs="*", metavar="READER", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=float, default=20.0, help="for each reader")
    parser.add_argument("--first", type=int, default=0, help="number of the first example")
    options = parser.parse_args(arguments)
    unknown = set(options.targets) - set(TARGETS)
    if unknown:
        parser.error(f"no reader {sorted(unknown)}; choose from {', '.join(TARGETS)}")
    print(
        f"{'reader':<11}{'executions':>11}{'accepted':>10}{'crashes':>9}{'hangs':>7}{'slowest':>10}"
    )
    total = Counter[str]()
    for name in options.targets or TARGETS:
        tally = _fuzzed(name, seconds=options.seconds, first=options.first)
        print(
            f"{name:<11}{tally.executions:>11}{tally.accepted:>10}{len(tally.crashes):>9}"
            f"{len(tally.hangs):>7}{tally.slowest:>8.2f} s"
        )
        for place, number in list(tally.crashes.items())[:_SHOWN]:
            print(f"  example {number}: {place}")
        total.update(
            executions=tally.executions, crashes=len(tally.crashes), hangs=len(tally.hangs)
        )
    print(
        f"{'together':<11}{total['executions']:>11}{'':>10}{total['crashes']:>9}{total['hangs']:>7}"
    )


def _fuzzed(name: str, *, seconds: float, first: int) -> _Tally:
    """Run examples for so long; a process that dies is counted, and another goes on behind it."""
    spawned = multiprocessing.get_context("spawn")
    tally = _Tally()
    while seconds > 0:
        began = time.monotonic()
        current: Synchronized[int] = spawned.Value("q", first)
        ours, theirs = spawned.Pipe(duplex=False)
        process = spawned.Process(target=_examples, args=(name, first, seconds, current, theirs))
        process.start()
        theirs.close()
        told = _last_word(process, ours, seconds)
        executed = current.value - first
        first = current.value + 1
        if told is not None:
            _add(tally, told)
            break
        tally.executions += executed + 1
        _note_death(tally, process.exitcode, first - 1)
        seconds -= time.monotonic() - began
    return tally


def _last_word(process: SpawnProcess, ours: Connection, seconds: float) -> _Tally | None:
    """Return what a process tells at its end; None where it died or was stuck."""
    patience = seconds + _HANG_SECONDS + 6 * _SPARE_SECONDS
    told: _Tally | None = None
    try:
        if ours.poll(patience):
            told = ours.recv()
    except EOFError:
        told = None
    process.join(_SPARE_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
    return told


def _note_death(tally: _Tally, status: int | None, number: int) -> None:
    if status == -signal.SIGKILL:
        tally.hangs.append(number)
    else:
        tally.crashes.setdefault(f"the process ended with status {status}", number)


def _add(tally: _Tally, told: _Tally) -> None:
    tally.executions += told.executions
    tally.accepted += told.accepted
    tally.hangs += told.hangs
    tally.crashes = {**told.crashes, **tally.crashes}
    tally.slowest = max(tally.slowest, told.slowest)


def _examples(
    name: str, first: int, seconds: float, current: Synchronized[int], told: Connection
) -> None:
    """Run examples until the time is up, in a process of its own; tell what came of them."""
    target, tally = TARGETS[name], _Tally()
    signal.signal(signal.SIGALRM, _interrupt)
    with tempfile.TemporaryDirectory() as folder, target.use(Path(folder)) as read:
        for content in target.seeds():  # loads what is loaded once
            attempt(target, read, content)
        _limit_memory()
        number, end = first, time.monotonic() + seconds
        while time.monotonic() < end:
            current.value = number
            content = target.example(number)
            began = time.monotonic()
            signal.alarm(_HANG_SECONDS)
            try:
                tally.accepted += attempt(target, read, content) == "accepted"
            except _HangError:
                tally.hangs.append(number)
            except Exception as error:  # what is looked for
                tally.crashes.setdefault(_place(error), number)
            finally:
                signal.alarm(0)
            tally.executions += 1
            tally.slowest = max(tally.slowest, time.monotonic() - began)
            number += 1
    told.send(tally)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise _HangError


def _limit_memory() -> None:
    """Let a reader that asks for much more memory than the rest fail."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmSize:"))
    space = int(line.split()[1]) * 1024 + _MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (space, space))


def _place(error: Exception) -> str:
    """Return what went wrong and in which line."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    words = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__} in {Path(frame.filename).name}:{frame.lineno}: {words[0][:90]}"
