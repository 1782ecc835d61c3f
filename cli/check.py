"""`tightrope check`: does evidence show what it says, without trust in what made it?"""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import click
from rich.console import Console

from cli.arguments import CheckArguments
from cli.console import result_console
from cli.output import write_all
from reports import dump_json
from solvers.problem import Box, Case
from solvers.proof import AskedCase, Ball, CheckResult, check_proof
from solvers.vnnlib import read_vnnlib

__all__ = ["KINDS", "Checked", "run"]

ACCEPTED, REJECTED = 0, 1


@dataclass(frozen=True)
class Checked:
    """What came of a check, whatever was checked.

    Attributes:
        accepted: Whether the evidence shows what it says.
        lines: For people, after the first line.
        record: For `--json`, beside `accepted` and `seconds`.
    """

    accepted: bool
    lines: tuple[str, ...]
    record: Mapping[str, object] = field(default_factory=dict)


def run(arguments: CheckArguments) -> int:
    """Check a file, print what it shows, and return 0 if it is accepted and 1 if not.

    Raises:
        TightropeError: The specification cannot be read.
        OutputError: The JSON cannot be written.
    """
    began = time.perf_counter()
    checked = KINDS.get(_marker(arguments.evidence), _no_kind)(arguments)
    seconds = time.perf_counter() - began
    record = {"accepted": checked.accepted, **checked.record, "seconds": seconds}
    _show(result_console(arguments.json), checked, arguments, seconds)
    if arguments.json is not None:
        write_all({arguments.json: dump_json(record)})
    return ACCEPTED if checked.accepted else REJECTED


def _show(console: Console, checked: Checked, arguments: CheckArguments, seconds: float) -> None:
    console.print("accepted" if checked.accepted else "rejected")
    if arguments.quiet:
        return
    for line in checked.lines:
        console.print(line, markup=False, soft_wrap=True)
    console.print(f"checked in {seconds:.2f} s")


def _marker(path: Path) -> str:
    """Return the member by which the kind of a file is known, or nothing."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return ""
    return next((marker for marker in KINDS if marker in names), "")


def _no_kind(arguments: CheckArguments) -> Checked:
    reason = (
        f"{arguments.evidence} is damaged, or no file that this command knows: "
        "give a proof that `tightrope verify --proof` wrote"
    )
    return Checked(False, (reason,), {"kind": None, "reason": reason})


def _check_proof(arguments: CheckArguments) -> Checked:
    """Check a proof of a verdict `verified`."""
    asked = None
    if arguments.specification is not None:
        problem = read_vnnlib(arguments.specification)
        asked = [_asked(case) for case in problem.cases]
    result = check_proof(arguments.evidence, _content(arguments.network), asked)
    record: dict[str, object] = {
        "kind": "proof",
        "reason": result.reason,
        "margin": result.margin if result.accepted else None,
        "leaves": result.leaves if result.accepted else None,
        "statement": list(result.statement),
        "specification_checked": asked is not None and result.accepted,
        "deployment_sound": result.deployment and result.deployment.sound,
        "deployment": result.deployment
        and {"error": result.deployment.error, "left": result.deployment.left},
    }
    return Checked(result.accepted, _words(result, asked=asked is not None), record)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise click.UsageError(f"cannot read {path}: {error.strerror}") from error


def _asked(case: Case) -> AskedCase:
    """Return a case as the checker takes it: plain arrays."""
    region = case.region
    clauses = [(clause.matrix, clause.offset) for clause in case.specification.clauses]
    return AskedCase(region.lower.ravel(), region.upper.ravel(), clauses, _ball(region))


def _ball(region: Box) -> Ball | None:
    ball = region.ball
    if ball is None:
        return None
    return Ball(int(ball.norm.value), ball.center.ravel(), ball.radii.ravel())


def _words(result: CheckResult, *, asked: bool) -> tuple[str, ...]:
    """Return what a check of a proof found, in words."""
    if not result.accepted:
        return (f"reason   {result.reason}",)
    lines = ["proved   " + result.statement[0], *("         " + s for s in result.statement[1:])]
    if asked:
        lines.append("asked    this covers every case of the specification given")
    lines.append(f"leaves   {result.leaves}")
    lines.append(f"margin   at least {result.margin:.6g} in every leaf")
    if result.deployment is None:
        lines.append("float32  nothing is known about how float32 inference differs")
    elif result.deployment.sound:
        lines.append(
            f"float32  holds for float32 inference too: {result.deployment.left:.6g} of the "
            "margin is left after its error"
        )
    else:
        lines.append(
            "float32  not shown for float32 inference, whose error may be up to "
            f"{result.deployment.error:.6g}"
        )
    return tuple(lines)


KINDS: Mapping[str, Callable[[CheckArguments], Checked]] = {"manifest.json": _check_proof}
"""What checks a file, by the member of its archive that it is known by."""
