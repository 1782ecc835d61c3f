"""Balls as linear constraints on the inputs' columns: exactly for L1, from outside for L2."""

from __future__ import annotations

import math

import numpy as np
import scipy.sparse as sp

from solvers.balls import Norm, NormBall
from solvers.exact.affine import Affine, IndexArray
from solvers.exact.builder import ModelBuilder

__all__ = ["encode_ball"]

_OUTWARDS = 1.0 + 1e-9
"""So that rounding of the constraint leaves out no input."""


def encode_ball(builder: ModelBuilder, ball: NormBall, free: IndexArray, inputs: Affine) -> None:
    """Constrain inputs to a ball: a share of the radius for each, and a limit on their sum.

    With n values free to move, every point of an L2 ball has shares that add up to at most √n, so
    that the L1 ball of that size holds it.

    Args:
        builder: Gets a column and two rows for each free input, and a row for the sum.
        ball: Around the inputs, of as many values.
        free: Positions of the inputs that vary, flat, shape `(free,)`.
        inputs: The free inputs as functions of the columns.
    """
    if not free.size:
        return
    radii, center = ball.radii.ravel()[free], ball.center.ravel()[free]
    ones = np.ones(free.size)
    shares = Affine.of_columns(builder.add_columns(0 * ones, ones), ones)
    step = inputs.shifted(-center)
    for way in (1.0, -1.0):
        builder.add_rows(step.scaled(way).plus(shares.scaled(-radii)), -math.inf, 0.0)
    limit = 1.0 if ball.norm is Norm.ONE else math.sqrt(free.size)
    builder.add_rows(shares.mapped(sp.csr_array(ones[None])), -math.inf, limit * _OUTWARDS)
