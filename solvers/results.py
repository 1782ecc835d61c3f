"""What is answered: verdicts, evidence, bounds and where they came from.

Plain data, free of torch. A margin is min over clauses of max over rows of (C y − d): positive on
the whole region means verified.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Counterexample",
    "Decision",
    "Evidence",
    "ProofReport",
    "SolverReport",
    "Stage",
    "Verdict",
]


class Verdict(StrEnum):
    """The answer; `misclassified` only for labelled data that is wrong without perturbation."""

    VERIFIED = "verified"
    FALSIFIED = "falsified"
    UNKNOWN = "unknown"
    MISCLASSIFIED = "misclassified"


class Evidence(StrEnum):
    """How far a verdict has to be taken on trust.

    `checked`: a counterexample was re-run in onnxruntime, or the checker accepted a proof.
    `solver`: a floating-point solver's word. `none`: there is nothing to trust.
    """

    CHECKED = "checked"
    SOLVER = "solver"
    NONE = "none"


@dataclass(frozen=True, eq=False)
class Counterexample:
    """An input inside the region whose output meets the counterexample condition when re-run.

    Attributes:
        x: Raw input, float32, shape `input_shape`.
        y: Output that onnxruntime gave in float32, shape `(outputs,)`.
    """

    x: NDArray[np.float32]
    y: NDArray[np.float32]

    def to_json(self) -> dict[str, Any]:
        """Return `{x, y}` as flat lists in row-major order."""
        return {
            "x": [float(value) for value in self.x.ravel()],
            "y": [float(value) for value in self.y.ravel()],
        }


@dataclass(frozen=True)
class SolverReport:
    """Which MILP or LP solver answered, under what terms.

    Attributes:
        solver: `highs`, `scip` or `gurobi`.
        version: Of the solver.
        licence: State of its licence: `open`, `restricted`, `full`.
        status: The solver's own words.
        tolerances: By name, as the solver used them.
    """

    solver: str
    version: str
    licence: str
    status: str
    tolerances: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the fields."""
        return {
            "solver": self.solver,
            "version": self.version,
            "licence": self.licence,
            "status": self.status,
            "tolerances": dict(self.tolerances),
        }


@dataclass(frozen=True)
class Stage:
    """One step of a decision.

    Attributes:
        name: `attack`, a method's name, …
        seconds: Wall time.
        lower: Best lower bound on the margin after it, if it gives one.
        upper: Best upper bound after it, if it gives one.
        detail: What a reader should know, in words.
        solver: Where a solver took part.
    """

    name: str
    seconds: float
    lower: float | None = None
    upper: float | None = None
    detail: str | None = None
    solver: SolverReport | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields; empty ones as null."""
        return {
            "name": self.name,
            "seconds": self.seconds,
            "lower": self.lower,
            "upper": self.upper,
            "detail": self.detail,
            "solver": None if self.solver is None else self.solver.to_json(),
        }


@dataclass(frozen=True)
class ProofReport:
    """What became of proving a verdict to the checker.

    Attributes:
        bytes: Size of the proof; None where there is none.
        leaves: Into how many parts it takes the region apart.
        margin: Least margin that the checker derived.
        deployment_margin: What is left of it after the rounding of float32 inference, in whatever
            order it adds up; None where that was not assessed.
        proving_seconds, checking_seconds: Wall time, on top of that of the decision.
        reason: Why there is no proof that the checker accepts.
    """

    bytes: int | None = None
    leaves: int | None = None
    margin: float | None = None
    deployment_margin: float | None = None
    proving_seconds: float = 0.0
    checking_seconds: float = 0.0
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields; empty ones as null."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Decision:
    """The answer to one problem.

    Attributes:
        verdict, evidence: The answer, and how far to trust it.
        lower, upper: Bracket of the worst-case margin, where known.
        counterexample: Only for `falsified`.
        stages: What ran, in order.
        seconds: Wall time of all of it.
        reason: Why the verdict is `unknown`.
        deployment_sound: Whether the verdict survives float32 inference; None: not assessed.
        proof: What became of proving a `verified`, where that was asked for.
    """

    verdict: Verdict
    evidence: Evidence
    seconds: float
    lower: float | None = None
    upper: float | None = None
    counterexample: Counterexample | None = None
    stages: tuple[Stage, ...] = ()
    reason: str | None = None
    deployment_sound: bool | None = None
    proof: ProofReport | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what `verify --json` writes."""
        example = self.counterexample
        return {
            "verdict": self.verdict.value,
            "evidence": self.evidence.value,
            "deployment_sound": self.deployment_sound,
            "seconds": self.seconds,
            "lower": self.lower,
            "upper": self.upper,
            "counterexample": None if example is None else example.to_json(),
            "stages": [stage.to_json() for stage in self.stages],
            "reason": self.reason,
            "proof": None if self.proof is None else self.proof.to_json(),
        }
