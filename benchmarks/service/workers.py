"""Two workers that share a job against one, on the same cores."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from benchmarks.service.embedded import mnist, rounds_of, serving
from benchmarks.shared import print_table
from worker.cores import available_cores

__all__ = ["run"]

_QUESTIONS: Mapping[str, Mapping[str, object]] = {
    "bounds": {"methods": ["ibp", "crown"], "count": 512, "epsilon": 0.02},
    "exact": {"methods": ["exact"], "count": 32, "epsilon": 0.02, "timeout_seconds": 5.0},
}
_WARM = {"methods": ["crown"], "count": 160, "epsilon": 0.01}
_ROUNDS = 2
_LONGEST_SECONDS = 240.0


def run() -> None:
    """Time jobs with one worker and with two, each of one thread, in turn."""
    times: dict[tuple[str, int], list[float]] = {}
    for number in rounds_of(_ROUNDS, longest_seconds=_LONGEST_SECONDS):
        for workers in (2, 1) if number % 2 else (1, 2):
            for name, seconds in _times(workers).items():
                times.setdefault((name, workers), []).append(seconds)
    rows = []
    for name in _QUESTIONS:
        one, two = times[name, 1], times[name, 2]
        rows.append([name, len(one), median(one), median(two), median(one) / median(two)])
    title = f"Workers of one thread on {available_cores()} cores, medians"
    print_table(title, ["job", "rounds", "one worker, s", "two workers, s", "speed-up"], rows)


def _times(workers: int) -> dict[str, float]:
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(workers=workers, worker_threads=1, device="cpu") as service,
    ):
        network, data = mnist(Path(folder), 512)
        ids = {
            "network_id": service.upload("networks", network),
            "dataset_id": service.upload("datasets", data),
            "reuse": False,
        }
        # All load what they need: none ends before it has answered a part of this.
        service.seconds(**ids, **_WARM)
        return {name: service.seconds(**ids, **asked) for name, asked in _QUESTIONS.items()}
