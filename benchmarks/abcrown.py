"""The instances that α,β-CROWN was run on with two cores, as far as their files can be had.

    python -m benchmarks.abcrown --out FOLDER [--timeout 60]

Its table names 46 specifications of VNN-COMP 2022. Some lie among the shared benchmarks under the
same name; those of mnist_fc are made again from MNIST, the way the competition made them; the rest
need images or files that are not at hand, and are counted.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.competition_runs import Settings, run_category
from benchmarks.competition_tables import beside_abcrown, joined, peer_rows
from benchmarks.mnist_specifications import write_mnist_specifications
from benchmarks.shared import print_table, shared_folder

__all__ = ["Layout", "lay_out", "main"]

_MNIST = "mnist_fc"


@dataclass(frozen=True)
class Layout:
    """Categories as `run_category` reads them.

    Attributes:
        folders: One for each category, with `instances.csv`.
        absent: Instances whose specification cannot be had, by category.
    """

    folders: Sequence[Path]
    absent: Mapping[str, int]


def main() -> None:
    """Read the command line, run what is missing, print both tools' answers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--timeout", type=float, default=60.0)
    given = parser.parse_args()
    layout = lay_out(given.out / "instances")
    settings = Settings(given.out, given.timeout)
    rows = []
    for folder in layout.folders:
        run_category(folder, settings)
        rows += joined(folder, given.out / f"{folder.name}.json")
    beside_abcrown(rows, given.timeout)
    print_table(
        "Specifications not at hand", ["category", "instances"], list(layout.absent.items())
    )


def lay_out(out: Path) -> Layout:
    """Lay the instances out by category, with their own names.

    Args:
        out: Folder to write into; what is there already is written again.

    Raises:
        ValueError: Specifications that are made again differ from those of the competition.
    """
    benchmarks = shared_folder() / "benchmarks"
    lines: dict[str, list[dict[str, str]]] = {}
    absent: dict[str, int] = {}
    for peer in peer_rows():
        category = peer["benchmark"]
        folder = out / category
        if category == _MNIST and category not in lines:
            write_mnist_specifications(folder / "vnnlib", benchmarks / _MNIST)
        known, made = (place / peer["vnnlib"] for place in (benchmarks / category, folder))
        if known.exists():
            made.parent.mkdir(parents=True, exist_ok=True)
            _link(made, known)
        if not made.exists():
            absent[category] = absent.get(category, 0) + 1
            continue
        _link(folder / "onnx", benchmarks / category / "onnx")
        lines.setdefault(category, []).append(_line(peer))
    for category, mine in lines.items():
        with (out / category / "instances.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(mine[0]))
            writer.writeheader()
            writer.writerows(mine)
    return Layout([out / category for category in lines], absent)


def _line(peer: Mapping[str, str]) -> dict[str, str]:
    known = peer["verdict"] in {"sat", "unsat"}
    return {
        "onnx": peer["onnx"],
        "vnnlib": peer["vnnlib"],
        "timeout_s": peer["timeout_s"],
        "expected": peer["verdict"] if known else "unknown",
    }


def _link(path: Path, target: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target.resolve())


if __name__ == "__main__":
    main()
