"""Jobs accepted per second, and lists that do not slow down when 10,000 of them wait."""

from __future__ import annotations

import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.service.embedded import Service, mnist, serving
from benchmarks.shared import print_table

__all__ = ["run"]

_JOBS = 10_000
_AT_ONCE = 8
_BATCH = 1000
_PAGE = 100


def run() -> None:
    """Submit jobs that no worker takes, and page through their list now and then."""
    rows = []
    # The worker takes jobs of the other queue, so that these stay queued.
    with tempfile.TemporaryDirectory() as folder, serving(queues="exact") as service:
        network, data = mnist(Path(folder), 10)
        asked = {
            "network_id": service.upload("networks", network),
            "dataset_id": service.upload("datasets", data),
            "methods": ["crown"],
            "reuse": False,
        }
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for first in range(0, _JOBS, _BATCH):
                began = time.perf_counter()
                epsilons = [0.01 + 1e-7 * (first + number) for number in range(_BATCH)]
                list(pool.map(lambda epsilon: service.certify(**asked, epsilon=epsilon), epsilons))
                rate = _BATCH / (time.perf_counter() - began)
                rows.append([first + _BATCH, rate, *_page_times(service)])
    header = ["jobs queued", "accepted per s", "first page, ms", "last page, ms", "filtered, ms"]
    print_table(f"Submission by {_AT_ONCE} clients, pages of {_PAGE}", header, rows)


def _page_times(service: Service) -> tuple[float, float, float]:
    """Return the milliseconds of the first page, of the last, and of a page of one state."""
    times, cursor = [], None
    while cursor is not None or not times:
        began = time.perf_counter()
        parameters = {"limit": _PAGE, **({} if cursor is None else {"cursor": cursor})}
        page = service.http.get("/v1/jobs", params=parameters).raise_for_status().json()
        times.append(1000 * (time.perf_counter() - began))
        cursor = page["next_cursor"]
    filtered = []
    for _ in range(5):
        began = time.perf_counter()
        service.http.get("/v1/certifications", params={"limit": _PAGE, "state": "queued"})
        filtered.append(1000 * (time.perf_counter() - began))
    ends = max(1, len(times) // 10)
    return (
        statistics.median(times[:ends]),
        statistics.median(times[-ends:]),
        statistics.median(filtered),
    )
