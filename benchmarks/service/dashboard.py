"""Pages of the dashboard with much behind them: paint, load, bytes, queries."""

from __future__ import annotations

import asyncio
import re
import shutil
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path

import httpx
from playwright.sync_api import Browser, sync_playwright
from sqlalchemy import event

from api.app import create_app
from benchmarks.service.embedded import serving
from benchmarks.service.filling import Filled, fill
from benchmarks.shared import print_table
from store.settings import Settings

__all__ = ["run"]

_JOBS = 1000
_INPUTS = 10_000
_VISITS = 5
_MEASURE = """() => {
  const [page] = performance.getEntriesByType("navigation");
  const paint = performance.getEntriesByName("first-contentful-paint")[0];
  const files = performance.getEntriesByType("resource");
  const sent = [page, ...files].reduce((sum, one) => sum + one.transferSize, 0);
  return [paint.startTime, page.loadEventEnd, page.transferSize, sent, page.decodedBodySize];
}"""
_PAINTED = """() => performance.getEntriesByName("first-contentful-paint").length
  && performance.getEntriesByType("navigation")[0].loadEventEnd > 0"""


def run() -> None:
    """Fill a service, count the queries of every page, and look at all of them in a browser."""
    with tempfile.TemporaryDirectory() as folder:
        small = fill(Path(folder), jobs=20, inputs=10)
        few = asyncio.run(_queries(Path(folder), _paths(small)))
    with serving() as service:
        filled = fill(service.data_dir, jobs=_JOBS, inputs=_INPUTS)
        many = asyncio.run(_queries(service.data_dir, _paths(filled)))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
            url = str(service.http.base_url)
            rows = [
                [name, *_visits(browser, url, path), few[name], many[name]]
                for name, path in _paths(filled).items()
            ]
            browser.close()
    header = [
        "page", "first paint, ms", "loaded, ms", "page, kB", "all files, kB", "unpacked, kB",
        "queries, 20 jobs", f"queries, {_JOBS} jobs",
    ]  # fmt: skip
    print_table(
        f"{_JOBS} jobs, a certification of {_INPUTS:,} inputs; nothing in the browser's cache, "
        f"median of {_VISITS} visits",
        header,
        rows,
    )


def _paths(filled: Filled) -> Mapping[str, str]:
    large = f"/certifications/{filled.certification}"
    return {
        "overview": "/",
        "networks": "/networks",
        "a network": f"/networks/{filled.network}",
        "certifications": "/certifications",
        "the large certification": large,
        "filtered, sorted, last page": f"{large}?verdict=verified&sort=lower_down&page=99",
        "an input": f"{large}/inputs/{filled.falsified}",
        "comparisons": "/comparisons",
        "a comparison": f"/comparisons/{filled.comparison}",
        "trainings": "/trainings",
        "a training": f"/trainings/{filled.training}",
        "new certification": "/new/certification",
        "new comparison": "/new/comparison",
        "new training": "/new/training",
        "settings": "/settings",
    }


async def _queries(data_dir: Path, paths: Mapping[str, str]) -> dict[str, int]:
    """Return how often each page asks the database."""
    # That no key was made is known for a moment: how long a page takes must not count.
    app = create_app(Settings(data_dir=data_dir, key_cache_seconds=0))
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        asked.append(statement)

    event.listen(app.state.services.database.engine, "before_cursor_execute", note)
    counts = {}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        for name, path in paths.items():
            asked.clear()
            (await client.get(path)).raise_for_status()
            counts[name] = sum(bool(re.match(r"\s*(SELECT|WITH)", one)) for one in asked)
    app.state.services.close()
    return counts


def _visits(browser: Browser, url: str, path: str) -> list[float]:
    """Return the medians of what several visits of a page come to."""
    found = []
    for _ in range(_VISITS):
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        page = context.new_page()
        page.goto(url + path)
        page.wait_for_function(_PAINTED)
        found.append(page.evaluate(_MEASURE))
        context.close()
    paint, loaded, *sizes = (statistics.median(values) for values in zip(*found, strict=True))
    return [paint, loaded, *(size / 1000 for size in sizes)]
