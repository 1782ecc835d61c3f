"""`tightrope bench` over categories of VNN-LIB instances with known verdicts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.shared import print_table, shared_folder

CATEGORIES = (
    "test",
    "acasxu",
    "mnist_fc",
    "collins_rul_cnn",
    "rl_benchmarks",
    "oval21",
    "cifar10_resnet",
)


def run(categories: tuple[str, ...] = CATEGORIES, timeout_seconds: float = 20.0) -> None:
    """Print what was solved in each category, and every contradiction."""
    shared = shared_folder()
    rows, contradictions = [], []
    with TemporaryDirectory() as folder:
        for category in categories:
            out = Path(folder) / f"{category}.json"
            instances = shared / "benchmarks" / category / "instances.csv"
            command = [sys.executable, "-m", "cli.main", "bench", str(instances), "--quiet"]
            command += ["--timeout", str(timeout_seconds), "--json", str(out)]
            subprocess.run(command, check=True)
            report = json.loads(out.read_text())
            verdicts = Counter(item["verdict"] for item in report["instances"])
            total = len(report["instances"])
            wrong = report["contradictions"]
            contradictions.append(wrong)
            rows.append(
                [
                    category,
                    total,
                    report["solved"],
                    verdicts["verified"],
                    verdicts["falsified"],
                    verdicts["unknown"],
                    wrong if isinstance(wrong, int) else len(wrong),
                    report["par2_seconds"],
                ]
            )
            print(f"{category}: {report['solved']} of {total}", file=sys.stderr, flush=True)
    header = ["category", "instances", "solved", "verified", "falsified", "unknown"]
    header += ["contradictions", "PAR-2 s"]
    print_table(f"VNN-LIB instances, {timeout_seconds:g} s each", header, rows)
