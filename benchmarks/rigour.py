"""What proofs are like: how many verdicts get one, how long it takes, and what rigour costs.

    python -m benchmarks.rigour RESULTS INSTANCES --out FILE

compares the checker's bounds of instances that were proved with those in float32 without any
allowance for rounding; a process of its own, because large networks want all the memory.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models import load_network
from models.fold import fold_affine
from models.network import Network
from solvers.bounds import BoundOptions
from solvers.ladder import CaseBatch
from solvers.methods import Method
from solvers.problem import Case
from solvers.proof import bound_boxes, read_network
from solvers.vnnlib import fit_problem, read_vnnlib

__all__ = ["HEADER", "cells", "proof_figures", "relative_losses", "total_figures"]

Row = dict[str, Any]
_COMPARED = 8
"""Instances per category whose bounds are compared, and cases of each."""
_LARGE = 1e3
_COUNTS = ("instances", "verified", "checked", "float32")
_MEDIANS = ("search s", "proving s", "checking s", "bytes")
HEADER = (
    "category", *_COUNTS[:3], "share", "float32", *_MEDIANS, "most bytes", "lost to rigour",
)  # fmt: skip


def main() -> None:
    """Compare the bounds of one category and write how much rigour cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("instances", type=Path, help="Folder that the results' paths start from.")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    rows = json.loads(given.results.read_text())["instances"]
    given.out.write_text(json.dumps(relative_losses(rows, given.instances)) + "\n")


def relative_losses(rows: Sequence[Row], folder: Path) -> list[float]:
    """Return by how much the checker's bounds lie below CROWN's in float32, relative to these.

    Args:
        rows: What `bench --json` lists.
        folder: That their paths start from.

    Returns:
        Of the first instances with a proof, one figure each; fewer where bounds are infinite.
    """
    losses = []
    for row in [row for row in rows if row["evidence"] == "checked" and row["proof"]][:_COMPARED]:
        try:
            loss = _lost(folder / row["onnx"], folder / row["vnnlib"])
        except Exception as error:
            print(f"not compared: {row['onnx']} {row['vnnlib']}: {error}", file=sys.stderr)
            continue
        if loss is not None:
            losses.append(loss)
    return losses


def _lost(onnx: Path, vnnlib: Path) -> float | None:
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
    rows = bound_boxes(read_network(content), *corners, matrix, offset)[0]
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


def proof_figures(category: str, rows: Sequence[Row], losses: Sequence[float]) -> Row:
    """Return what became of the proofs of a category.

    Args:
        category: Its name.
        rows: What `bench --json` lists.
        losses: Of `relative_losses`.
    """
    verified = [row for row in rows if row["verdict"] == "verified"]
    checked = [row for row in verified if row["evidence"] == "checked" and row["proof"]]
    proofs = [row["proof"] for row in checked]
    return {
        "category": category,
        "instances": len(rows),
        "verified": len(verified),
        "checked": len(checked),
        "share": _share(len(checked), len(verified)),
        "float32": sum(row["deployment_sound"] is True for row in verified),
        "search s": _median([row["seconds"] for row in checked]),
        "proving s": _median([proof["proving_seconds"] for proof in proofs]),
        "checking s": _median([proof["checking_seconds"] for proof in proofs]),
        "bytes": _median([proof["bytes"] for proof in proofs]),
        "most bytes": max((proof["bytes"] for proof in proofs), default=None),
        "lost to rigour": max(losses, default=None),
        "why not": [
            [row["onnx"], row["vnnlib"], (row["proof"] or {}).get("reason") or row["reason"]]
            for row in verified
            if row["evidence"] != "checked"
        ],
    }


def total_figures(rows: Mapping[str, Sequence[Row]], losses: Mapping[str, Sequence[float]]) -> Row:
    """Return the figures of all categories together, medians over all their instances."""
    every = [row for mine in rows.values() for row in mine]
    return proof_figures("all", every, [loss for mine in losses.values() for loss in mine])


def cells(figures: Row) -> list[str]:
    """Return a line of the table under `HEADER`."""
    return [_cell(figures[name]) for name in HEADER]


def _share(part: int, whole: int) -> str | None:
    return f"{part / whole:.1%}" if whole else None


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
