"""Counterexamples are believed only after an independent runtime has run them.

Everything here fails closed: a candidate of the wrong shape, outside the region, or with an output
that is not finite or does not meet the condition exactly, is no counterexample.
"""

from __future__ import annotations

import logging
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from solvers.float32_region import runnable_box
from solvers.problem import Box, Clause, Specification
from solvers.results import Counterexample

__all__ = ["Runtime", "confirm", "holds_exactly"]

logger = logging.getLogger(__name__)

# Relative to the terms of a row: far above the rounding error of a float64 sum, far below what
# anyone would call a difference. Only decides whether exact arithmetic is worth its time.
_NEARLY = 1e-6


class Runtime(Protocol):
    """What runs a network the way it is deployed."""

    def run(self, x: NDArray[np.float32]) -> NDArray[Any]:
        """Return outputs, shape `(batch, outputs)`, of raw inputs `(batch, *input_shape)`."""
        ...


def confirm(
    runtime: Runtime, region: Box, specification: Specification, candidate: NDArray[np.floating]
) -> Counterexample | None:
    """Return the counterexample that a candidate is, or None if it is none.

    Args:
        runtime: Runs the network in float32.
        region: Must hold the input exactly, in the sense of `solvers.float32_region`.
        specification: Must hold at the output exactly, in rational arithmetic.
        candidate: One input, shape `input_shape`; rounded to float32 first if it is wider.
    """
    if candidate.shape != region.shape:
        logger.warning("candidate of shape %s, the region has %s", candidate.shape, region.shape)
        return None
    with np.errstate(over="ignore"):  # an infinite input is outside every region
        x = candidate.astype(np.float32)
    if not runnable_box(region).contains(x):
        return None
    outputs = np.asarray(runtime.run(x[np.newaxis]))
    if outputs.shape != (1, specification.outputs):
        logger.warning(
            "runtime gave outputs of shape %s, not (1, %d)", outputs.shape, specification.outputs
        )
        return None
    y = outputs[0]
    if not np.isfinite(y).all() or not holds_exactly(specification, y):
        return None
    return Counterexample(x, y.astype(np.float32))


def holds_exactly(specification: Specification, y: NDArray[np.floating]) -> bool:
    """Return whether one output meets the condition, without any rounding.

    Args:
        specification: The counterexample condition.
        y: Shape `(outputs,)`, finite.
    """
    return any(
        _nearly_holds(clause, y) and all(_row_holds(*row, y) for row in _rows(clause))
        for clause in specification.clauses
    )


def _nearly_holds(clause: Clause, y: NDArray[np.floating]) -> bool:
    size = np.abs(clause.matrix) @ np.abs(y.astype(np.float64)) + np.abs(clause.offset)
    return bool(clause.margin(y) <= _NEARLY * size.max())


def _rows(clause: Clause) -> list[tuple[NDArray[np.float64], float]]:
    return [(row, float(d)) for row, d in zip(clause.matrix, clause.offset, strict=True)]


def _row_holds(row: NDArray[np.float64], offset: float, y: NDArray[np.floating]) -> bool:
    used = np.flatnonzero(row)
    total = sum((Fraction(float(row[i])) * Fraction(float(y[i])) for i in used), Fraction(0))
    return total <= Fraction(offset)
