"""Names of the methods, cheap to tight."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["BOUND_METHODS", "ITEM_METHOD_NAMES", "Method"]


class Method(StrEnum):
    """A rung of the ladder of relaxations, or the exact answer."""

    IBP = "ibp"
    CROWN_IBP = "crown-ibp"
    FORWARD = "forward"
    FORWARD_BACKWARD = "forward+backward"
    FAST_LIN = "fast-lin"
    CROWN = "crown"
    ALPHA_CROWN = "alpha-crown"
    FASTC2V = "fastc2v"
    ALPHA_FASTC2V = "alpha-fastc2v"
    LP = "lp"
    OPTC2V = "optc2v"
    SDP = "sdp"
    EXACT = "exact"


ITEM_METHOD_NAMES: tuple[Method, ...] = (Method.LP, Method.OPTC2V, Method.SDP)
"""Convex programs, solved input by input: `solvers.certification.per_item` has what runs them."""

BOUND_METHODS: tuple[Method, ...] = tuple(
    method for method in Method if method not in {*ITEM_METHOD_NAMES, Method.EXACT}
)
"""Bounds by propagation, computed for many inputs at once."""
