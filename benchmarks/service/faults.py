"""What a deployment survives: `python -m benchmarks.service faults [--times N] [--only WORDS]`.

Real processes with real Redis and PostgreSQL are harmed in the middle of jobs. Lost are inputs
without an answer, doubled those with two, changed the answers that differ from those of an
undisturbed run. The time runs from the fault to the next answer behind it; where one worker is
killed to the end of the job, and where a solver breaks over the whole job.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.faults.faults import FAULTS, Outcome
from tests.faults.site import Answers, Site, site

__all__ = ["run"]


def run(arguments: Sequence[str] = ()) -> None:
    """Inject every fault some times and print a row for each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service faults")
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--only", default="", help="part of a fault's name")
    options = parser.parse_args(arguments)
    heads = ("injected", "survived", "lost", "doubled", "changed", "parked", "recovery")
    print(f"{'fault':<27}" + "".join(f"{head:>10}" for head in heads))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # PostgreSQL runs as somebody else
        with site(Path(folder)) as place:
            _, expected, _ = place.finish(place.submit())
            for name in FAULTS:
                if options.only in name:
                    _row(name, place, expected, options.times)


def _row(name: str, place: Site, expected: Answers, times: int) -> None:
    outcomes: list[Outcome] = []
    for _ in range(times):
        try:
            outcomes.append(FAULTS[name](place, expected))
        except pytest.skip.Exception as reason:
            print(f"{name:<27}  left out: {reason}")
            return
        except AssertionError as error:
            print(f"{name:<27}  {str(error).splitlines()[0] if str(error) else 'failed'}")
    sums = [
        sum(getattr(outcome, field) for outcome in outcomes)
        for field in ("survived", "lost", "doubled", "changed", "parked")
    ]
    slowest = max((outcome.seconds for outcome in outcomes), default=float("nan"))
    print(
        f"{name:<27}{times:>10}" + "".join(f"{value:>10}" for value in sums) + f"{slowest:>8.1f} s"
    )
