"""How the readers of untrusted input fare: executions, crashes, hangs.

`python -m benchmarks.service fuzz [--seconds N] [--engine ENGINE] [READER ...]`; N seconds each.
Every reader runs in a process of its own, so that what ends the process is counted and the rest
goes on. With the engine `damage`, every example has a number; `tests.fuzz.targets` makes the same
bytes from it again. With `atheris`, which has to be installed (`pip install atheris`), coverage
leads to the examples; those that break a reader are kept as files.
"""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

from benchmarks.service.guided import available, guided, last_example
from benchmarks.service.tally import (
    HANG_SECONDS,
    LOADED,
    HangError,
    Tally,
    alarmed,
    limit_memory,
    place,
)
from tests.fuzz.targets import TARGETS, attempt

__all__ = ["run"]

_SPARE_SECONDS = 10
_LOADING_SECONDS = 600
_SHOWN = 5


@dataclass(frozen=True)
class _Engine:
    """Where the examples of a reader come from.

    Attributes:
        examples: Runs them from a number on, for so many seconds, in a process of its own.
        named: Tells how to find the example of a number, that the process died of.
    """

    examples: Callable[[int, float, Synchronized[int], Connection], None]
    named: Callable[[int], str]


def run(arguments: Sequence[str] = ()) -> None:
    """Print a row for each reader, and the first examples that broke it."""
    options = _options(arguments)
    print(
        f"{'reader':<11}{'executions':>11}{'accepted':>10}{'crashes':>9}{'hangs':>7}{'slowest':>10}"
        f"{'kept':>7}"
    )
    total = Counter[str]()
    for name in options.targets or TARGETS:
        tally = _fuzzed(_engine(options, name), seconds=options.seconds, first=options.first)
        print(
            f"{name:<11}{tally.executions:>11}{tally.accepted:>10}{len(tally.crashes):>9}"
            f"{len(tally.hangs):>7}{tally.slowest:>8.2f} s"
            f"{'' if tally.kept is None else tally.kept:>7}"
        )
        found = [*tally.crashes.items(), *(("takes too long", example) for example in tally.hangs)]
        for what, example in found[:_SHOWN]:
            print(f"  {example}: {what}")
        total.update(
            executions=tally.executions, crashes=len(tally.crashes), hangs=len(tally.hangs)
        )
    print(
        f"{'together':<11}{total['executions']:>11}{'':>10}{total['crashes']:>9}{total['hangs']:>7}"
    )


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service fuzz")
    parser.add_argument("targets", nargs="*", metavar="READER", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=float, default=20.0, help="for each reader")
    parser.add_argument("--engine", choices=("damage", "atheris"), default="damage")
    parser.add_argument("--first", type=int, default=0, help="number of the first example")
    parser.add_argument(
        "--folder", type=Path, help="where atheris keeps its examples, and takes up earlier ones"
    )
    options = parser.parse_args(arguments)
    unknown = set(options.targets) - set(TARGETS)
    if unknown:
        parser.error(f"no reader {sorted(unknown)}; choose from {', '.join(TARGETS)}")
    if options.engine == "atheris" and not available():
        parser.error("atheris is not installed: `pip install atheris`, or take --engine damage")
    if options.engine == "atheris" and options.folder is None:
        options.folder = Path(tempfile.mkdtemp(prefix="tightrope-fuzz-"))
    return options


def _engine(options: argparse.Namespace, name: str) -> _Engine:
    if options.engine == "damage":
        return _Engine(partial(_examples, name), "example {}".format)
    folder = options.folder / name
    folder.mkdir(parents=True, exist_ok=True)
    return _Engine(partial(guided, name, folder), lambda _number: last_example(folder))


def _fuzzed(engine: _Engine, *, seconds: float, first: int) -> Tally:
    """Run examples for so long; a process that dies is counted, and another goes on behind it."""
    spawned = multiprocessing.get_context("spawn")
    tally = Tally()
    while seconds > 0:
        began = time.monotonic()
        current: Synchronized[int] = spawned.Value("q", first)
        ours, theirs = spawned.Pipe(duplex=False)
        process = spawned.Process(target=engine.examples, args=(first, seconds, current, theirs))
        process.start()
        theirs.close()
        told = _last_word(process, ours, seconds)
        executed = current.value - first
        first = current.value + 1
        if told is not None:
            tally.add(told)
            break
        tally.executions += executed + 1
        tally.note_death(process.exitcode, engine.named(first - 1))
        seconds -= time.monotonic() - began
    return tally


def _last_word(process: SpawnProcess, ours: Connection, seconds: float) -> Tally | None:
    """Return what a process tells at its end; None where it died or was stuck.

    Before that it tells that it has loaded what it needs, which takes minutes on a busy machine.
    """
    patience = seconds + HANG_SECONDS + 6 * _SPARE_SECONDS
    told: Tally | None = None
    try:
        if ours.poll(_LOADING_SECONDS):
            ours.recv()
            if ours.poll(patience):
                told = ours.recv()
    except EOFError:
        told = None
    process.join(_SPARE_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
    return told


def _examples(
    name: str, first: int, seconds: float, current: Synchronized[int], told: Connection
) -> None:
    """Run examples until the time is up, in a process of its own; tell what came of them."""
    target, tally = TARGETS[name], Tally()
    alarmed()
    with tempfile.TemporaryDirectory() as folder, target.use(Path(folder)) as read:
        for content in target.seeds():  # loads what is loaded once
            attempt(target, read, content)
        limit_memory()
        told.send(LOADED)
        number, end = first, time.monotonic() + seconds
        while time.monotonic() < end:
            current.value = number
            content = target.example(number)
            began = time.monotonic()
            signal.alarm(HANG_SECONDS)
            try:
                tally.accepted += attempt(target, read, content) == "accepted"
            except HangError:
                tally.hangs.append(f"example {number}")
            except Exception as error:  # what is looked for
                tally.crashes.setdefault(place(error), f"example {number}")
            finally:
                signal.alarm(0)
            tally.executions += 1
            tally.slowest = max(tally.slowest, time.monotonic() - began)
            number += 1
    told.send(tally)
