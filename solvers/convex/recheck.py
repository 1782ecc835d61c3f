"""What a dual vector proves, whoever it comes from.

For any multipliers y of the rows of min c·x with L ≤ A x ≤ U and x in a box, the minimum is at
least Σ (y_r L_r where y_r > 0, y_r U_r where y_r < 0) + Σ min over the box of (c − Aᵀy)_j x_j.
No solver is trusted: neither its objective, nor that its duals are feasible, nor its status.

Source: Neumaier and Shcherbina 2004 (*Safe bounds in linear and mixed-integer linear programming*),
with every column boxed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from solvers.exact.model import MilpModel, Rows

__all__ = ["safe_minimum", "usable_duals"]

FloatArray = NDArray[np.float64]

_ASSEMBLY = 64.0
"""Units of rounding granted to every coefficient, for the sums that a row was assembled from."""


def usable_duals(rows: Rows, duals: FloatArray) -> FloatArray:
    """Return multipliers that can be used: finite, and 0 where they ask for an open side."""
    if duals.shape != rows.lower.shape:
        return np.zeros_like(rows.lower)
    clean = np.where(np.isfinite(duals), duals, 0.0)
    clean = np.where((clean > 0) & np.isneginf(rows.lower), 0.0, clean)
    return np.where((clean < 0) & np.isposinf(rows.upper), 0.0, clean)


def safe_minimum(model: MilpModel, duals: FloatArray) -> float:
    """Return a lower bound of a linear program's minimum.

    Args:
        model: The program; integrality is ignored, which can only lower the minimum.
        duals: Multipliers of the rows, shape `(rows,)`; anything at all. Unusable ones count as 0.

    Returns:
        The bound, lowered by more than the rounding error of computing it and of assembling the
        rows; −∞ if it is not finite.
    """
    rows = model.rows
    y = usable_duals(rows, duals)
    side = np.where(y > 0, rows.lower, np.where(y < 0, rows.upper, 0.0))
    # many rows have no part in the bound, and their sides may be infinite
    terms = np.where(y == 0, 0.0, y * np.where(y == 0, 0.0, side))
    with np.errstate(over="ignore", invalid="ignore"):
        reduced = model.objective - rows.matrix.T @ y
        spread = np.abs(model.objective) + abs(rows.matrix).T @ np.abs(y)
        reach = np.maximum(np.abs(model.column_lower), np.abs(model.column_upper))
        ends = np.minimum(reduced * model.column_lower, reduced * model.column_upper)
        size = float((spread * reach).sum() + np.abs(terms).sum()) + abs(model.offset)
    if not (math.isfinite(size) and np.isfinite(ends).all()):
        return -math.inf
    longest = int(np.bincount(rows.matrix.indices, minlength=1).max(initial=0))
    error = (longest + _ASSEMBLY) * np.finfo(np.float64).eps * size
    return math.fsum([*terms.tolist(), *ends.tolist(), model.offset, -2.0 * error])
