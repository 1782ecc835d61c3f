"""Every VNN-LIB instance at hand, beside the verdicts and times of the competition's tools.

    python -m benchmarks.competition --out FOLDER [--timeout 60] [--proofs] [CATEGORY ...]

Each category runs in one warm process; finished categories are kept in the folder and not run
again, and neither are finished instances of one that was cut short. A process that crashes costs
the instance it was at. The tables and the cactus plot are of all that is there.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.competition_runs import CategoryError, Settings, run_category
from benchmarks.competition_tables import Row, beside_abcrown, cactus, joined, missing, summary
from benchmarks.rigour import HEADER, cells, proof_figures, total_figures
from benchmarks.shared import print_table, shared_folder

__all__ = ["main", "run"]


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("categories", nargs="*")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--timeout", type=float, default=60.0)
    parser.add_argument("--proofs", action="store_true", help="Prove every verified instance.")
    parser.add_argument("--proof-timeout", type=float, default=120.0)
    given = parser.parse_args()
    proof_timeout = given.proof_timeout if given.proofs else None
    run(Settings(given.out, given.timeout, proof_timeout), given.categories)


def run(settings: Settings, categories: Sequence[str] = ()) -> None:
    """Run what is missing, then print the tables and draw the plot.

    Args:
        settings: Of the runs.
        categories: Which to run; all of them by default.
    """
    folder, out = shared_folder() / "benchmarks", settings.out
    every = sorted(path.parent.name for path in folder.glob("*/instances.csv"))
    out.mkdir(parents=True, exist_ok=True)
    for category in categories or every:
        try:
            run_category(folder / category, settings)
        except (CategoryError, OSError) as error:
            print(f"{category} is left out: {error}", file=sys.stderr)
    rows = {
        category: joined(folder / category, out / f"{category}.json")
        for category in every
        if (out / f"{category}.json").exists()
    }
    together = [row for mine in rows.values() for row in mine]
    summary(together, settings.timeout_seconds)
    missing(together)
    beside_abcrown(together, settings.timeout_seconds)
    _proofs(rows, out)
    cactus(together, out / "cactus.png")


def _proofs(rows: dict[str, list[Row]], out: Path) -> None:
    """Print what became of proofs, where there are any."""
    proved = {c: mine for c, mine in rows.items() if any(row["proof"] for row in mine)}
    if not proved:
        return
    losses = {category: _losses(out / f"{category}.rigour.json") for category in proved}
    figures = [proof_figures(category, mine, losses[category]) for category, mine in proved.items()]
    figures.append(total_figures(proved, losses))
    print_table("Proofs of what was verified", HEADER, [cells(row) for row in figures])
    why = [[row["category"], *line] for row in figures[:-1] for line in row["why not"]]
    print_table("Verified without a proof", ["category", "onnx", "vnnlib", "why"], why)


def _losses(path: Path) -> list[float]:
    losses: list[float] = json.loads(path.read_text()) if path.exists() else []
    return losses


if __name__ == "__main__":
    main()
