"""Clarabel, an interior-point cone solver (Goulart and Chen 2024): accurate, for small cones."""

from __future__ import annotations

import math

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from solvers.convex.sdp.cone import ConeProgram, ConeRequest
from solvers.errors import SolverUnavailableError

__all__ = ["solve_with_clarabel"]


def solve_with_clarabel(
    program: ConeProgram, request: ConeRequest
) -> tuple[NDArray[np.float64], bool, int]:
    """Return the dual, whether Clarabel reached its tolerance, and its iterations.

    Args:
        program: Its semidefinite rows are reordered here: Clarabel goes by rows, not by columns.
        request: The time limit is kept; a cancellation shows when Clarabel stops.

    Raises:
        SolverUnavailableError: Clarabel is not installed.
    """
    try:
        import clarabel  # noqa: PLC0415  heavy, and only needed here
    except ImportError as error:
        raise SolverUnavailableError(
            "the solver clarabel is not installed; install the package clarabel, or use another"
        ) from error
    order = _by_rows(program)
    cones = [
        clarabel.ZeroConeT(program.zero),
        clarabel.NonnegativeConeT(program.nonnegative),
        *(clarabel.PSDTriangleConeT(size) for size in program.cones),
    ]
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.max_iter = request.iterations or 200
    settings.tol_gap_rel = settings.tol_gap_abs = settings.tol_feas = min(request.tolerance, 1e-6)
    remaining = request.budget.remaining_seconds
    if math.isfinite(remaining):
        settings.time_limit = max(remaining, 1e-3)
    nothing = sp.csc_matrix((program.cost.size, program.cost.size))
    matrix = sp.csc_matrix(program.matrix.tocsr()[order])
    solver = clarabel.DefaultSolver(
        nothing, program.cost, matrix, program.right[order], cones, settings
    )
    answer = solver.solve()
    dual = np.empty(order.size)
    dual[order] = np.asarray(answer.z)
    return dual, answer.status == clarabel.SolverStatus.Solved, int(answer.iterations)


def _by_rows(program: ConeProgram) -> NDArray[np.int64]:
    """Return the rows of A in Clarabel's order: lower triangles by rows."""
    first = program.zero + program.nonnegative
    parts = [np.arange(first)]
    for size in program.cones:
        column, row = np.triu_indices(size)
        parts.append(first + np.lexsort((column, row)))
        first += row.size
    return np.concatenate(parts)
