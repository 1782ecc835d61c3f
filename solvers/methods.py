"""Names of the methods, cheap to tight."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["BOUND_METHODS", "Method"]


class Method(StrEnum):
    """A rung of the ladder of relaxations, or the exact answer."""

    IBP = "ibp"
    CROWN_IBP = "crown-ibp"
    FORWARD = "forward"
    FORWARD_BACKWARD = "forward+backward"
    FAST_LIN = "fast-lin"
    CROWN = "crown"
    ALPHA_CROWN = "alpha-crown"
    EXACT = "exact"


BOUND_METHODS: tuple[Method, ...] = tuple(m for m in Method if m is not Method.EXACT)
