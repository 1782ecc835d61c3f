"""What a check answers, and what was proved, in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solvers.proof.container import Proof

__all__ = ["CheckResult", "Deployment", "statement"]

SHOWN_CASES, SHOWN_INPUTS = 10, 8


@dataclass(frozen=True)
class Deployment:
    """Whether what is proved holds for float32 inference too, see docs/proofs.md.

    Attributes:
        sound: Whether `left` is positive.
        error: Largest bound on how far float32 moves a row C y − d that a leaf relies on.
        left: Least difference of a leaf's margin and the error of its row.
    """

    sound: bool
    error: float
    left: float


@dataclass(frozen=True)
class CheckResult:
    """What came of a check.

    Attributes:
        accepted: Whether the proof shows what it states, and covers what was asked, if anything.
        reason: Why not, and where; None if accepted.
        margin: Least proved lower bound of a leaf's row; minus infinity if rejected.
        leaves: Number of leaves, once for every clause.
        proof: What is proved; None if rejected.
        parts: What it relies on beside the core, in words.
        deployment: For float32 inference; None where nothing is known about that.
    """

    accepted: bool
    reason: str | None
    margin: float = -np.inf
    leaves: int = 0
    proof: Proof | None = None
    parts: tuple[str, ...] = ()
    deployment: Deployment | None = None

    @property
    def statement(self) -> tuple[str, ...]:
        """What is proved, in words, one line each."""
        return () if self.proof is None else statement(self.proof)


def statement(proof: Proof) -> tuple[str, ...]:
    """Return what a proof says, in words, one line each."""
    lines = [f"network with sha256 {proof.network_sha256}"]
    if proof.normalization is not None:
        mean, std = proof.normalization
        lines.append(f"behind (x - mean) / std with mean {list(mean)} and std {list(std)}")
    for case in range(min(len(proof.lower), SHOWN_CASES)):
        lines.append(f"case {case}: for every input with {_region(proof, case)}")
        mine = proof.row_case == case
        for clause in np.unique(proof.row_clause[mine]):
            own = np.flatnonzero(mine & (proof.row_clause == clause))
            words = [_row(proof.matrix[row], proof.offset[row]) for row in own]
            lines.append(f"  never {' and '.join(words)}")
    if len(proof.lower) > SHOWN_CASES:
        lines.append(f"and {len(proof.lower) - SHOWN_CASES} cases more")
    return tuple(lines)


def _region(proof: Proof, case: int) -> str:
    low, high = proof.lower[case], proof.upper[case]
    ends = zip(low[:SHOWN_INPUTS], high[:SHOWN_INPUTS], strict=True)
    words = ", ".join(f"{_digits(a)} <= X_{i} <= {_digits(b)}" for i, (a, b) in enumerate(ends))
    if len(low) > SHOWN_INPUTS:
        words += f" and so on for {len(low)} inputs, {np.max(high - low):.9g} wide at most"
    if proof.balls is not None:
        radius = proof.balls.radius[case].max()
        words += f", in a ball of norm {proof.balls.norm} with radius up to {radius:.9g}"
    return words


def _row(row: NDArray[np.float64], offset: float) -> str:
    terms = [f"{_digits(value, '+')}*Y_{i}" for i, value in enumerate(row) if value]
    return f"{' '.join(terms) or '0'} <= {_digits(offset)}"


def _digits(value: float, sign: str = "") -> str:
    """Return as many digits as it takes to tell a number from all others: no more was proved."""
    short = f"{value:{sign}.9g}"
    return short if float(short) == value else f"{value:{sign}.17g}"
