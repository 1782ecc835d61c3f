"""Proofs of the VNN-LIB instances at hand: how many, how long, how large, and what rigour costs.

    python -m benchmarks.proofs --out FOLDER [--timeout 60] [--count N] [CATEGORY ...]

Each category runs in one warm process; finished categories are kept in the folder and not run
again. Instances with a known counterexample are left out.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.shared import shared_folder
from models import load_network
from models.fold import fold_affine
from models.network import Network
from solvers.bounds import BoundOptions
from solvers.ladder import CaseBatch
from solvers.methods import Method
from solvers.problem import Case
from solvers.proof.checker import CheckedNetwork, bound_boxes
from solvers.vnnlib import fit_problem, read_vnnlib

__all__ = ["main", "run"]

Row = dict[str, Any]
_COMPARED = 8
"""Instances per category whose bounds are compared, and cases of each."""
_LARGE = 1e3
_HEADER = (
    "category", "instances", "verified", "checked", "float32", "search s", "proving s",
    "checking s", "bytes", "most bytes", "lost to rigour",
)  # fmt: skip


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
            _bench(listed, times, out / category, result)
    done = [category for category in every if (out / f"{category}.json").exists()]
    figures = [_figures(category, out / f"{category}.json") for category in done]
    figures.append(_total(figures))
    table = "\n".join(["| " + " | ".join(_HEADER) + " |", "|" + "---|" * len(_HEADER)])
    for row in figures:
        table += "\n| " + " | ".join(_cell(row[name]) for name in _HEADER) + " |"
    print(f"\n## Proofs, {times[0]:g} s to decide\n\n{table}")
    (out / "proofs.md").write_text(table + "\n")
    (out / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")


def _selected(folder: Path, target: Path, count: int | None) -> Path:
    """Write the list of instances that may be verified."""
    with (folder / "instances.csv").open(newline="") as file:
        lines = [line for line in csv.DictReader(file) if line.get("expected") != "sat"]
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


def _figures(category: str, result: Path) -> Row:
    rows = json.loads(result.read_text())["instances"]
    verified = [row for row in rows if row["verdict"] == "verified"]
    checked = [row for row in verified if row["evidence"] == "checked"]
    proofs = [row["proof"] for row in checked]
    lost = [_lost(Path(row["onnx"]), Path(row["vnnlib"])) for row in checked[:_COMPARED]]
    return {
        "category": category,
        "instances": len(rows),
        "verified": len(verified),
        "checked": len(checked),
        "float32": sum(row["deployment_sound"] is True for row in checked),
        "search s": _median([row["seconds"] for row in checked]),
        "proving s": _median([proof["proving_seconds"] for proof in proofs]),
        "checking s": _median([proof["checking_seconds"] for proof in proofs]),
        "bytes": _median([proof["bytes"] for proof in proofs]),
        "most bytes": max((proof["bytes"] for proof in proofs), default=None),
        "lost to rigour": _median([share for share in lost if share is not None]),
        "why not": [
            [row["onnx"], row["vnnlib"], (row["proof"] or {}).get("reason")]
            for row in verified
            if row["evidence"] != "checked"
        ],
    }


def _lost(onnx: Path, vnnlib: Path) -> float | None:
    """Return by how much the checker's bounds lie below CROWN's in float32, relative to these."""
    content = _content(onnx)
    network = load_network(content, name=onnx.name)
    existing = vnnlib if vnnlib.exists() else vnnlib.with_name(vnnlib.name + ".gz")
    problem = fit_problem(read_vnnlib(existing), network.input_shape, network.output_size)
    shares = [_lost_in(network, content, case) for case in problem.cases[:_COMPARED]]
    return _median([share for share in shares if share is not None])


def _lost_in(network: Network, content: bytes, case: Case) -> float | None:
    single = fold_affine(network.to(torch.float32))
    found = CaseBatch(single, [case]).bound(Method.CROWN, options=BoundOptions())
    clauses = case.specification.clauses
    matrix = np.concatenate([clause.matrix for clause in clauses])
    offset = np.concatenate([clause.offset for clause in clauses])
    corners = case.region.lower.reshape(1, -1), case.region.upper.reshape(1, -1)
    rows = bound_boxes(CheckedNetwork.read(content), *corners, matrix, offset)[0]
    starts = np.cumsum([0, *(len(clause.offset) for clause in clauses[:-1])])
    rigorous = np.maximum.reduceat(rows, starts)
    there = np.isfinite(rigorous) & np.isfinite(found.clause_lower[0])
    if not there.any():
        return None
    loss = (found.clause_lower[0] - rigorous) / np.abs(found.clause_lower[0])
    return float(np.median(loss[there]))


def _content(path: Path) -> bytes:
    packed = path.with_name(path.name + ".gz")
    if not path.exists() and packed.exists():
        path = packed
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


def _total(figures: Sequence[Row]) -> Row:
    counts = ("instances", "verified", "checked", "float32")
    row: Row = {name: sum(each[name] for each in figures) for name in counts}
    for name in ("search s", "proving s", "checking s", "bytes", "lost to rigour"):
        row[name] = _median([each[name] for each in figures if each[name] is not None])
    sizes = [each["most bytes"] for each in figures if each["most bytes"] is not None]
    return {**row, "category": "all", "most bytes": max(sizes, default=None), "why not": []}


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.0f}" if value >= _LARGE else f"{value:.3g}"
    return str(value)


if __name__ == "__main__":
    main()
