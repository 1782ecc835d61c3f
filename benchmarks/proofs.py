"""Proofs of the VNN-LIB instances at hand: how many, how long, how large, and what rigour costs.

    python -m benchmarks.proofs --out FOLDER [--timeout 60] [--count N] [CATEGORY ...]

Each category runs in one warm process; finished categories are kept in the folder and not run
again. Instances with a known counterexample are left out. Shares of the bound are lost where the
checker's own bounds lie below CROWN's in float32; a negative one is gained.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.rigour import HEADER, cells, proof_figures, relative_losses, total_figures
from benchmarks.shared import shared_folder

__all__ = ["main", "run"]


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("categories", nargs="*")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--timeout", type=float, default=60.0)
    parser.add_argument("--proof-timeout", type=float, default=120.0)
    parser.add_argument("--count", type=int, help="Instances per category, spread over the list.")
    given = parser.parse_args()
    times = given.timeout, given.proof_timeout
    run(given.out, times, count=given.count, categories=given.categories)


def run(
    out: Path,
    times: tuple[float, float] = (60.0, 120.0),
    *,
    count: int | None = None,
    categories: Sequence[str] = (),
) -> None:
    """Run what is missing, then print the table and write it beside the figures.

    Args:
        out: Folder of the results.
        times: Seconds to decide an instance in, and to prove it in.
        count: Instances per category; None for all.
        categories: Which; all of them by default.
    """
    folder = shared_folder() / "benchmarks"
    every = sorted(path.parent.name for path in folder.glob("*/instances.csv"))
    out.mkdir(parents=True, exist_ok=True)
    for category in categories or every:
        result = out / f"{category}.json"
        if not result.exists():
            listed = _selected(folder / category, out / f"{category}.csv", count)
            if listed is None:
                continue  # all of them are falsified
            _bench(listed, times, out / category, result)
    done = [category for category in every if (out / f"{category}.json").exists()]
    rows = {name: json.loads((out / f"{name}.json").read_text())["instances"] for name in done}
    losses = {name: relative_losses(mine, out) for name, mine in rows.items()}
    figures = [proof_figures(name, rows[name], losses[name]) for name in done]
    figures.append(total_figures(rows, losses))
    table = "\n".join(["| " + " | ".join(HEADER) + " |", "|" + "---|" * len(HEADER)])
    for row in figures:
        table += "\n| " + " | ".join(cells(row)) + " |"
    print(f"\n## Proofs, {times[0]:g} s to decide\n\n{table}")
    (out / "proofs.md").write_text(table + "\n")
    (out / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")


def _selected(folder: Path, target: Path, count: int | None) -> Path | None:
    """Write the list of instances that may be verified; None where there are none."""
    with (folder / "instances.csv").open(newline="") as file:
        lines = [line for line in csv.DictReader(file) if line.get("expected") != "sat"]
    if not lines:
        return None
    if count is not None and len(lines) > count:
        lines = [lines[i] for i in np.linspace(0, len(lines) - 1, count).astype(int)]
    columns = ("onnx", "vnnlib", "timeout_s", "expected")
    with target.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for line in lines:
            paths = [str(folder / line[name]) for name in columns[:2]]
            writer.writerow([*paths, line["timeout_s"], line["expected"]])
    return target


def _bench(instances: Path, times: tuple[float, float], proofs: Path, result: Path) -> None:
    command = [sys.executable, "-m", "cli.main", "bench", str(instances), "--quiet"]
    command += ["--timeout", str(times[0]), "--proof-timeout", str(times[1])]
    command += ["--proofs", str(proofs), "--json", str(result)]
    subprocess.run(command, check=True, stdout=sys.stderr)


if __name__ == "__main__":
    main()
