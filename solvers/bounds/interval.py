"""Elementwise lower and upper bounds, batched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.errors import ShapeError
from solvers.bounds.gradients import halves
from solvers.problem import Box

__all__ = ["ROUNDING_UNITS", "Interval", "boxes_to_interval"]

ROUNDING_UNITS = 64.0
"""Float64 bounds give up this many units of rounding of everything that was added up."""


@dataclass(frozen=True)
class Interval:
    """Sound elementwise bounds.

    Attributes:
        lower, upper: Shape `(batch, *shape)` each.
    """

    lower: Tensor
    upper: Tensor

    def __post_init__(self) -> None:
        if self.lower.shape != self.upper.shape:
            raise ShapeError(
                f"bounds have shapes {tuple(self.lower.shape)} and {tuple(self.upper.shape)}"
            )

    @property
    def batch(self) -> int:
        """Number of examples."""
        return int(self.lower.shape[0])

    @property
    def center(self) -> Tensor:
        """Midpoint, shape `(batch, *shape)`."""
        return (self.lower + self.upper) / 2

    @property
    def radius(self) -> Tensor:
        """Half the width, shape `(batch, *shape)`."""
        return (self.upper - self.lower) / 2

    @property
    def careful_radius(self) -> Tensor:
        """The second of `careful_halves`."""
        return self.careful_halves()[1]

    def careful_halves(self) -> tuple[Tensor, Tensor]:
        """Return midpoint and half the width, widened in float64 by what rounding may cost.

        Multiplied by |W| like the radius, the extra term exceeds the rounding error of W · centre
        and of the radius itself by an order of magnitude. In float32 nothing is proved, and
        nothing is given up.
        """
        center, radius = halves(self.lower, self.upper)
        if self.lower.dtype != torch.float64:
            return center, radius
        unit = ROUNDING_UNITS * torch.finfo(torch.float64).eps
        return center, radius + unit * (center.abs() + radius)

    @property
    def unstable(self) -> Tensor:
        """Where zero lies strictly inside, a mask of shape `(batch, *shape)`."""
        return (self.lower < 0) & (self.upper > 0)

    def __getitem__(self, index: slice | Tensor) -> Interval:
        """Return some examples of the batch."""
        return Interval(self.lower[index], self.upper[index])

    def put(self, index: Tensor, other: Interval) -> Interval:
        """Return the bounds with those of some examples replaced.

        Args:
            index: Positions in the batch.
            other: As many examples.
        """
        return Interval(
            self.lower.index_copy(0, index, other.lower),
            self.upper.index_copy(0, index, other.upper),
        )

    def detach(self) -> Interval:
        """Return the bounds cut off from the autograd graph."""
        return Interval(self.lower.detach(), self.upper.detach())

    def finite_or_open(self) -> Interval:
        """Return the bounds with ∓∞ wherever overflow left infinity or not a number.

        A comparison with not a number is false, so that it would pass for a stable neuron.
        """
        inf = torch.inf
        # One sum tells the usual case, in which nothing has to be written anew.
        if bool((self.lower.detach().sum() - self.upper.detach().sum()).isfinite()):
            return self
        return Interval(
            self.lower.nan_to_num(nan=-inf, posinf=-inf, neginf=-inf),
            self.upper.nan_to_num(nan=inf, posinf=inf, neginf=inf),
        )

    def intersect(self, other: Interval) -> Interval:
        """Return the intersection of two sound bounds.

        Where rounding makes the two disagree, so that the intersection would be empty, the bounds
        that cross are swapped: the result then contains both ends and stays sound. Not a number
        gives way to the other bound.
        """
        lower = torch.fmax(self.lower, other.lower)
        upper = torch.fmin(self.upper, other.upper)
        return Interval(torch.minimum(lower, upper), torch.maximum(lower, upper))


def boxes_to_interval(
    boxes: Sequence[Box], dtype: torch.dtype, device: torch.device | str = "cpu"
) -> Interval:
    """Stack boxes into a batch, rounding outward where the dtype is narrower than float64.

    Args:
        boxes: Regions of one shape.
        dtype: `torch.float64` or `torch.float32`.
        device: Where the bounds go.

    Returns:
        Bounds of shape `(len(boxes), *shape)`.
    """
    lower = np.stack([box.lower for box in boxes])
    upper = np.stack([box.upper for box in boxes])
    if dtype == torch.float32:
        lower32, upper32 = lower.astype(np.float32), upper.astype(np.float32)
        infinity = np.float32(np.inf)
        lower = np.where(lower32 > lower, np.nextafter(lower32, -infinity), lower32)
        upper = np.where(upper32 < upper, np.nextafter(upper32, infinity), upper32)
    return Interval(
        torch.from_numpy(lower).to(dtype=dtype, device=device),
        torch.from_numpy(upper).to(dtype=dtype, device=device),
    )
