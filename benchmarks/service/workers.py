"""Two workers that share a job against one, on the same cores."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.service.embedded import mnist, serving
from benchmarks.shared import print_table
from worker.cores import available_cores

__all__ = ["run"]

_QUESTIONS = {
    "bounds": {"methods": ["ibp", "crown"], "count": 512, "epsilon": 0.02},
    "exact": {"methods": ["exact"], "count": 48, "epsilon": 0.02, "timeout_seconds": 30.0},
}
_ROUNDS = 2


def run() -> None:
    """Time jobs with one worker, then with two; each has the threads it chooses itself."""
    times = {(name, workers): 0.0 for name in _QUESTIONS for workers in (1, 2)}
    for _ in range(_ROUNDS):
        for workers in (1, 2):
            for name, seconds in _times(workers).items():
                times[name, workers] += seconds / _ROUNDS
    rows = [
        [name, times[name, 1], times[name, 2], times[name, 1] / times[name, 2]]
        for name in _QUESTIONS
    ]
    title = f"Workers on {available_cores()} cores, mean of {_ROUNDS} rounds"
    print_table(title, ["job", "one worker, s", "two workers, s", "speed-up"], rows)


def _times(workers: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder, serving(workers=workers) as service:
        network, data = mnist(Path(folder), 512)
        ids = {
            "network_id": service.upload("networks", network),
            "dataset_id": service.upload("datasets", data),
            "reuse": False,
        }
        # Both load what they need: neither ends before it has answered a part of this.
        warm = {"methods": ["crown"], "count": 160, "epsilon": 0.01}
        service.finish(service.certify(**ids, **warm)["id"])
        times = {}
        for name, question in _QUESTIONS.items():
            began = time.perf_counter()
            view = service.finish(service.certify(**ids, **question)["id"])
            times[name] = time.perf_counter() - began
            if view["state"] != "succeeded":
                raise SystemExit(f"the {name} job {view['state']}: {view['error']}")
        return times
