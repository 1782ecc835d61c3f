"""Lists of instances to run: CSV files with a header, or VNN-COMP's without one."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.errors import InvalidInputError

__all__ = ["Instance", "read_instances"]

_HEADERLESS = ("onnx", "vnnlib", "timeout_s")
_EXPECTED = {
    "": None,
    "sat": "sat",
    "unsat": "unsat",
    "unknown": "unknown",
    "falsified": "sat",
    "verified": "unsat",
}


@dataclass(frozen=True)
class Instance:
    """One line of the list.

    Attributes:
        onnx, vnnlib: As the file writes them.
        onnx_path, vnnlib_path: Where they are.
        timeout_seconds: Time limit.
        expected: `sat`, `unsat`, `unknown`, or None where the file says nothing.
    """

    onnx: str
    vnnlib: str
    onnx_path: Path
    vnnlib_path: Path
    timeout_seconds: float
    expected: str | None


def read_instances(path: Path, timeout_seconds: float | None = None) -> list[Instance]:
    """Read a list of instances.

    Args:
        path: CSV file; a first line that names `onnx` and `vnnlib` is a header.
        timeout_seconds: Replaces the time limit of every line, which may then be missing.

    Raises:
        InvalidInputError: The file is no such list, or has no instance; the message names the
            line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInputError(f"{path} is not a CSV file: {error}") from error
    lines = [(number, row) for number, row in lines if any(row)]
    columns: Sequence[str] = _HEADERLESS
    if lines and {"onnx", "vnnlib"} <= set(lines[0][1]):
        columns = lines.pop(0)[1]
    if not lines:
        raise InvalidInputError(f"{path} lists no instance; give one per line")
    instances = []
    for number, row in lines:
        try:
            cells = dict(zip(columns, row, strict=False))
            instances.append(_instance(path.parent, cells, timeout_seconds))
        except ValueError as error:
            raise InvalidInputError(f"{path}, line {number}: {error}") from error
    return instances


def _instance(folder: Path, cells: Mapping[str, str], timeout_seconds: float | None) -> Instance:
    """Return one instance, or raise ValueError with what is wrong with its line."""
    onnx, vnnlib = cells.get("onnx", ""), cells.get("vnnlib", "")
    if not onnx or not vnnlib:
        raise ValueError("no network or no specification; give onnx,vnnlib,timeout")
    expected = cells.get("expected", "").lower()
    if expected not in _EXPECTED:
        raise ValueError(f"expected is {expected!r}; give sat, unsat or unknown")
    return Instance(
        onnx,
        vnnlib,
        _existing(folder / onnx),
        _existing(folder / vnnlib),
        _seconds(cells.get("timeout_s", "")) if timeout_seconds is None else timeout_seconds,
        _EXPECTED[expected],
    )


def _existing(path: Path) -> Path:
    """Return the path, or the packed file beside it: competition lists name the unpacked one."""
    packed = path.with_name(path.name + ".gz")
    return packed if packed.exists() and not path.exists() else path


def _seconds(text: str) -> float:
    """Return a time limit, or raise ValueError."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds) or seconds <= 0:
        raise ValueError(f"the timeout is {text!r}; give seconds above 0, or use --timeout")
    return seconds
