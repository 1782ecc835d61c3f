"""Handing a program to HiGHS, for everything here that solves with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import highspy
import numpy as np

from solvers.errors import SolverFailedError
from solvers.exact.model import MilpModel

__all__ = ["configure", "pass_model", "require_whole"]

_ROWWISE = 2
_MINIMIZE = 1


def configure(highs: highspy.Highs, options: Mapping[str, Any]) -> None:
    """Set options by name.

    Raises:
        SolverFailedError: HiGHS refused one.
    """
    for option, value in options.items():
        if highs.setOptionValue(option, value) != highspy.HighsStatus.kOk:
            raise SolverFailedError(f"HiGHS refused {option} = {value}")


def pass_model(highs: highspy.Highs, model: MilpModel) -> None:
    """Hand over a program, whole: HiGHS drops tiny coefficients in silence.

    Raises:
        SolverFailedError: HiGHS took another program than it was given.
    """
    matrix = model.rows.matrix
    status = highs.passModel(
        model.column_count,
        model.row_count,
        model.nonzeros,
        _ROWWISE,
        _MINIMIZE,
        model.offset,
        model.objective,
        model.column_lower,
        model.column_upper,
        model.rows.lower,
        model.rows.upper,
        matrix.indptr.astype(np.int32),
        matrix.indices.astype(np.int32),
        matrix.data,
        model.integral.astype(np.int32),
    )
    if status == highspy.HighsStatus.kError:
        raise SolverFailedError(f"HiGHS refused a program of {model.nonzeros} coefficients")
    require_whole(highs, model.nonzeros)


def require_whole(highs: highspy.Highs, nonzeros: int) -> None:
    """Compare how many coefficients HiGHS holds with how many it was given.

    Raises:
        SolverFailedError: It holds fewer or more.
    """
    if highs.getNumNz() != nonzeros:
        raise SolverFailedError(
            f"HiGHS took {highs.getNumNz()} of {nonzeros} coefficients, so it would solve "
            "another program; nothing it says about this one can be used"
        )
