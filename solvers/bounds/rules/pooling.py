"""The rule of a maximum over windows."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from models.operators import MaxPool
from models.parameters import Parameters
from solvers.bounds.interval import Interval
from solvers.bounds.relaxation import Relaxation, SelectionRelaxation
from solvers.bounds.rules.base import NonlinearRule, Slopes

__all__ = ["MaxPoolRule"]

# ruff: noqa: ARG002  (a maximum has neither parameters nor free slopes)


class MaxPoolRule(NonlinearRule[MaxPool]):
    """max over a window: below by one of its values, above by that value if none can beat it."""

    mixes = True

    def relax(
        self,
        operator: MaxPool,
        inputs: Sequence[Interval],
        parameters: Parameters,
        slopes: Slopes,
    ) -> Relaxation:
        """Select in every window the value with the largest lower bound."""
        (bounds,) = inputs
        batch = bounds.lower.shape[0]
        shape = tuple(bounds.lower.shape[1:])
        # Even a value of which nothing is known comes before padding.
        known = bounds.lower.clamp(min=torch.finfo(bounds.lower.dtype).min)
        lowers = operator.windows(known, float("-inf"))
        uppers = operator.windows(bounds.upper, float("-inf"))
        numbers = torch.arange(bounds.lower[0].numel(), device=bounds.lower.device)
        # float64 holds every index exactly, and windows() pads floats.
        places = operator.windows(numbers.to(torch.float64).reshape(1, *shape), -1.0).long()
        best, choice = lowers.max(dim=-1, keepdim=True)
        rivals = uppers.scatter(-1, choice, float("-inf")).amax(dim=-1)
        selected = places.expand(batch, *places.shape[1:]).gather(-1, choice)
        return SelectionRelaxation(
            selected.reshape(batch, -1),
            (rivals <= best.squeeze(-1)).reshape(batch, -1),
            uppers.amax(dim=-1).reshape(batch, -1),
            shape,
        )
