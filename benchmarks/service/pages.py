"""100,000 answers of one job, read page by page."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from sqlalchemy import insert

from benchmarks.service.embedded import Service, mnist, serving
from benchmarks.shared import print_table
from store.answers import answer_values
from store.database import Database
from store.tables import ItemRow

__all__ = ["run"]

_ITEMS = 100_000
_PAGE = 1000


def run() -> None:
    """Write answers straight into the database, then read them over HTTP."""
    with tempfile.TemporaryDirectory() as folder, serving(queues="exact") as service:
        network, data = mnist(Path(folder), 10)
        made = service.certify(
            network_id=service.upload("networks", network),
            dataset_id=service.upload("datasets", data),
            epsilon=0.01,
            methods=["crown"],
        )
        _fill(service, made["id"])
        times = _read(service, made["id"])
    tenth = len(times) // 10
    rows = [
        [f"{_PAGE * start:,} to {_PAGE * (start + tenth):,}", *_figures(times[start:][:tenth])]
        for start in range(0, len(times), tenth)
    ]
    print_table(
        f"{_ITEMS:,} answers in pages of {_PAGE}", ["answers", "median, ms", "longest, ms"], rows
    )


def _figures(times: list[float]) -> tuple[float, float]:
    return statistics.median(times), max(times)


def _fill(service: Service, certification_id: str) -> None:
    database = Database(f"sqlite:///{service.data_dir / 'tightrope.sqlite3'}")
    answer = {
        "label": 1,
        "predicted": 1,
        "verdict": "verified",
        "evidence": "solver",
        "lower": {"crown": 0.5},
        "upper": 1.0,
        "exact": None,
        "gap": {"crown": 0.5},
        "seconds": {"crown": 0.001, "attack": 0.01},
        "counterexample": None,
        "reason": None,
        "status": {"crown": "done"},
        "reasons": {},
    }
    with database.write() as session:
        rows = (
            {"certification_id": certification_id, **answer_values({"index": index, **answer})}
            for index in range(_ITEMS)
        )
        session.execute(insert(ItemRow), list(rows))
    database.close()


def _read(service: Service, certification_id: str) -> list[float]:
    """Return the milliseconds of every page."""
    times: list[float] = []
    cursor, read = None, 0
    while cursor is not None or not times:
        began = time.perf_counter()
        parameters = {"limit": _PAGE, **({} if cursor is None else {"cursor": cursor})}
        url = f"/v1/certifications/{certification_id}/items"
        page = service.http.get(url, params=parameters).raise_for_status().json()
        times.append(1000 * (time.perf_counter() - began))
        read, cursor = read + len(page["items"]), page["next_cursor"]
    if read != _ITEMS:
        raise SystemExit(f"{read} answers were read")
    return times
