"""A real worker whose engine breaks where it is told: `python -m tests.helpers.faulty_worker`.

The engine is the real one in its own process, or with `--answers` one that gives the answers of a
file, which needs no torch. Behind every answer it pauses, so that there is time to harm its
surroundings, and before input `--at` it does what `--fault` names, once where `--once` names a file
that does not exist yet.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from store.settings import get_settings
from tests.helpers.breaking import FAULTS
from worker.engine import load_engines
from worker.engine import main as engine_main
from worker.logs import configure
from worker.main import run_worker
from worker.remote import EngineProcess
from worker.work import CertificationWork, Engines

FAULTY_WORKER = (sys.executable, "-m", "tests.helpers.faulty_worker")
_OPTIONS = ("pause", "fault", "at", "once", "answers")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--engine", action="store_true", help="be the engine, not the worker")
    parser.add_argument("--name", default="w")
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--fault", choices=list(FAULTS))
    parser.add_argument("--at", type=int, default=1)
    parser.add_argument("--once", type=Path)
    parser.add_argument("--answers", type=Path)
    return parser


def _replaying(path: Path) -> Engines:
    """Return engines that know the answers."""
    answers = {item["index"]: item for item in json.loads(path.read_text(encoding="utf-8"))}

    def certify(
        work: CertificationWork, _cancelled: Callable[[], bool]
    ) -> Iterator[Mapping[str, Any]]:
        yield from (answers[index] for index in work.indices)

    def nothing(*_: object) -> NoReturn:
        raise NotImplementedError("only certifications are asked for")

    return Engines(certify=certify, measure=nothing, train=nothing)


def _faulty(engines: Engines, options: argparse.Namespace) -> Engines:
    """Return engines that pause behind each answer, and break before one."""

    def certify(
        work: CertificationWork, cancelled: Callable[[], bool]
    ) -> Iterator[Mapping[str, Any]]:
        for index in work.indices:
            spent = options.once is not None and options.once.exists()
            if options.fault and index == options.at and not spent:
                if options.once is not None:
                    options.once.touch()
                FAULTS[options.fault]()
            for item in engines.certify(replace(work, indices=[index]), cancelled):
                time.sleep(options.pause)
                yield item

    return replace(engines, certify=certify)


def _engines(threads: int, options: argparse.Namespace) -> Engines:
    return load_engines(threads) if options.answers is None else _replaying(options.answers)


def main(arguments: Sequence[str] | None = None) -> int:
    """Be a worker, or its engine; return the exit status."""
    options, rest = _parser().parse_known_args(arguments)
    if options.engine:
        return engine_main(rest, load=lambda threads: _faulty(_engines(threads, options), options))
    settings = get_settings()
    configure(settings.log_level)
    given = {name: getattr(options, name) for name in _OPTIONS}
    words = [f"--{name}={value}" for name, value in given.items() if value is not None]
    with EngineProcess(settings, command=[*FAULTY_WORKER, "--engine", *words]) as process:
        return run_worker(settings, process.engines, name=options.name)


if __name__ == "__main__":
    sys.exit(main())
