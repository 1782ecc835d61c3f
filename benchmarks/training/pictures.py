"""Draw and tabulate the results of `benchmarks.training.paired`.

`python -m benchmarks.training.pictures RESULTS.csv [--svg PICTURE.svg]` prints, per baseline and
epsilon, the mean over seeds and the paired differences to the arm without regularizers.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.shared import print_table

_ARMS = ("none", "d", "r", "both")
_COLOURS = {"none": "#888888", "d": "#2f6fd0", "r": "#2f9e60", "both": "#b04fc0"}
_CELL, _HEIGHT, _MARGIN = 150, 220, 46
_SPAN = 0.12
"""Least height of a panel, as a difference of accuracies."""

Row = Mapping[str, str]
Group = Mapping[str, Mapping[int, Row]]
"""Rows by arm and seed."""


def read(path: Path) -> dict[tuple[str, float], dict[str, dict[int, Row]]]:
    """Return the rows by baseline and epsilon, then by arm and seed."""
    groups: dict[tuple[str, float], dict[str, dict[int, Row]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    with path.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            place = groups[row["method"], float(row["epsilon"])]
            place[row["arm"]][int(row["seed"])] = row
    return {key: dict(value) for key, value in groups.items()}


def values(group: Group, arm: str, column: str) -> dict[int, float]:
    """Return a column of an arm by seed."""
    return {seed: float(row[column]) for seed, row in group.get(arm, {}).items()}


def mean_text(numbers: Sequence[float]) -> str:
    """Return a mean, with the deviation where there are several numbers, in percent."""
    if not numbers:
        return ""
    mean = sum(numbers) / len(numbers)
    if len(numbers) == 1:
        return f"{100 * mean:.1f}"
    spread = math.sqrt(sum((x - mean) ** 2 for x in numbers) / (len(numbers) - 1))
    return f"{100 * mean:.1f} ± {100 * spread:.1f}"


def difference_text(group: Group, arm: str, column: str) -> str:
    """Return the mean difference to the baseline over the seeds that both have, in points."""
    plain, other = values(group, "none", column), values(group, arm, column)
    changes = [other[seed] - plain[seed] for seed in other if seed in plain]
    if arm == "none" or not changes:
        return ""
    better = sum(change > 0 for change in changes)
    return f"{100 * sum(changes) / len(changes):+.1f} ({better} of {len(changes)})"


def table(group: Group) -> list[list[object]]:
    """Return one line per arm."""
    lines: list[list[object]] = []
    for arm in _ARMS:
        rows = group.get(arm, {})
        if not rows:
            continue
        one = next(iter(rows.values()))
        cells: list[object] = [arm, one["feasibility_weight"], one["slack_weight"]]
        for column in ("clean", "pgd", "ibp", "crown_ibp", "crown"):
            cells.append(mean_text(list(values(group, arm, column).values())))
        cells += [difference_text(group, arm, column) for column in ("crown_ibp", "crown")]
        for column in ("gap_crown_ibp", "unstable_ibp"):
            numbers = list(values(group, arm, column).values())
            cells.append(f"{sum(numbers) / len(numbers):.3g}")
        lines.append(cells)
    return lines


def svg(groups: Mapping[tuple[str, float], Group]) -> str:
    """Return dots per arm and seed: certified accuracy by crown-ibp, paired by a line per seed."""
    width = _MARGIN + _CELL * len(groups)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{_HEIGHT + 70}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{_HEIGHT + 70}" fill="white"/>',
    ]
    for index, ((method, epsilon), group) in enumerate(sorted(groups.items())):
        parts += _panel(group, f"{method}, ε = {epsilon:g}", _MARGIN + index * _CELL)
    parts.append(
        f'<text x="{_MARGIN}" y="{_HEIGHT + 62}" fill="#555">certified accuracy by crown-ibp in '
        "percent; a line per seed</text>"
    )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(group: Group, title: str, left: int) -> list[str]:
    """Return one panel: its scale, a line per seed, a dot per run."""
    everything = [value for arm in _ARMS for value in values(group, arm, "crown_ibp").values()]
    # The same span in every panel that can do with it, so that a small difference looks small.
    middle = (min(everything) + max(everything)) / 2
    span = max(_SPAN, 1.2 * (max(everything) - min(everything)))
    low, high = middle - span / 2, middle + span / 2

    def x(arm: str) -> float:
        return left + 14 + _ARMS.index(arm) * (_CELL - 50) / 3

    def y(value: float) -> float:
        return 34 + (_HEIGHT - 20) * (high - value) / (high - low)

    parts = [f'<text x="{left}" y="18" font-weight="bold">{title}</text>']
    ticks = range(math.ceil(20 * low), math.floor(20 * high) + 1)
    for value in (tick / 20 for tick in ticks):
        parts.append(
            f'<text x="{left - 6}" y="{y(value) + 4:.1f}" text-anchor="end" fill="#555">'
            f"{100 * value:.0f}</text>"
            f'<line x1="{left}" x2="{left + _CELL - 30}" y1="{y(value):.1f}" y2="{y(value):.1f}" '
            'stroke="#eee"/>'
        )
    seeds = sorted({seed for arm in group.values() for seed in arm})
    for seed in seeds:
        runs = [(arm, values(group, arm, "crown_ibp").get(seed)) for arm in _ARMS]
        points = [(x(arm), y(value), arm) for arm, value in runs if value is not None]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b, _ in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="#ddd"/>')
        parts += [
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="4" fill="{_COLOURS[arm]}"/>'
            for a, b, arm in points
        ]
    parts += [
        f'<text x="{x(arm):.1f}" y="{_HEIGHT + 40}" text-anchor="middle">{arm}</text>'
        for arm in _ARMS
    ]
    return parts


def main() -> None:
    """Print the tables, and write the picture that was asked for."""
    parser = argparse.ArgumentParser(description="Results of paired training runs.")
    parser.add_argument("results", type=Path)
    parser.add_argument("--svg", type=Path)
    arguments = parser.parse_args()
    groups = read(arguments.results)
    header = [
        "arm", "λ", "γ", "clean", "PGD", "ibp", "crown-ibp", "crown", "crown-ibp against none",
        "crown against none", "mean gap", "unstable",
    ]  # fmt: skip
    for (method, epsilon), group in sorted(groups.items()):
        print_table(f"{method}, ε = {epsilon:g}", header, table(group))
    if arguments.svg is not None:
        arguments.svg.write_text(svg(groups), encoding="utf-8")


if __name__ == "__main__":
    main()
