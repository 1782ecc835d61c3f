"""How large a specification may be before it is refused."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["VnnlibLimits"]


@dataclass(frozen=True)
class VnnlibLimits:
    """Limits on what is read, so that a hostile or broken file costs little.

    Attributes:
        size_bytes: Of the text, after decompression.
        depth: Of nested parentheses. The interpreter recurses once per level, so a value far
            above the default meets Python's own limit.
        words: Names, numbers and parentheses in one command.
        variables: Number of inputs, and of outputs.
        branches: Disjuncts of the disjunctive normal form.
        comparisons: Comparisons in all disjuncts together, repetitions counted.
        coefficients: Numbers in all regions together, and in all clauses together.
    """

    size_bytes: int = 64 * 2**20
    depth: int = 100
    words: int = 8_000_000
    variables: int = 10_000_000
    branches: int = 200_000
    comparisons: int = 4_000_000
    coefficients: int = 2**25
