"""Boxes around inputs, and the margins of their labels."""

from __future__ import annotations

import torch
from torch import Tensor

from solvers.bounds import Interval, Margins

__all__ = ["box_around", "label_margins"]


def box_around(
    x: Tensor, radius: float | Tensor, valid_range: tuple[float, float] | None
) -> Interval:
    """Return the L∞ balls around inputs, cut to the valid range.

    Args:
        x: Shape `(batch, *input_shape)`.
        radius: In raw input units.
        valid_range: Smallest and largest valid input; None for no limit.
    """
    lower, upper = x - radius, x + radius
    if valid_range is None:
        return Interval(lower, upper)
    return Interval(lower.clamp(min=valid_range[0]), upper.clamp(max=valid_range[1]))


def label_margins(y: Tensor, classes: int, dtype: torch.dtype) -> Margins:
    """Return the margins of each label against every other class, in the order of the classes.

    Args:
        y: Labels, shape `(batch,)`.
        classes: Number of outputs.
        dtype: Of the result.

    Returns:
        Rows logit_y − logit_t, shape `(batch, classes − 1, classes)`.
    """
    unit = torch.eye(classes, dtype=dtype, device=y.device)
    others = torch.arange(classes - 1, device=y.device).expand(len(y), -1)
    others = others + (others >= y.unsqueeze(1)).long()
    matrix = unit[y].unsqueeze(1) - unit[others]
    return Margins(matrix, matrix.new_zeros(matrix.shape[:2]))
