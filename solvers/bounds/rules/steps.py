"""Rules of functions that jump: exact where the interval holds no jump, constants elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from models.operators import Ceil, Floor, Operator, Positive, Round, Sign
from models.parameters import Parameters
from solvers.bounds.interval import Interval
from solvers.bounds.relaxation import ElementwiseRelaxation, Relaxation
from solvers.bounds.rules.base import NonlinearRule, Slopes

__all__ = ["StepRule", "ceil_rule", "floor_rule", "positive_rule", "round_rule", "sign_rule"]

# ruff: noqa: ARG002  (steps have neither parameters nor free slopes)

StepT = TypeVar("StepT", bound=Operator)

_ROUNDING_UNITS = float(2**12)
"""Intervals are widened by so many units: at a jump, an error of rounding would be one of 1."""


@dataclass(frozen=True)
class StepRule(NonlinearRule[StepT]):
    """A function that never falls and stays within a strip along a line.

    Attributes:
        strip: Least and greatest f(x) − x, or None where there is no such strip.
    """

    # An interval that no longer holds a jump needs no more rows.
    settles = True

    strip: tuple[float, float] | None = None

    def interval(
        self, operator: StepT, inputs: Sequence[Interval], parameters: Parameters
    ) -> Interval:
        """Apply to both ends, moved outwards by rounding."""
        return _ends(operator, inputs[0])

    def relax(
        self,
        operator: StepT,
        inputs: Sequence[Interval],
        parameters: Parameters,
        slopes: Slopes,
    ) -> Relaxation:
        """Return constants, or the strip's edges where they are closer at the midpoint."""
        ends = _ends(operator, inputs[0])
        lower, upper = ends.lower.unsqueeze(1), ends.upper.unsqueeze(1)
        flat = torch.zeros_like(lower)
        if self.strip is None:
            return ElementwiseRelaxation(flat, flat, lower, upper)
        least, most = self.strip
        center = inputs[0].center.unsqueeze(1)
        along_lower, along_upper = center + least > lower, center + most < upper
        return ElementwiseRelaxation(
            along_lower.to(lower.dtype),
            along_upper.to(lower.dtype),
            torch.where(along_lower, flat + least, lower),
            torch.where(along_upper, flat + most, upper),
        )

    def undecided(self, operator: StepT, bounds: Interval, position: int = 0) -> Tensor:
        """Return the inputs whose interval holds a jump."""
        ends = _ends(operator, bounds)
        return ends.upper > ends.lower


def _ends(operator: Operator, bounds: Interval) -> Interval:
    unit = _ROUNDING_UNITS * torch.finfo(bounds.lower.dtype).eps
    # Both ends by the larger of the two: sums that cancel are as uncertain as their terms.
    spread = unit * torch.maximum(bounds.lower.abs(), bounds.upper.abs()).clamp(min=1)
    return Interval(
        operator.forward([bounds.lower - spread], {}), operator.forward([bounds.upper + spread], {})
    )


sign_rule = StepRule[Sign]()
positive_rule = StepRule[Positive]()
floor_rule = StepRule[Floor]((-1.0, 0.0))
ceil_rule = StepRule[Ceil]((0.0, 1.0))
round_rule = StepRule[Round]((-0.5, 0.5))
