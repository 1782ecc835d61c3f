"""What a proof, or the lack of one, makes of a verdict."""

from __future__ import annotations

import math
from dataclasses import replace

from solvers.proof.producing.produce import Proven, Unproven
from solvers.results import Decision, Evidence, ProofReport

__all__ = ["proof_report", "survives_float32", "with_proof"]


def proof_report(outcome: Proven | Unproven) -> ProofReport:
    """Return what reports say of a proof."""
    if isinstance(outcome, Unproven):
        return ProofReport(
            proving_seconds=outcome.proving_seconds,
            checking_seconds=outcome.checking_seconds,
            reason=outcome.reason,
        )
    check = outcome.check
    left = None if check.deployment is None else check.deployment.left
    return ProofReport(
        bytes=len(outcome.content),
        leaves=check.leaves,
        margin=check.margin,
        deployment_margin=left if left is None or math.isfinite(left) else None,
        proving_seconds=outcome.proving_seconds,
        checking_seconds=outcome.checking_seconds,
    )


def survives_float32(outcome: Proven | Unproven) -> bool | None:
    """Return whether a proved verdict holds for float32 inference; None where nothing is known."""
    if isinstance(outcome, Unproven) or outcome.check.deployment is None:
        return None
    return outcome.check.deployment.sound


def with_proof(decision: Decision, outcome: Proven | Unproven) -> Decision:
    """Return a `verified` with what became of proving it: without a proof it stays a word."""
    proof = proof_report(outcome)
    if isinstance(outcome, Unproven):
        return replace(decision, proof=proof)
    sound = survives_float32(outcome)
    return replace(decision, evidence=Evidence.CHECKED, deployment_sound=sound, proof=proof)
