"""Tables and the plot of a run over the competition's instances."""

from __future__ import annotations

import csv
import json
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.shared import print_table, shared_folder

__all__ = [
    "Row",
    "beside_abcrown",
    "cactus",
    "joined",
    "missing",
    "peer_rows",
    "summary",
    "why_open",
]

Row = dict[str, Any]
PENALTY = 2.0


def joined(folder: Path, result: Path) -> list[Row]:
    """Return our answers with what the list of instances says of each."""
    with (folder / "instances.csv").open(newline="") as file:
        listed = {(line["onnx"], line["vnnlib"]): line for line in csv.DictReader(file)}
    answers = json.loads(result.read_text())["instances"]
    return [
        {**listed[row["onnx"], row["vnnlib"]], **row, "category": folder.name} for row in answers
    ]


def _solved(row: Row) -> bool:
    return row["verdict"] in {"verified", "falsified"} and not _contradicts(row)


def _contradicts(row: Row) -> bool:
    given = {"verified": "unsat", "falsified": "sat"}.get(row["verdict"])
    return {given, row["expected"]} == {"sat", "unsat"}


def _par2(rows: Sequence[Row], timeout_seconds: float) -> float:
    return sum(r["seconds"] if _solved(r) else PENALTY * timeout_seconds for r in rows)


def summary(rows: Sequence[Row], timeout_seconds: float) -> None:
    """Print per category what was solved and in what time."""
    table = []
    for category in [*sorted({row["category"] for row in rows}), "all"]:
        mine = [row for row in rows if category in {row["category"], "all"}]
        times = [row["seconds"] for row in mine if _solved(row)]
        verdicts = Counter(row["verdict"] for row in mine)
        table.append(
            [
                category,
                len(mine),
                len(times),
                verdicts["verified"],
                verdicts["falsified"],
                sum(_contradicts(row) for row in mine),
                statistics.median(times) if times else "–",
                _par2(mine, timeout_seconds),
            ]
        )
    header = ["category", "instances", "solved", "verified", "falsified", "contradictions"]
    header += ["median s (solved)", "PAR-2 s (total)"]
    print_table(f"VNN-LIB instances, {timeout_seconds:g} s each", header, table)


def missing(rows: Sequence[Row]) -> None:
    """Print what a tool solved within a minute in the competition and we did not, and why."""
    columns = ["category", "onnx", "vnnlib", "expected", "best_tool", "best_time_s", "n_tools"]
    table = [
        [*(_cell(row[column]) for column in columns), row["seconds"], why_open(row)]
        for row in rows
        if not _solved(row) and row["best_time_s"] and float(row["best_time_s"]) < 60.0
    ]
    print_table("Not solved here", [*columns, "seconds", "why"], table)


def why_open(row: Row) -> str:
    """Return what kept an instance from being solved: the reason, the gap, and the last stage."""
    if _contradicts(row):
        return f"{row['verdict']}, against what is expected"
    words = [row["reason"] or "no reason given"]
    ends = {"proved": row["lower"], "best input": row["upper"]}
    words += [f"{name} {end:.4g}" for name, end in ends.items() if end is not None]
    if row["stages"]:
        last = row["stages"][-1]
        words.append(f"{last['name']}: {last['detail'] or 'no more'} in {last['seconds']:.1f} s")
    return "; ".join(words)


def _stem(path: str) -> str:
    return Path(path).stem


def _cell(value: object) -> object:
    """Return a value as a table shows it: files without folder and suffix."""
    return _stem(value) if isinstance(value, str) and "/" in value else value


def peer_rows() -> list[dict[str, str]]:
    """Return what is known of α,β-CROWN on two cores."""
    with (shared_folder() / "peers" / "abcrown_cpu_quiet.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def beside_abcrown(rows: Sequence[Row], timeout_seconds: float) -> None:
    """Print both tools over the instances that α,β-CROWN was run on with as many cores."""
    ours = {(row["category"], row["onnx"], row["vnnlib"]): row for row in rows}
    pairs = [
        (peer, ours[peer["benchmark"], peer["onnx"], peer["vnnlib"]])
        for peer in peer_rows()
        if (peer["benchmark"], peer["onnx"], peer["vnnlib"]) in ours
    ]
    table, theirs_total = [], 0.0
    for peer, row in pairs:
        done = peer["verdict"] in {"sat", "unsat"} and float(peer["tool_s"]) <= timeout_seconds
        theirs_total += float(peer["tool_s"]) if done else PENALTY * timeout_seconds
        names = [row["category"], _stem(row["onnx"]), _stem(row["vnnlib"])]
        answers = [peer["verdict"], float(peer["tool_s"]), row["verdict"], row["seconds"]]
        table.append([*names, *answers])
    mine = [row for _, row in pairs]
    totals = "PAR-2", theirs_total, "PAR-2", _par2(mine, timeout_seconds)
    table.append(["all", len(pairs), "", *totals])
    table.append(["", "", "", "", "", "solved", sum(_solved(row) for row in mine)])
    header = ["category", "network", "specification", "α,β-CROWN", "its s", "Tightrope", "s"]
    print_table("Beside α,β-CROWN on two cores", header, table)


def cactus(rows: Sequence[Row], out: Path) -> None:
    """Draw how many instances are solved within a time, for us and the best of each tool."""
    import matplotlib as mpl  # noqa: PLC0415  only the plot needs it

    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    series = {"Tightrope, 2 cores": sorted(r["seconds"] for r in rows if _solved(r))}
    best = sorted(float(r["best_time_s"]) for r in rows if r["best_time_s"])
    series["best tool of the competition per instance"] = best
    for tool, _ in Counter(r["best_tool"] for r in rows if r["best_tool"]).most_common(4):
        times = sorted(float(r["best_time_s"]) for r in rows if r["best_tool"] == tool)
        series[f"{tool}, where it was best"] = times
    figure, axes = pyplot.subplots(figsize=(8, 5))
    for name, times in series.items():
        style = "-" if name.startswith("Tightrope") else "--"
        axes.step(times, range(1, len(times) + 1), style, where="post", label=name)
    axes.set(xscale="log", xlabel="seconds", ylabel="instances solved within that time")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(out, dpi=120)
    print(f"\nplot: {out}")
