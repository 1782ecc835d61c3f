"""Which weighted sum of a clause's rows has the best bound.

A clause, an AND of rows, fails in a box if in every point some row is positive, though perhaps no
single row is positive everywhere. Any weighted sum of its rows with weights that are at least 0
and add up to 1 is at most its margin, so a positive bound of the sum proves it. Of linear lower
bounds of the rows, the best weights are the dual of a small linear program,
min over x of max over rows of (A x + b); here they are approached by multiplicative updates, which
need nothing but products and suit thousands of boxes at once.

Source of the updates: Kivinen and Warmuth 1997 (exponentiated gradient).
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["best_weights"]

_STEPS = 24
_RATE = 4.0


def best_weights(
    slopes: Tensor, center: Tensor, radius: Tensor, own: Tensor
) -> tuple[Tensor, Tensor]:
    """Return weights of rows, approximately the best, and what they gain.

    Args:
        slopes: Of linear lower bounds of the rows, shape `(boxes, rows, inputs)`.
        center: Values of these bounds at the boxes' centres, shape `(boxes, rows)`.
        radius: Half widths of the boxes, shape `(boxes, inputs)`.
        own: Rows that may have weight, at least one per box, shape `(boxes, rows)`.

    Returns:
        The weights, shape `(boxes, rows)`: at least 0, 0 where a row may have none, of sum 1 up to
        rounding. And by how much the least value of the weighted sum exceeds that of the best row
        alone, relative to the latter, shape `(boxes,)`.
    """
    scaled = slopes * radius.unsqueeze(1)
    usable = own & center.isfinite() & scaled.isfinite().all(2)
    scaled = scaled.masked_fill(~usable.unsqueeze(-1), 0.0)
    center = center.masked_fill(~usable, 0.0)
    single = (center - scaled.abs().sum(2)).masked_fill(~usable, -torch.inf)
    best_value, first = single.max(1)
    best = torch.zeros_like(center).scatter(1, first.unsqueeze(1), 1.0)
    weights = usable.to(center.dtype)
    weights = weights / weights.sum(1, keepdim=True).clamp(min=1.0)
    spread = scaled.abs().sum(2).amax(1, keepdim=True).clamp(min=torch.finfo(center.dtype).tiny)
    for step in range(_STEPS):
        mixed = torch.bmm(weights.unsqueeze(1), scaled).squeeze(1)
        corner = -torch.sign(mixed)
        reached = center + torch.bmm(scaled, corner.unsqueeze(-1)).squeeze(-1)
        value = (weights * reached).sum(1)
        better = value > best_value
        best_value = torch.where(better, value, best_value)
        best = torch.where(better.unsqueeze(1), weights, best)
        rate = _RATE / (1.0 + step) ** 0.5
        # Relative to the best row, so that no exponent overflows.
        exponent = rate * reached / spread
        exponent = exponent - exponent.masked_fill(~usable, -torch.inf).amax(1, keepdim=True)
        grown = weights * exponent.clamp(max=0.0).exp()
        weights = grown / grown.sum(1, keepdim=True).clamp(min=torch.finfo(center.dtype).tiny)
    alone = single.amax(1)
    gain = (best_value - alone) / alone.abs().clamp(min=torch.finfo(alone.dtype).tiny)
    return best, gain.nan_to_num(nan=0.0)
