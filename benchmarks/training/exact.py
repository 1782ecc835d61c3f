"""Certified accuracy of trained networks by crown-ibp, crown and the exact search.

`python -m benchmarks.training.exact --out EXACT.csv --networks FOLDER --seeds 0 [--items 100] …`

Takes the runs of `benchmarks.training.paired`, with the same options; a network that the folder
does not hold is trained first. One line is appended per network.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.training.paired import Run, append, finished, mnist, planned, plans, trained
from models import load_network
from models.data import Dataset
from models.export import write_network
from solvers.certification import CertifyOptions, ItemResult, certify_items
from solvers.exact import ExactMode
from solvers.methods import Method
from solvers.results import Verdict

__all__ = ["asked", "main"]

_METHODS = (Method.CROWN_IBP, Method.CROWN, Method.EXACT)


def asked(path: Path, run: Run, test: Dataset, timeout: float) -> dict[str, Any]:
    """Certify a network on test images, and return the line of the results."""
    options = CertifyOptions(
        epsilon=run.epsilon,
        methods=_METHODS,
        timeout_seconds=timeout,
        exact_mode=ExactMode.DECIDE,
        device="cpu",
    )
    items = list(certify_items(load_network(path), test, options))
    verdicts = Counter(item.verdict for item in items)
    count = len(items)
    return {
        **asdict(run),
        "items": count,
        "timeout": timeout,
        "clean": 1 - verdicts[Verdict.MISCLASSIFIED] / count,
        "crown_ibp": proved(items, Method.CROWN_IBP),
        "crown": proved(items, Method.CROWN),
        "exact": verdicts[Verdict.VERIFIED] / count,
        "not_falsified": (verdicts[Verdict.VERIFIED] + verdicts[Verdict.UNKNOWN]) / count,
        "unknown": verdicts[Verdict.UNKNOWN] / count,
        "exact_seconds": sum(item.seconds.get(Method.EXACT, 0.0) for item in items),
    }


def proved(items: Sequence[ItemResult], method: Method) -> float:
    """Return the share of the inputs on which the bound of a method is positive."""
    return sum(item.lower.get(method, -1.0) > 0 for item in items) / len(items)


def main() -> None:
    """Certify the networks whose lines the file does not hold yet."""
    parser: argparse.ArgumentParser = plans("Exact certified accuracy of trained networks.")
    parser.add_argument("--arms", default="none,both")
    parser.add_argument("--items", type=int, default=100, help="test images to certify")
    parser.add_argument("--timeout", type=float, default=3.0, help="seconds per image")
    arguments = parser.parse_args()
    if arguments.networks is None:
        parser.error("give --networks, the folder of the trained networks")
    torch.set_num_threads(arguments.threads)
    data = mnist(arguments.images, arguments.items)
    done = finished(arguments.out)
    arguments.networks.mkdir(parents=True, exist_ok=True)
    for run in planned(arguments):
        if run.arm not in arguments.arms.split(",") or run.key in done:
            continue
        path = arguments.networks / f"{run.stem}.onnx"
        if not path.exists():
            path.write_bytes(write_network(trained(run, data).network))
        row = asked(path, run, data[2], arguments.timeout)
        append(arguments.out, row)
        print(run.stem, {name: row[name] for name in list(row)[-7:]}, flush=True)


if __name__ == "__main__":
    main()
