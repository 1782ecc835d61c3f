"""SCS, the splitting conic solver (O'Donoghue et al. 2016)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from solvers.convex.sdp.cone import ConeProgram, ConeRequest
from solvers.errors import SolverUnavailableError

__all__ = ["solve_with_scs"]


def solve_with_scs(
    program: ConeProgram, request: ConeRequest
) -> tuple[NDArray[np.float64], bool, int]:
    """Return the dual, whether SCS reached its tolerance, and its iterations.

    Args:
        program: Its semidefinite rows are already in the order and scale of SCS.
        request: The time limit is kept; a cancellation shows when SCS stops.

    Raises:
        SolverUnavailableError: SCS is not installed.
    """
    try:
        import scs  # noqa: PLC0415  heavy, and only needed here
    except ImportError as error:
        raise SolverUnavailableError(
            "the solver scs is not installed; install the package scs, or use another solver"
        ) from error
    data = {"A": program.matrix, "b": program.right, "c": program.cost}
    cone = {"z": program.zero, "l": program.nonnegative, "s": list(program.cones)}
    settings: dict[str, float | int | bool] = {
        "eps_abs": request.tolerance,
        "eps_rel": request.tolerance,
        "max_iters": request.iterations or 100_000,
        "verbose": False,
    }
    remaining = request.budget.remaining_seconds
    if math.isfinite(remaining):
        settings["time_limit_secs"] = max(remaining, 1e-3)
    answer = scs.SCS(data, cone, **settings).solve()
    info = answer["info"]
    return np.asarray(answer["y"]), info["status_val"] == 1, int(info["iter"])
