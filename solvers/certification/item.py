"""The result of one input."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from solvers.results import Counterexample, Evidence, ProofReport, Verdict

__all__ = ["ItemResult"]


@dataclass(frozen=True, eq=False)
class ItemResult:
    """What is known of one input.

    Attributes:
        index: Position in the data set.
        label, predicted: The right class, and the one the network gives.
        verdict, evidence: The answer, and how far to trust it.
        lower: Proved lower bound of the worst-case margin, by method.
        upper: Least margin reached by an attack or a solver.
        exact: Bracket of the exact margin, if that was asked for.
        gap: Exact margin, or the best upper bound of it, minus the lower bound, by method.
        seconds: Time spent on this input, by method and for the attack.
        status: How each method ended: a `MethodStatus`.
        reasons: Why a method is not `done`, in words, by method.
        counterexample: Only for `falsified`.
        reason: Why the verdict is `unknown`.
        deployment_sound: Whether the verdict survives float32 inference; None: not assessed.
        proof: What became of proving a `verified`, where that was asked for.
        proof_file: The proof that the checker accepted; not part of the JSON.
    """

    index: int
    label: int
    predicted: int
    verdict: Verdict
    evidence: Evidence
    lower: Mapping[str, float] = field(default_factory=dict)
    upper: float | None = None
    exact: tuple[float, float] | None = None
    gap: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    counterexample: Counterexample | None = None
    reason: str | None = None
    status: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    deployment_sound: bool | None = None
    proof: ProofReport | None = None
    proof_file: bytes | None = field(default=None, repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return the item as `certify --json` writes it; what is not finite becomes null."""
        example = self.counterexample
        return {
            "index": self.index,
            "label": self.label,
            "predicted": self.predicted,
            "verdict": self.verdict.value,
            "evidence": self.evidence.value,
            "lower": _finite_values(self.lower),
            "upper": _finite(self.upper),
            "exact": None if self.exact is None else [_finite(end) for end in self.exact],
            "gap": _finite_values(self.gap),
            "seconds": dict(self.seconds),
            "counterexample": None if example is None else example.to_json(),
            "reason": self.reason,
            "status": dict(self.status),
            "reasons": dict(self.reasons),
            "deployment_sound": self.deployment_sound,
            "proof": None if self.proof is None else self.proof.to_json(),
        }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _finite_values(values: Mapping[str, float]) -> dict[str, float | None]:
    return {key: _finite(value) for key, value in values.items()}
