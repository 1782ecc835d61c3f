"""Runs of whole categories that survive what single instances do to their process."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

__all__ = ["CategoryError", "Settings", "run_category"]

Row = dict[str, Any]
Line = dict[str, str]
_INTERRUPTED = 130
_SLACK_SECONDS = 600.0
"""For loading, and for checks of proofs, which nothing cuts short."""


class CategoryError(RuntimeError):
    """A category cannot be run at all."""


@dataclass(frozen=True)
class Settings:
    """How instances are run.

    Attributes:
        out: Folder of results.
        timeout_seconds: Per instance.
        proof_timeout_seconds: Per proof, on top; None for no proofs.
    """

    out: Path
    timeout_seconds: float = 60.0
    proof_timeout_seconds: float | None = None

    @property
    def patience_seconds(self) -> float:
        """After so long per instance a process hangs."""
        return 2 * (self.timeout_seconds + (self.proof_timeout_seconds or 0.0))


def run_category(folder: Path, settings: Settings) -> None:
    """Run what is missing of a category and write `CATEGORY.json` into the folder of results.

    Args:
        folder: With `instances.csv`.
        settings: Of the run.

    Raises:
        CategoryError: The command line refuses the list, or cannot write.
        OSError: The list cannot be read, or results cannot be written.
    """
    result = settings.out / f"{folder.name}.json"
    if not result.exists():
        with (folder / "instances.csv").open(newline="") as file:
            listed = list(csv.DictReader(file))
        rows = _all_rows(folder, listed, settings)
        _write(result, rows)
        for rest in (_kept_at(settings, folder), settings.out / f"{folder.name}.csv"):
            rest.unlink(missing_ok=True)
    if settings.proof_timeout_seconds is not None:
        _compare_bounds(folder, result)


def _all_rows(folder: Path, listed: Sequence[Line], settings: Settings) -> list[Row]:
    """Return a row for every instance; those of an earlier run that was cut short are kept."""
    kept = _kept_at(settings, folder)
    rows = _read(kept)
    rows += _taken(folder, listed[len(rows) :], settings)
    while len(rows) < len(listed):
        before = len(rows)
        crash = _bench(folder, listed[before:], settings)
        rows += _taken(folder, listed[before:], settings)
        _write(kept, rows)
        if crash is not None and len(rows) < len(listed):
            rows.append(_crashed(folder, listed[len(rows)], settings, crash))
            _write(kept, rows)
        if len(rows) == before:
            raise CategoryError("bench ended early, without saying why")
    return rows


def _crashed(folder: Path, line: Line, settings: Settings, reason: str) -> Row:
    """Return the row of an instance whose process crashed: it may have been the proof's fault."""
    print(f"{line['onnx']} {line['vnnlib']}: {reason}", file=sys.stderr)
    if settings.proof_timeout_seconds is not None:
        _bench(folder, [line], replace(settings, proof_timeout_seconds=None))
        for row in _taken(folder, [line], settings):
            return {**row, "proof": {"reason": reason} if row["verdict"] == "verified" else None}
    return {
        "onnx": line["onnx"],
        "vnnlib": line["vnnlib"],
        "verdict": "unknown",
        "expected": line["expected"],
        "evidence": "none",
        "deployment_sound": None,
        "proof": None,
        "seconds": settings.timeout_seconds,
        "timeout_seconds": settings.timeout_seconds,
        "lower": None,
        "upper": None,
        "reason": reason,
        "stages": [],
    }


def _bench(folder: Path, lines: Sequence[Line], settings: Settings) -> str | None:
    """Run instances in one process, and return how it crashed, if it did."""
    listed = settings.out / f"{folder.name}.csv"
    with listed.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("onnx", "vnnlib", "timeout_s", "expected"))
        for line in lines:
            paths = [(folder / line[name]).resolve() for name in ("onnx", "vnnlib")]
            writer.writerow([*paths, line["timeout_s"], line["expected"]])
    command = [sys.executable, "-m", "cli.main", "bench", str(listed), "--quiet"]
    command += [
        "--timeout",
        str(settings.timeout_seconds),
        "--json",
        str(_running(settings, folder)),
    ]
    if settings.proof_timeout_seconds is not None:
        command += ["--proofs", str(settings.out / "proofs" / folder.name)]
        command += ["--proof-timeout", str(settings.proof_timeout_seconds)]
    patience = _SLACK_SECONDS + len(lines) * settings.patience_seconds
    try:
        status = subprocess.run(command, check=False, stdout=sys.stderr, timeout=patience)
    except subprocess.TimeoutExpired:
        return f"the process had not ended after {patience:.0f} s"
    if status.returncode == _INTERRUPTED:
        raise KeyboardInterrupt
    if status.returncode > 0:
        raise CategoryError(f"bench ended with status {status.returncode}")
    return f"the process was ended by signal {-status.returncode}" if status.returncode else None


def _taken(folder: Path, lines: Sequence[Line], settings: Settings) -> list[Row]:
    """Return the rows that a process left behind, under the names that the list gives them."""
    running = _running(settings, folder)
    rows = _read(running)
    running.unlink(missing_ok=True)
    return [
        {**row, "onnx": line["onnx"], "vnnlib": line["vnnlib"]}
        for row, line in zip(rows, lines, strict=False)
    ]


def _compare_bounds(folder: Path, result: Path) -> None:
    """Write what rigour costs, in a process of its own: its failure costs no more than that."""
    target = result.with_suffix(".rigour.json")
    if target.exists():
        return
    command = [sys.executable, "-m", "benchmarks.rigour", str(result), str(folder)]
    try:
        subprocess.run([*command, "--out", str(target)], check=True, timeout=_SLACK_SECONDS)
    except subprocess.SubprocessError as error:
        print(f"{folder.name}: bounds are not compared: {error}", file=sys.stderr)


def _running(settings: Settings, folder: Path) -> Path:
    return settings.out / f"{folder.name}.running.json"


def _kept_at(settings: Settings, folder: Path) -> Path:
    return settings.out / f"{folder.name}.part.json"


def _read(path: Path) -> list[Row]:
    rows: list[Row] = json.loads(path.read_text())["instances"] if path.exists() else []
    return rows


def _write(path: Path, rows: Sequence[Row]) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"instances": rows}) + "\n")
    fresh.replace(path)
