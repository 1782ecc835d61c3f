"""Semidefinite bounds: the lifted relaxation, solvers for its dual, and bounds that are proved.

`sdp_margin` bounds one case. Solver packages are imported when they are first asked for.
"""

from solvers.convex.sdp.margin import sdp_margin
from solvers.convex.sdp.options import (
    SdpDual,
    SdpOptions,
    SdpProgress,
    SdpResult,
    SdpSolver,
    SdpStatus,
)

__all__ = [
    "SdpDual",
    "SdpOptions",
    "SdpProgress",
    "SdpResult",
    "SdpSolver",
    "SdpStatus",
    "sdp_margin",
]
