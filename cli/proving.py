"""Proofs of what commands found: producing them, and writing them down."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cli.output import OutputError
from solvers.budget import Budget
from solvers.problem import Problem
from solvers.proof.producing.evidence import with_proof
from solvers.proof.producing.produce import Proven, Prover
from solvers.proof.producing.trace import Trace
from solvers.results import Decision, ProofReport, Verdict

__all__ = ["float32_line", "folder_for", "proof_line", "prove"]


def prove(
    prover: Prover,
    problem: Problem,
    decision: Decision,
    budget: Budget,
    *,
    trace: Trace,
    specification_sha256: str | None = None,
) -> tuple[Decision, bytes | None]:
    """Return a decision with its evidence, and the proof where the checker accepted one.

    Args:
        prover: Of the network.
        problem: That was decided.
        decision: Proved if it is `verified`, returned as it is if not.
        budget: Of the proof.
        trace: What the decision left behind.
        specification_sha256: Of the file that states the problem.
    """
    if decision.verdict is not Verdict.VERIFIED:
        return decision, None
    outcome = prover.prove(problem, budget, trace=trace, specification_sha256=specification_sha256)
    if isinstance(outcome, Proven):
        return with_proof(decision, outcome), outcome.content
    return replace(with_proof(decision, outcome), deployment_sound=trace.assess()), None


def folder_for(path: Path) -> Path:
    """Return a folder that files can be written into, made where it does not exist.

    Raises:
        OutputError: It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {path}: {error.strerror or error}") from error
    return path


def proof_line(report: ProofReport) -> str:
    """Return what became of a proof, in words."""
    seconds = f"{report.proving_seconds:.2f} s proving, {report.checking_seconds:.2f} s checking"
    if report.bytes is None:
        return f"proof    none: {report.reason} ({seconds})"
    return f"proof    {report.bytes} bytes, {report.leaves} leaves, {seconds}"


def float32_line(decision: Decision) -> str:
    """Return whether a `verified` holds for float32 inference, in words."""
    sound, proof = decision.deployment_sound, decision.proof
    if sound is None:
        return "float32  not assessed"
    if not sound:
        return "float32  not shown: rounding may be larger than the margin"
    left = None if proof is None else proof.deployment_margin
    return "float32  holds" + ("" if left is None else f", with a margin of {left:.6g} left")
