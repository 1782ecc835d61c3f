"""How long a certification takes all answers of which are known."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.service.embedded import Service, mnist, serving
from benchmarks.shared import print_table

__all__ = ["run"]

_COUNT = 100
_REPEATS = 30


def run() -> None:
    """Certify once, then ask for the same, for fewer inputs, for fewer methods."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, serving(worker_threads=1) as service:
        network, data = mnist(Path(folder), _COUNT)
        ids = {
            "network_id": service.upload("networks", network),
            "dataset_id": service.upload("datasets", data),
        }
        asked = {**ids, "epsilon": 0.02, "methods": ["ibp", "crown"], "count": _COUNT}
        first = service.finish(service.certify(**asked)["id"])
        if first["state"] != "succeeded":
            raise SystemExit(f"the certification {first['state']}: {first['error']}")
        questions: dict[str, dict[str, Any]] = {
            "the same": asked,
            "half of the inputs": {**asked, "count": _COUNT // 2},
            "one of the methods": {**asked, "methods": ["crown"]},
        }
        for name, question in questions.items():
            times = sorted(_ask(service, question) for _ in range(_REPEATS))
            rows.append([name, statistics.median(times), times[int(0.95 * _REPEATS)], times[-1]])
    print_table(
        f"Known answers, {_COUNT} inputs, {_REPEATS} requests each",
        ["asked for", "median, ms", "95 %, ms", "longest, ms"],
        rows,
    )


def _ask(service: Service, question: Mapping[str, Any]) -> float:
    """Return the milliseconds from a request to its answer, which has to be final."""
    began = time.perf_counter()
    made = service.certify(**question)
    spent = 1000 * (time.perf_counter() - began)
    if not (made["state"] == "succeeded" and made["cached"]):
        raise SystemExit(f"{question} was not answered at once")
    return spent
