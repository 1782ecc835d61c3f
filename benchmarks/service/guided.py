"""Examples that coverage leads to: atheris changes what reached new lines of a reader before.

Runs in a process of its own, since a run of libFuzzer ends with its process. The changes are those
of `tests.fuzz.mutations`, which know the format, and those of libFuzzer, which know what the reader
compared its input with.
"""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from hashlib import sha256
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.service.tally import (
    HANG_SECONDS,
    LOADED,
    HangError,
    Tally,
    alarmed,
    limit_memory,
    place,
)

if TYPE_CHECKING:
    from tests.fuzz.targets import Target

__all__ = ["available", "guided", "last_example", "mutator"]

_PACKAGES = ["models", "solvers", "training", "store", "api", "numpy.lib", "zipfile", "json"]
_MOST_BYTES = 2**16
_LAST = "last"

Mutate = Callable[[bytes, int], bytes]


def available() -> bool:
    """Return whether atheris is installed."""
    return importlib.util.find_spec("atheris") is not None


def last_example(folder: Path) -> str:
    """Return the file with the example that a process died of."""
    last = folder / _LAST
    return str(_save(folder / "found", last.read_bytes())) if last.exists() else "no example"


def mutator(target: Target, mutate: Mutate) -> Callable[[bytes, int, int], bytes]:
    """Return what changes an example of a reader, as atheris calls it.

    Args:
        target: The reader, whose own damage is done to every other example.
        mutate: Changes of libFuzzer, for the rest and for what has its format no more.
    """

    def change(content: bytes, most: int, seed: int) -> bytes:
        chance = random.Random(seed)  # noqa: S311 (chance, no secret)
        if chance.random() < 0.5:
            return mutate(content, most)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what earlier changes made of it
                changed = target.damage(chance, content)
        except Exception:  # not what the damage takes apart: an earlier change broke its form
            return mutate(content, most)
        return changed if len(changed) <= most else mutate(content, most)

    return change


def guided(
    name: str,
    folder: Path,
    first: int,
    seconds: float,
    current: Synchronized[int],
    told: Connection,
) -> None:
    """Give a reader examples until the time is up, then tell what came of them, and end.

    Args:
        name: Of the reader.
        folder: For the examples that reached something new, for those that broke the reader, and
            for what libFuzzer says.
        first: Number of the first example; the numbers are nothing but a count.
        seconds: For all of them.
        current: Number of the example at work.
        told: Gets `LOADED`, and at the end the `Tally`.
    """
    current.value = first
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, sys.stderr.fileno())
    import atheris  # noqa: PLC0415 (optional)

    with atheris.instrument_imports(include=_PACKAGES):
        from tests.fuzz.targets import TARGETS, attempt  # noqa: PLC0415 (watched from here on)

    def mutate(content: bytes, most: int) -> bytes:
        # Looked up when it is called: what stands there before `Fuzz` changes nothing.
        changed: bytes = atheris.Mutate(content, most)
        return changed

    target, kept = TARGETS[name], folder / "kept"
    for content in target.seeds():
        _save(kept, content)
    with tempfile.TemporaryDirectory() as own, target.use(Path(own)) as read:
        for content in target.seeds():  # loads what is loaded once
            attempt(target, read, content)
        limit_memory()
        alarmed()
        told.send(LOADED)
        run = _Run(folder, seconds, current, told, lambda content: attempt(target, read, content))
        options = [f"-artifact_prefix={folder}/", f"-max_len={_MOST_BYTES}"]
        options += ["-rss_limit_mb=0", "-malloc_limit_mb=0", "-timeout=0", "-verbosity=0"]
        change = mutator(target, mutate)
        atheris.Setup([sys.argv[0], *options, str(kept)], run.example, custom_mutator=change)
        atheris.Fuzz()


class _Run:
    """Takes examples one by one, and ends the process when the time is up."""

    def __init__(
        self,
        folder: Path,
        seconds: float,
        current: Synchronized[int],
        told: Connection,
        read: Callable[[bytes], Any],
    ) -> None:
        self._folder, self._current, self._told, self._read = folder, current, told, read
        self._end = time.monotonic() + seconds
        self._tally = Tally()

    def example(self, content: bytes) -> None:
        """Have one example read; whatever comes of it is counted, and the next one follows."""
        began = time.monotonic()
        if began >= self._end:
            self._tell()
        (self._folder / _LAST).write_bytes(content)  # should the process end by it
        signal.alarm(HANG_SECONDS)
        try:
            self._tally.accepted += self._read(content) == "accepted"
        except HangError:
            self._tally.hangs.append(self._keep(content))
        except Exception as error:  # what is looked for
            if place(error) not in self._tally.crashes:
                self._tally.crashes[place(error)] = self._keep(content)
        finally:
            signal.alarm(0)
        self._tally.executions += 1
        self._current.value += 1
        self._tally.slowest = max(self._tally.slowest, time.monotonic() - began)

    def _keep(self, content: bytes) -> str:
        return str(_save(self._folder / "found", content))

    def _tell(self) -> None:
        """Send the tally and end: libFuzzer knows no other end than that of the process."""
        self._tally.kept = len(list((self._folder / "kept").iterdir()))
        self._told.send(self._tally)
        self._told.close()
        os._exit(0)


def _save(folder: Path, content: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / sha256(content).hexdigest()[:16]
    path.write_bytes(content)
    return path
