"""Where points of an attack may be, and how they move there: boxes, and balls cut to boxes.

In a box, a step follows the gradient's moments value by value; in a ball, the gradient's direction.
Points that leave a ball are projected onto ball and box together: u → clip(s · u) for L2,
u → clip(shrink(u, t)) for L1, with the multiplier found by bisection.

Sources: Madry et al. 2018 (projected gradient descent); Croce and Hein 2021, *Mind the Box*
(projection onto the intersection of an L1 ball with a box).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from solvers.balls import Norm
from solvers.float32_region import Float32Box

__all__ = ["AttackBalls", "balls_of", "steepest"]

_BISECTIONS = 14


@dataclass(frozen=True, eq=False)
class AttackBalls:
    """Balls of one norm, one for each of several cases.

    Attributes:
        center, radii: Shape `(cases, 1, *input_shape)`, float32; a radius is at least 0.
        norm: L1 or L2.
    """

    center: Tensor
    radii: Tensor
    norm: Norm

    def select(self, cases: Tensor) -> AttackBalls:
        """Return the balls of some of the cases, by index."""
        return AttackBalls(self.center[cases], self.radii[cases], self.norm)

    def to(self, device: torch.device) -> AttackBalls:
        """Return the same balls on a device."""
        return AttackBalls(self.center.to(device), self.radii.to(device), self.norm)

    def project(self, x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        """Return the points of ball and box that `x` is projected to.

        Up to rounding: which float32 input is inside exactly is for `solvers.float32_region`.

        Args:
            x: Shape `(cases, points, *input_shape)`.
            lower: Corners of the boxes, shape `(cases, 1, *input_shape)`.
            upper: The other corners.
        """
        safe = torch.where(self.radii > 0, self.radii, torch.ones_like(self.radii))
        still = self.radii == 0
        low, high, scaled = (
            torch.where(still, torch.zeros_like(way), way / safe)
            for way in (lower - self.center, upper - self.center, x - self.center)
        )
        inside = _projected(scaled.flatten(2), (low.flatten(2), high.flatten(2)), self.norm)
        moved = self.center + inside.reshape(x.shape) * self.radii
        return torch.clamp(moved, lower, upper)

    def random_points(self, count: int, random: torch.Generator) -> Tensor:
        """Return random steps from the centre of a single case, `(count, *input_shape)`.

        Every fourth lies far beyond the surface, to be projected onto it.
        """
        shape = (count, *self.center.shape[2:])
        direction = torch.randn(shape, generator=random)
        length = _length(direction.flatten(1), self.norm).clamp(min=1e-30)
        reach = torch.rand(count, generator=random)
        reach[3::4] = 2.0
        share = (reach / length).reshape(-1, *(1,) * (len(shape) - 1))
        return self.center[0] + direction * share * self.radii[0]


def balls_of(boxes: Sequence[Float32Box]) -> AttackBalls | None:
    """Return the balls of regions of one norm, or None where they have none."""
    balls = [box.ball for box in boxes if box.ball is not None]
    if not balls:
        return None
    center = np.stack([ball.center for ball in balls]).astype(np.float32)
    radii = np.stack([ball.radii for ball in balls]).astype(np.float32)
    return AttackBalls(
        torch.from_numpy(center).unsqueeze(1), torch.from_numpy(radii).unsqueeze(1), balls[0].norm
    )


def steepest(gradient: Tensor, norm: Norm) -> Tensor:
    """Return steps along the gradient, of length 1 for L2 and of greatest value 1 for L1.

    Onto an L1 ball, few of the values survive the projection: those that gain the most. A step
    along these alone, all of the same size, would never choose between them.

    Args:
        gradient: Per radius, shape `(cases, points, *input_shape)`.
        norm: L1 or L2.
    """
    flat = gradient.flatten(2)
    size = torch.linalg.vector_norm(flat, 2 if norm is Norm.TWO else torch.inf, dim=-1)
    steps: Tensor = flat / size.unsqueeze(-1).clamp(min=1e-30)
    return steps.reshape(gradient.shape)


def _projected(scaled: Tensor, ends: tuple[Tensor, Tensor], norm: Norm) -> Tensor:
    """Project onto the unit ball and a box that holds 0; values in the last axis."""
    low, high = ends
    shrink = _SHRINKS[norm]

    def at(share: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(shrink(scaled, share), low), high)

    inner = scaled.new_zeros(*scaled.shape[:-1], 1)
    outer = torch.ones_like(inner)
    for _ in range(_BISECTIONS):
        middle = (inner + outer) / 2
        fits = _length(at(middle), norm).unsqueeze(-1) <= 1
        inner, outer = torch.where(fits, middle, inner), torch.where(fits, outer, middle)
    whole = at(torch.ones_like(inner))
    found = torch.where(_length(whole, norm).unsqueeze(-1) <= 1, whole, at(inner))
    # What bisection left over: 0 and every point of the box have the way between them in it.
    return found / _length(found, norm).unsqueeze(-1).clamp(min=1)


def _scaled_down(u: Tensor, share: Tensor) -> Tensor:
    return u * share


def _soft(u: Tensor, share: Tensor) -> Tensor:
    threshold = (1 - share) * u.abs().amax(-1, keepdim=True)
    return u.sign() * (u.abs() - threshold).clamp(min=0)


_SHRINKS: Mapping[Norm, Callable[[Tensor, Tensor], Tensor]] = {
    Norm.TWO: _scaled_down,
    Norm.ONE: _soft,
}
"""How far a point is kept, from a share of 0, the centre, to 1, the point itself."""


def _length(u: Tensor, norm: Norm) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(u, 2 if norm is Norm.TWO else 1, dim=-1)
    return length
