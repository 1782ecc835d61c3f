"""`tightrope check`: does evidence show what it says, without trust in what made it?"""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
import onnxruntime
from rich.console import Console

from cli.arguments import CheckArguments
from cli.console import result_console
from cli.output import write_all
from reports import dump_json
from solvers.problem import Box, Case
from solvers.proof import (
    AskedCase,
    Ball,
    CheckResult,
    UnsupportedProofError,
    check_proof,
    core_words,
)
from solvers.proof.rational import ExactCheck, check_exactly
from solvers.proof.replay import MARKER, CounterexampleError, RealNumbers, Replay, replay
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
        "give what `tightrope verify` wrote with --proof or --counterexample"
    )
    return Checked(False, (reason,), {"kind": None, "reason": reason})


def _check_proof(arguments: CheckArguments) -> Checked:
    """Check a proof of a verdict `verified`."""
    asked, normalization = _asked_cases(arguments), _normalization(arguments)
    network = _content(arguments.network)
    # Without a specification, what stands in front of the network is compared alone.
    compared = [] if asked is None and normalization is not None else asked
    result = check_proof(arguments.evidence, network, compared, normalization=normalization)
    exact = None
    if arguments.exact and result.accepted:
        exact = _exactly(arguments.evidence, network)
    record: dict[str, object] = {
        "kind": "proof",
        "reason": result.reason,
        "margin": result.margin if result.accepted else None,
        "leaves": result.leaves if result.accepted else None,
        "parts": list(result.parts),
        "statement": list(result.statement),
        "specification_checked": asked is not None and result.accepted,
        "deployment_sound": result.deployment and result.deployment.sound,
        "deployment": result.deployment
        and {"error": result.deployment.error, "left": result.deployment.left},
    }
    words = _words(result, asked=asked is not None)
    if exact is None:
        return Checked(result.accepted, words, record)
    record["exact"] = exact.accepted
    record["exact_margin"] = None if exact.margin is None else str(exact.margin)
    record["reason"] = exact.reason
    return Checked(exact.accepted, (*words, _words_of_exact(exact)), record)


def _exactly(proof: Path, network: bytes) -> ExactCheck:
    try:
        return check_exactly(proof, network)
    except UnsupportedProofError as error:
        raise click.UsageError(f"--exact: {error}") from error


def _words_of_exact(exact: ExactCheck) -> str:
    if not exact.accepted:
        return f"exact    {exact.reason}"
    least = "all leaves are empty" if exact.margin is None else f"margin {float(exact.margin):.6g}"
    return f"exact    every bound holds in exact arithmetic: {least} in {exact.leaves} leaves"


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise click.UsageError(f"cannot read {path}: {error.strerror}") from error


def _asked_cases(arguments: CheckArguments) -> list[AskedCase] | None:
    if arguments.specification is None:
        return None
    return [_asked(case) for case in read_vnnlib(arguments.specification).cases]


def _normalization(arguments: CheckArguments) -> tuple[Sequence[float], Sequence[float]] | None:
    """Return what stands in front of the network, outside of its file."""
    if arguments.mean is None or arguments.std is None:
        return None
    return arguments.mean, arguments.std


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
    lines.append(f"trusted  {core_words(result.parts, asked=asked)}")
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


def _replay(arguments: CheckArguments) -> Checked:
    """Run a counterexample of a verdict `falsified` again."""
    content = _content(arguments.evidence)
    try:
        network, cases = _content(arguments.network), _asked_cases(arguments)
        result = replay(content, network, cases, normalization=_normalization(arguments))
    except CounterexampleError as error:
        return Checked(
            False, (f"reason   {error}",), {"kind": "counterexample", "reason": str(error)}
        )
    record: dict[str, object] = {
        "kind": "counterexample",
        "reason": result.reason,
        "case": result.case,
        "margin": result.margin,
        "output": result.output.tolist(),
        "difference": result.difference,
        "real_numbers": result.real,
        "specification_checked": result.real is not None and result.accepted,
    }
    return Checked(result.accepted, _words_of_replay(result), record)


_REAL: Mapping[RealNumbers, str] = {
    RealNumbers.CONFIRMS: "it holds for the network of real numbers too",
    RealNumbers.CONTRADICTS: "it stands only within the rounding of float32",
    RealNumbers.OPEN: "nothing certain is known about it without rounding",
}


def _words_of_replay(result: Replay) -> tuple[str, ...]:
    """Return what running a counterexample again found, in words."""
    lines = [] if result.reason is None else [f"reason   {result.reason}"]
    lines.append(
        f"outputs  onnxruntime {onnxruntime.__version__} gives those of the file within "
        f"{result.difference:.3g}"
    )
    if result.real is None:
        lines.append("asked    nothing: give the specification by --spec to have it judged")
        return tuple(lines)
    if result.accepted:
        lines.append(f"asked    a counterexample of case {result.case}: margin {result.margin:.6g}")
    lines.append(f"real     {_REAL[result.real]}")
    return tuple(lines)


KINDS: Mapping[str, Callable[[CheckArguments], Checked]] = {
    "manifest.json": _check_proof,
    MARKER: _replay,
}
"""What checks a file, by the member of its archive that it is known by."""
