"""Least values of linear functions over L1 and L2 balls cut to boxes.

Around the centre c, with g = |a| ∘ r the gain of each value per radius and w its reach, the share
of the radius that the box leaves in the direction of descent, the least value of a · x is

    a · c − max { g · u : 0 ≤ u ≤ w, ‖u‖ ≤ 1 }.

Moving the norm into the objective with a multiplier μ ≥ 0 gives, for *every* μ, an upper bound of
that maximum (weak duality), so a multiplier that is merely close to the best one costs tightness,
never soundness. For a ball that the box does not cut, the bound is the dual norm of g.

Sources: Xu et al. 2020, section 3.3 (dual norms); the multipliers are worked out here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.errors import BoundsError
from models.operators import Reshape, Transpose
from solvers.balls import Norm, NormBall
from solvers.bounds.interval import Interval
from solvers.problem import Box

__all__ = ["Balls", "largest_gain", "regions_to_balls"]

_ROUNDS = 6
"""Of the multiplier of an L2 ball; each one settles more values that stop at the box."""
_CLOSE = 1 - 1e-6
"""A multiplier that falls by less than this is good enough."""
_CANDIDATES = 256
"""How many of the greatest gains an L1 ball's multiplier is chosen from."""
_FLOAT32_SHARE = 2.0**-16
"""The share of a radius that rounding its centre to float32 may take."""


@dataclass(frozen=True)
class Balls:
    """A ball for every region of a batch, all of one norm.

    Attributes:
        center: Shape `(batch, *input_shape)`.
        radii: The same, at least 0.
        norm: L1 or L2.
    """

    center: Tensor
    radii: Tensor
    norm: Norm

    def __getitem__(self, index: slice | Tensor) -> Balls:
        """Return some examples of the batch."""
        return Balls(self.center[index], self.radii[index], self.norm)

    def reordered(self, operator: Reshape | Transpose) -> Balls:
        """Return the balls of the same values in another order or shape."""
        center = operator.forward([self.center], {})
        return Balls(center, operator.forward([self.radii], {}), self.norm)

    def reach(self, region: Interval) -> tuple[Tensor, Tensor]:
        """Return which share of its radius each value may move down and up before the box ends."""
        fixed = self.radii == 0
        radii = torch.where(fixed, torch.ones_like(self.radii), self.radii)
        ways = (self.center - region.lower, region.upper - self.center)
        down, up = (
            torch.where(fixed, torch.zeros_like(way), (way / radii).clamp(0, 1)) for way in ways
        )
        return down, up


def regions_to_balls(
    regions: Sequence[Box], dtype: torch.dtype, device: torch.device | str = "cpu"
) -> Balls | None:
    """Stack the balls of regions into a batch; None where there are none.

    In float32, where centres move by rounding, radii grow so that each ball still holds all of
    the region's.

    Args:
        regions: Of one shape.
        dtype: `torch.float64` or `torch.float32`.
        device: Where the tensors go.

    Raises:
        BoundsError: Norms differ, or only some regions have a ball.
    """
    norms = {None if region.ball is None else region.ball.norm for region in regions}
    if len(norms) != 1:
        raise BoundsError("regions that are bounded together must all be of the same norm")
    balls = [region.ball for region in regions if region.ball is not None]
    if not balls:
        return None
    arrays = [_rounded(ball) if dtype == torch.float32 else _as_is(ball) for ball in balls]
    center, radii = (
        torch.from_numpy(np.stack(parts)).to(dtype=dtype, device=device)
        for parts in zip(*arrays, strict=True)
    )
    return Balls(center, radii, balls[0].norm)


def _as_is(ball: NormBall) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    return ball.center, ball.radii


def _rounded(ball: NormBall) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    center = ball.center.astype(np.float32)
    moved = np.abs(center.astype(np.float64) - ball.center)
    radii = np.maximum(ball.radii, moved / _FLOAT32_SHARE)
    # ‖(x − c′) / r‖ ≤ ‖(x − c) / r‖ + ‖(c − c′) / r‖ ≤ 1 + further.
    further = NormBall(center.astype(np.float64), radii, ball.norm).length(ball.center)
    narrow = (radii * (1.0 + further)).astype(np.float32)
    grown = np.nextafter(narrow, np.float32(np.inf))
    return center, np.where(radii > 0, grown, narrow)


def largest_gain(gain: Tensor, reach: Tensor, norm: Norm) -> Tensor:
    """Bound max { gain · u : 0 ≤ u ≤ reach, ‖u‖ ≤ 1 } from above, closely.

    Args:
        gain: At least 0, shape `(…, values)`.
        reach: Between 0 and 1, shape `(…, values)`.
        norm: Of `u`.

    Returns:
        Shape `(…)`: never above the dual norm of the gain, nor above `gain · reach`.
    """
    by_box = (gain * reach).sum(-1)
    return torch.fmin(by_box, _GAINS[norm](gain, reach))


def _euclidean(gain: Tensor, reach: Tensor) -> Tensor:
    """Bound the gain by that of uᵢ = min(reachᵢ, gainᵢ / μ).

    For any μ > 0, g · u ≤ Σ max over 0 ≤ uᵢ ≤ wᵢ of (gᵢuᵢ − μuᵢ²/2) + μ/2.
    """
    with torch.no_grad():
        size = torch.linalg.vector_norm(gain, dim=-1, keepdim=True)
        least = (1e-12 * size).clamp(min=torch.finfo(gain.dtype).tiny)
        multiplier = size.clamp(min=least)
        squares = reach.square()
        for _ in range(_ROUNDS):
            # From above: what stops at the box now does so at the best multiplier too.
            stopped = gain > multiplier * reach
            left = 1 - (squares * stopped).sum(-1, keepdim=True)
            moving = torch.linalg.vector_norm(gain * ~stopped, dim=-1, keepdim=True)
            found = torch.minimum(moving / left.clamp(min=1e-6).sqrt(), multiplier)
            settled = bool((found >= _CLOSE * multiplier).all())
            multiplier = found.clamp(min=least)
            if settled:
                break
    free = gain * (gain / multiplier) / 2
    at_box = (gain - multiplier * reach / 2) * reach
    terms = torch.where(gain > multiplier * reach, at_box, free)
    total: Tensor = terms.sum(-1) + multiplier.squeeze(-1) / 2
    return total


def _taxicab(gain: Tensor, reach: Tensor) -> Tensor:
    """Bound the gain by filling the greatest gains first, as in a fractional knapsack.

    For any μ ≥ 0, g · u ≤ Σ max(0, gᵢ − μ) · wᵢ + μ. The best μ is the gain at which the reaches
    of all greater ones add up to 1.
    """
    count = min(gain.shape[-1], _CANDIDATES)
    greatest, places = gain.topk(count, dim=-1)
    room = reach.gather(-1, places)
    full = room.cumsum(-1) >= 1
    fills = full.any(-1, keepdim=True)
    # The first of all that fill the ball; where none do, the last.
    place = torch.where(fills, full.to(torch.uint8).argmax(-1, keepdim=True), count - 1)
    multiplier = greatest.gather(-1, place)
    if count == gain.shape[-1]:
        multiplier = torch.where(fills, multiplier, torch.zeros_like(multiplier))
    above = (greatest - multiplier).clamp(min=0)
    return (above * room).sum(-1) + multiplier.squeeze(-1)


_GAINS: Mapping[Norm, Callable[[Tensor, Tensor], Tensor]] = {
    Norm.TWO: _euclidean,
    Norm.ONE: _taxicab,
}
