"""What the rules of affine operators share."""

from __future__ import annotations

import torch
from torch import Tensor

from models.parameters import ParameterRef, Parameters
from solvers.bounds.interval import ROUNDING_UNITS, Interval

__all__ = ["around", "channel_sums", "resolve"]


def resolve(reference: ParameterRef | None, parameters: Parameters) -> Tensor | None:
    """Return the tensor that an operator uses, or None where it has none."""
    return None if reference is None else reference.resolve(parameters)


def around(center: Tensor, radius: Tensor) -> Interval:
    """Return centre ± radius, widened by the rounding of the sum and of an added bias."""
    if center.dtype == torch.float64:
        radius = radius + ROUNDING_UNITS * torch.finfo(torch.float64).eps * center.abs()
    return Interval(center - radius, center + radius)


def channel_sums(coefficients: Tensor) -> Tensor:
    """Sum everything but rows and channels: `(rows, n, channels, …)` to `(rows, channels)`."""
    sums = coefficients.flatten(3).sum(-1) if coefficients.dim() > 3 else coefficients
    return sums.sum(1)
