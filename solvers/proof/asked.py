"""Whether what a proof states covers what somebody asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers.proof.container import Ball, Proof, require

__all__ = ["AskedCase", "require_covered"]

Array = NDArray[np.float64]


class AskedCase(NamedTuple):
    """What a specification asks: a box in a ball where there is one, and clauses.

    All arrays are float64: corners of shape `(inputs,)`, clauses as C and d.
    """

    lower: Array
    upper: Array
    clauses: Sequence[tuple[Array, Array]]
    ball: Ball | None = None


def require_covered(
    proof: Proof, asked: Sequence[AskedCase], normalization: Sequence[Sequence[float]] | None
) -> None:
    """Require that every case asked about lies in cases of a proof that have its clauses.

    Args:
        proof: That is accepted.
        asked: Cases of a specification.
        normalization: Mean and standard deviation of what stands in front of the network in the
            specification, if anything does.

    Raises:
        ProofError: It does not; says where.
    """
    wanted = normalization and tuple(tuple(map(float, part)) for part in normalization)
    stated = f"the proof is about the network behind the normalisation {proof.normalization}"
    require(proof.normalization == wanted, f"{stated}, what was asked is behind {wanted}")
    proved: dict[bytes, list[int]] = {}
    for case in range(len(proof.lower)):
        first, last = np.searchsorted(proof.row_case, [case, case + 1])
        for clause in range(proof.row_clause[last - 1] + 1):
            own = np.arange(first, last)[proof.row_clause[first:last] == clause]
            key = key_of(proof.matrix[own], proof.offset[own])
            proved.setdefault(key, []).append(case)
    for number, case_ in enumerate(asked):
        fit = case_.lower.shape == case_.upper.shape == proof.lower.shape[1:]
        require(fit, f"case {number} of the specification is about other inputs")
        for place, (matrix, offset) in enumerate(case_.clauses):
            cases = np.array(proved.get(key_of(matrix, offset), []), dtype=np.intp)
            where = f"clause {place} of case {number} of the specification"
            require(len(cases), f"{where} is not one that the proof is about")
            inside = (proof.lower[cases] <= case_.lower).all(axis=1)
            inside &= (proof.upper[cases] >= case_.upper).all(axis=1)
            held = any(_holds(proof, int(case), case_.ball) for case in cases[inside])
            require(held, f"the region of {where} lies in none that the proof is about")


def _holds(proof: Proof, case: int, asked: Ball | None) -> bool:
    """Return whether a case is about no ball, or about one that holds what was asked about."""
    if proof.balls is None:
        return True
    own = proof.balls.of(case)
    if asked is None or own.norm != asked.norm or not np.array_equal(own.center, asked.center):
        return False
    return bool((own.radius >= asked.radius).all())


def key_of(matrix: Array, offset: Array) -> bytes:
    """Return the same bytes for clauses of the same rows in any order, and for no others."""
    rows = np.column_stack([matrix, offset]).astype(np.float64) + 0.0  # turns -0 into 0
    return b"%d " % rows.shape[1] + b"".join(sorted(row.tobytes() for row in rows))
