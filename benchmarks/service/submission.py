"""Jobs accepted per second, and lists that do not slow down when 10,000 of them wait."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sqlalchemy import func, insert, select

from benchmarks.service.embedded import Service, mnist, serving
from benchmarks.shared import print_table
from store.database import Database
from store.identifiers import new_identifier
from store.job_tables import JobRow
from store.tables import CertificationRow

__all__ = ["run"]

_JOBS = 10_000
_AT_ONCE = 8
_BATCH = 250
_PAGE = 100


def run() -> None:
    """Submit jobs that no worker takes, when hardly any and when thousands are queued."""
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
        for queued in (_BATCH, _JOBS // 2, _JOBS):
            _fill(service, queued - _BATCH)
            rate = _submit(service, asked)
            rows.append([queued, rate, *_page_times(service)])
    header = ["jobs queued", "accepted per s", "first page, ms", "last page, ms", "filtered, ms"]
    print_table(f"Submission by {_AT_ONCE} clients, pages of {_PAGE}", header, rows)


def _submit(service: Service, asked: Mapping[str, object]) -> float:
    """Return how many requests were accepted per second."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        began = time.perf_counter()
        made = list(pool.map(lambda _: service.certify(**asked, epsilon=0.01), range(_BATCH)))
    if any(view["state"] != "queued" for view in made):
        raise SystemExit("a worker has taken what was to stay queued")
    return _BATCH / (time.perf_counter() - began)


def _fill(service: Service, wanted: int) -> None:
    """Queue jobs straight in the database, as copies of one that is there, up to a number."""
    database = Database(f"sqlite:///{service.data_dir / 'tightrope.sqlite3'}")
    with database.write() as session:
        present = session.scalar(select(func.count()).select_from(JobRow)) or 0
        names = [new_identifier("job") for _ in range(wanted - present)]
        for table in (JobRow, CertificationRow) if names else ():
            columns = select(table.__table__).limit(1)
            copied = dict(session.execute(columns).mappings().one())
            session.execute(insert(table), [{**copied, "id": name} for name in names])
    database.close()


def _page_times(service: Service) -> tuple[float, float, float]:
    """Return the milliseconds of the first page, of the last, and of a page of one state."""
    times: list[float] = []
    cursor = None
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
