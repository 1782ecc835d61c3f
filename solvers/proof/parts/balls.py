"""Regions that are L1 or L2 balls as well: bounds over them by dual norms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from solvers.proof.bounds import Array, Integers, Region, gamma, product
from solvers.proof.container import Ball, Balls
from solvers.proof.network import Part

__all__ = ["BALLS", "BallRegion"]


@dataclass(frozen=True, eq=False)
class BallRegion(Region):
    """Boxes, all of them inside of one ball."""

    ball: Ball

    def least(self, rows: Array, domain: Integers | None) -> tuple[Array, Array]:
        """Return the better of the bounds over box and ball, and how far they may be off.

        From the centre, rows change by the dual norm of coefficients times radii at most.
        """
        box, off = super().least(rows, domain)
        middle, error = product(rows, self.ball.center[None])
        scaled = np.abs(rows * self.ball.radius)
        dual = scaled.max(axis=1) if self.ball.norm == 1 else np.sqrt((scaled**2).sum(axis=1))
        error = error + gamma(rows.shape[1] + 8) * (np.abs(middle) + dual)
        error = error + rows.shape[1] * 2.0**-500  # squares that underflow
        better = middle - dual - error > box - off
        return np.where(better, middle - dual, box), np.where(better, error, off)


def _inside(boxes: Region, balls: Balls, case: int) -> Region:
    return BallRegion(boxes.lower, boxes.upper, balls.of(case))


BALLS = Part("L1 and L2 balls", balls=_inside)
