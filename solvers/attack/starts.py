"""Where descents start, and what each of them aims at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from solvers.attack.geometry import balls_of
from solvers.attack.objectives import clause_margins
from solvers.float32_region import Float32Box
from solvers.problem import Case, Clause

__all__ = ["Plan", "corners_of", "landmarks", "make_plan", "random_points"]

# Wide steps leave shallow basins, narrow ones stay in the basin they start in; which of them
# finds the counterexample depends on the network, so that descents differ.
_STRIDES = (1.0, 0.1, 0.03)


@dataclass(frozen=True, eq=False)
class Plan:
    """The descents of one case; row `i` of each tensor belongs to descent `i`.

    Attributes:
        clauses: The most promising, best first.
        start: Shape `(descents, *input_shape)`.
        target: Which of `clauses` each aims at, shape `(descents,)`.
        stride: Factor on its steps, shape `(descents,)`.
        wander: Whether it goes towards random outputs first, shape `(descents,)`.
    """

    clauses: tuple[Clause, ...]
    start: Tensor
    target: Tensor
    stride: Tensor
    wander: Tensor


def corners_of(boxes: Sequence[Float32Box]) -> tuple[Tensor, Tensor]:
    """Return lower and upper corners, shape `(boxes, 1, *input_shape)`."""
    lower = torch.from_numpy(np.stack([box.lower for box in boxes]))
    upper = torch.from_numpy(np.stack([box.upper for box in boxes]))
    return lower.unsqueeze(1), upper.unsqueeze(1)


def landmarks(cases: Sequence[Case], boxes: Sequence[Float32Box]) -> Tensor:
    """Return centre, lower and upper corner, shape `(cases, 3, *input_shape)`.

    Of a ball, the points that the corners of its box are projected to.
    """
    pairs = zip(cases, boxes, strict=True)
    center = np.stack([box.nearest(case.region.center) for case, box in pairs])
    lower, upper = corners_of(boxes)
    points = torch.cat([torch.from_numpy(center).unsqueeze(1), lower, upper], dim=1)
    balls = balls_of(boxes)
    return points if balls is None else balls.project(points, lower, upper)


def random_points(box: Float32Box, count: int, random: torch.Generator) -> Tensor:
    """Return random points, shape `(count, *input_shape)`: every fourth a corner.

    In a ball, every fourth lies on its surface.
    """
    balls = balls_of([box])
    if balls is not None:
        points = balls.random_points(count, random).unsqueeze(0)
        return balls.project(points, *corners_of([box])).squeeze(0)
    lower, upper = (corner.squeeze(0) for corner in corners_of([box]))
    shares = torch.rand((count, *lower.shape[1:]), generator=random)
    shares[3::4] = shares[3::4].round()
    return torch.clamp(lower + shares * (upper - lower), lower, upper)


def make_plan(
    case: Case, points: Tensor, y: NDArray[np.floating], *, clauses: int, fresh: Tensor
) -> Plan:
    """Choose clauses and starts from screened points.

    Descents come in turns; one turn has one descent for each clause. Every other turn starts at
    fresh points and wanders first. The others start at winners: the points are dealt out to
    these turns, and each starts at the best of its own, so that starts are good and differ.
    The first turn starts at the best of all.

    Args:
        case: Its specification says what is promising.
        points: Shape `(points, *input_shape)`.
        y: Their outputs, shape `(points, outputs)`.
        clauses: How many clauses to aim at, at most.
        fresh: As many points as there are descents, shape `(descents, *input_shape)`.
    """
    margins = clause_margins(case.specification, y)
    promising = np.argsort(margins.min(axis=0), kind="stable")[:clauses]
    margins = margins[:, promising]
    turn, target = np.divmod(np.arange(len(fresh)), len(promising))
    heat = turn // 2
    heats = min(int(heat.max()) + 1, len(points))
    winners = np.stack([margins[h::heats].argmin(axis=0) * heats + h for h in range(heats)])
    winners[0] = margins.argmin(axis=0)
    chosen = torch.from_numpy(winners[heat % heats, target])
    wander = torch.from_numpy(turn % 2 == 1)
    spread = wander.reshape(-1, *[1] * (points.ndim - 1))
    return Plan(
        tuple(case.specification.clauses[k] for k in promising),
        torch.where(spread, fresh, points[chosen]),
        torch.from_numpy(target),
        torch.tensor(_STRIDES)[torch.from_numpy(heat % len(_STRIDES))],
        wander,
    )
