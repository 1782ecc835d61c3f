"""What triangles of single neurons cost margins, also by way of the bounds behind them.

A neuron of an early layer hardly touches a margin's own relaxation; what it loosens are bounds of
later neurons, and these loosen the margin. Every bound is the value of a relaxation at its own
minimum z*, so that its derivative in the interval of a neuron before it is that of the chord above
max(0, z) at z*. Going through layers from the last to the first adds up both ways.

Source: Henriksen and Lomuscio 2021 (DeepSplit), section 4, estimate such indirect effects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from solvers.search.neurons.branching import losses
from solvers.search.neurons.crossing import Terms, Traces
from solvers.search.neurons.layout import Layout

__all__ = ["Sensitivity", "influences"]


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """How lower bounds of some rows depend on the intervals of values before them.

    Attributes:
        cost: What the triangle of each value costs a row at most, shape `(rows, values)`.
        lower: What a row gains for each unit that a value's lower bound rises, the same shape.
        upper: What it gains for each unit that an upper bound falls, the same shape.
    """

    cost: Tensor
    lower: Tensor
    upper: Tensor

    @classmethod
    def of(cls, layout: Layout, terms: Terms, traces: Traces, *, before: int) -> Sensitivity:
        """Return what a pass through ReLUs has left behind.

        Args:
            layout: Numbers the values.
            terms: Of the pass.
            traces: Of the same rows.
            before: How many values come before the rows.
        """
        low, high = terms.lower[:, :before], terms.upper[:, :before]
        open_ = (low < 0) & (high > 0)
        width = torch.where(open_, high - low, torch.ones_like(low))
        place = torch.maximum(torch.minimum(traces.place[:, :before], high), low)
        pull = traces.pull[:, :before].clamp(max=0) * open_ / width.square()
        _, reach = losses(layout, terms, traces)
        return cls(
            (reach[:, :before].clamp(min=0) * open_).nan_to_num(),
            (pull * high * (place - high)).nan_to_num(),
            (pull * low * (place - low)).nan_to_num(),
        )


def influences(
    size: int,
    margins: tuple[Tensor, Sensitivity],
    inner: Sequence[tuple[Tensor, Sensitivity]],
    domains: int,
) -> tuple[Tensor, Tensor]:
    """Return what triangles cost all margins together, to first order.

    Args:
        size: Number of values.
        margins: The domain of each open margin, shape `(rows,)`, and what it depends on.
        inner: The same for bounds of values, first layers first: rows as of `both_sides`.
        domains: How many there are.

    Returns:
        All of it, and what is left without bounds behind, shape `(domains, size)` each.
    """
    rows, sensed = margins
    cost, lower, upper = (
        part.new_zeros(domains, size).index_add_(0, rows, part)
        for part in (sensed.cost, sensed.lower, sensed.upper)
    )
    own = cost.clone()
    for places, sensed in reversed(inner):
        domain, value, side = places.unbind(1)
        weight = torch.where(side == 0, lower[domain, value], upper[domain, value]).unsqueeze(1)
        before = slice(0, sensed.cost.shape[1])
        cost[:, before].index_add_(0, domain, weight * sensed.cost)
        lower[:, before].index_add_(0, domain, weight * sensed.lower)
        upper[:, before].index_add_(0, domain, weight * sensed.upper)
    return cost, own
