"""Engines that compute nothing: quick ones for the runner, a slow one for workers that are killed.

`python -m tests.helpers.engines` is a worker with the slow one.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from store.settings import get_settings
from tests.helpers.service import item
from tests.helpers.trainers import ScriptedTrainer
from worker.logs import configure
from worker.main import run_worker
from worker.work import CertificationEngine, CertificationWork, Engines, TrainingEngine


class ScriptedEngine:
    """Answers at once, and remembers what it was asked.

    Args:
        before: Called with the index before each answer; may raise, or change the world.
        left_out: Inputs that it forgets.
        changes: To every answer.
    """

    def __init__(
        self,
        before: Callable[[int], object] = lambda _: None,
        *,
        left_out: Sequence[int] = (),
        changes: Mapping[str, Any] | None = None,
    ) -> None:
        self.asked: list[list[int]] = []
        self.work: CertificationWork | None = None
        self._before = before
        self._left_out = left_out
        self._changes = changes or {}

    def __call__(
        self, work: CertificationWork, cancelled: Callable[[], bool]
    ) -> Iterator[Mapping[str, Any]]:
        """Yield an answer per index."""
        self.work = work
        self.asked.append(list(work.indices))
        for index in work.indices:
            self._before(index)
            if cancelled():
                return
            if index not in self._left_out:
                yield item(index, **self._changes)


def slow_engine(
    work: CertificationWork, cancelled: Callable[[], bool]
) -> Iterator[Mapping[str, Any]]:
    """Take `timeout_seconds` for each input, and stop when asked, as a solver does."""
    for index in work.indices:
        end = time.monotonic() + work.settings["timeout_seconds"]
        while time.monotonic() < end:
            if cancelled():
                return
            time.sleep(0.01)
        yield item(index)


def deadly_engine(bad: int) -> CertificationEngine:
    """Return the slow engine, which one input takes down with its worker."""

    def engine(
        work: CertificationWork, cancelled: Callable[[], bool]
    ) -> Iterator[Mapping[str, Any]]:
        for answer in slow_engine(work, cancelled):
            if answer["index"] == bad:
                os.kill(os.getpid(), signal.SIGKILL)
            yield answer

    return engine


LAYERS = [
    {"name": "a1", "neurons": 8, "unstable": 2.5, "slack": 0.25},
    {"name": "a2", "neurons": 4, "unstable": 0.0, "slack": 0.0},
]


def two_layers(
    work: CertificationWork, cancelled: Callable[[], bool]
) -> Sequence[Mapping[str, Any]]:
    """Say the same of every network."""
    return LAYERS


def certifying(engine: CertificationEngine) -> Engines:
    """Return the engines of a worker that certifies with this one."""
    return Engines(certify=engine, measure=two_layers, train=ScriptedTrainer())


def training(engine: TrainingEngine) -> Engines:
    """Return the engines of a worker that trains with this one."""
    return Engines(certify=ScriptedEngine(), measure=two_layers, train=engine)


def main() -> int:
    """Run a worker with the slow engine."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--parent", type=int)
    parser.add_argument("--bad", type=int, help="an input that takes the worker down")
    parsed = parser.parse_args()
    configure("INFO")
    engines = certifying(slow_engine if parsed.bad is None else deadly_engine(parsed.bad))
    return run_worker(get_settings(), lambda: engines, name=parsed.name, parent=parsed.parent)


if __name__ == "__main__":
    sys.exit(main())
