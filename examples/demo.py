"""Certify small networks through the running service.

    python -m examples.demo [--count 50] [--epsilon 0.06] [--folder demo-output]

trains three networks on scikit-learn's digits, starts the service with a fresh data folder,
uploads, certifies, prints a table, writes one HTML report per network, and stops the service.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from examples import digits
from examples.client import Service
from tightrope_client import Certification

METHODS = ["ibp", "crown", "alpha-crown", "exact"]
_ANNOUNCEMENT = re.compile(r"https?://\S+")


@contextmanager
def running_service(data: Path, log: Path) -> Iterator[str]:
    """Start `tightrope serve` on a free port, yield its URL, and stop it."""
    command = [sys.executable, "-m", "cli.main", "serve", "--port", "0", "--data-dir", str(data)]
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            announced = _ANNOUNCEMENT.search(process.stdout.readline())
            if announced is None:
                raise RuntimeError(f"the service did not start: {log.read_text()}")
            yield announced.group()
        finally:
            process.terminate()
            process.wait(timeout=60)


def certify(
    service: Service, network: Path, dataset: str, options: dict[str, Any]
) -> dict[str, Any]:
    """Upload a network, certify it on the data set, and return the finished certification."""
    print(f"certifying {network.stem}", end="", flush=True)
    request = {"network_id": service.upload("networks", network), "dataset_id": dataset, **options}

    def tell(state: Certification) -> None:
        print(f" {state.progress.done}/{state.progress.total}", end="", flush=True)

    state = service.finish(service.certify(request), tell)
    print(f" done in {state['summary']['seconds']:.0f} s")
    return state


def percent(share: float | None) -> str:
    """Return a share in percent."""
    return "–" if share is None else f"{100 * share:.1f} %"


def table_of(results: dict[str, dict[str, Any]], epsilon: float) -> Table:
    """Return the comparison of the networks."""
    table = Table(title=f"{len(METHODS)} methods, L∞ ε = {epsilon:g}")
    table.add_column("")
    for name in results:
        table.add_column(name, justify="right")
    summaries = [result["summary"] for result in results.values()]
    table.add_row("clean accuracy", *(percent(s["clean_accuracy"]) for s in summaries))
    table.add_row("empirical accuracy", *(percent(s["empirical_accuracy"]) for s in summaries))
    for method in METHODS:
        shares = (percent(s["certified_accuracy"][method]) for s in summaries)
        table.add_row(f"certified, {method}", *shares)
    table.add_row("certified gap", *(percent(s["certified_gap"]) for s in summaries))
    for method in METHODS:
        gaps = (s["mean_gap"][method] for s in summaries)
        texts = ("–" if gap is None else f"{gap:.3g}" for gap in gaps)
        table.add_row(f"mean gap, {method}", *texts)
    table.add_row("falsified", *(str(s["falsified"]) for s in summaries))
    table.add_row("unknown", *(str(s["unknown"]) for s in summaries))
    return table


def main() -> int:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(description="Certify small networks through the service.")
    parser.add_argument("--count", type=int, default=50, help="inputs for each network")
    parser.add_argument("--epsilon", type=float, default=0.06, help="radius of the region")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds for each exact answer")
    parser.add_argument("--folder", type=Path, default=Path("demo-output"), help="for the results")
    arguments = parser.parse_args()
    started = time.monotonic()
    torch.set_num_threads(1)
    folder = arguments.folder.resolve()
    print("training three networks on scikit-learn's digits")
    networks, data = digits.make(folder)
    options = {
        "epsilon": arguments.epsilon,
        "methods": METHODS,
        "count": arguments.count,
        "timeout_seconds": arguments.timeout,
    }
    results, pages = {}, []
    with (
        tempfile.TemporaryDirectory(prefix="tightrope-demo-") as store,
        running_service(Path(store), folder / "service.log") as url,
    ):
        print(f"the service runs at {url}")
        service = Service(url)
        dataset = service.upload("datasets", data)
        for network in networks:
            result = certify(service, network, dataset, options)
            results[network.stem] = result
            pages.append(folder / f"{network.stem}.html")
            pages[-1].write_text(service.page(result["id"]), encoding="utf-8")
        service.close()
    Console().print(table_of(results, arguments.epsilon))
    print(f"{time.monotonic() - started:.0f} s in all; reports:")
    for page in pages:
        print(f"  {page.as_uri()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
