"""Regions that are L1 or L2 balls as well: bounds over them by dual norms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from solvers.proof.bounds import Array, Integers, Region, gamma
from solvers.proof.container import Balls
from solvers.proof.network import Part

__all__ = ["BALLS", "Ball", "BallRegion"]


@dataclass(frozen=True, eq=False)
class Ball:
    """All x with ‖(x − center) / radius‖ ≤ 1 in norm 1 or 2; shapes `(inputs,)`."""

    norm: int
    center: Array
    radius: Array


@dataclass(frozen=True, eq=False)
class BallRegion(Region):
    """Boxes, all of them inside of one ball."""

    ball: Ball

    def least(self, rows: Array, domain: Integers | None) -> tuple[Array, Array]:
        """Return the better of the bounds over box and ball, and the sizes of what was added up.

        From the centre, rows change by the dual norm of coefficients times radii at most.
        """
        box, size = super().least(rows, domain)
        spare, absolute = gamma(rows.shape[1] + 8), np.abs(rows)
        scaled = absolute * self.ball.radius
        dual = scaled.max(axis=1) if self.ball.norm == 1 else np.sqrt((scaled**2).sum(axis=1))
        error = absolute @ (spare * np.abs(self.ball.center)) + rows.shape[1] * 2.0**-500
        reach = (dual + error) * (1 + 2 * spare)
        middle = rows @ self.ball.center
        better = middle - reach > box
        return (
            np.where(better, middle - reach, box),
            np.where(better, np.abs(middle) + reach, size),
        )


class _Rule:
    """What the core asks about balls of a proof."""

    def region(self, boxes: Region, balls: Balls, case: int) -> Region:
        """Put boxes of a case into its ball."""
        return BallRegion(boxes.lower, boxes.upper, _ball(balls, case))

    def holds(self, balls: Balls, case: int, asked: object) -> bool:
        """Return whether a case's ball holds one that was asked about."""
        own = _ball(balls, case)
        if not isinstance(asked, Ball) or own.norm != asked.norm:
            return False
        if not np.array_equal(own.center, asked.center):
            return False
        return bool((own.radius >= asked.radius).all())


def _ball(balls: Balls, case: int) -> Ball:
    return Ball(balls.norm, balls.center[case], balls.radius[case])


BALLS = Part("L1 and L2 balls", ball=_Rule())
