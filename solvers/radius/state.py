"""The bracket of one input while it is searched, and what may narrow it."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from solvers.balls import Norm
from solvers.float32_region import runnable_box
from solvers.problem import Case, Specification, norm_ball
from solvers.replay import Runtime, confirm
from solvers.results import Counterexample

__all__ = ["RadiusState"]

_LOG = logging.getLogger(__name__)

_STEPS = 24
"""Of the search between an input and a counterexample for one that is nearer."""
_OUTWARDS = (0.0, 1e-15, 1e-12, 1e-9, 1e-7, 1e-6)
"""Shares by which a measured distance is enlarged, in turn, until its ball holds the input."""


@dataclass(eq=False)
class RadiusState:
    """Knowledge about one input, which only ever improves.

    Attributes:
        index, label, predicted: As in `RadiusItem`.
        x: The raw input, shape `input_shape`.
        specification: What counts as another answer.
        norm: How distances are measured.
        valid_range: Of raw inputs, or None.
        limit: Largest radius to ask about.
        lower, upper, counterexample: As in `RadiusItem`.
        misclassified: Whether the input itself is answered wrongly.
        undecided: Radii at which an exact decision ran out of time or means, ascending.
        contradiction: Set where a counterexample was found within what was proved.
    """

    index: int
    label: int
    predicted: int
    x: NDArray[np.float32]
    specification: Specification
    norm: Norm
    valid_range: tuple[float, float] | None
    limit: float
    lower: float = 0.0
    upper: float = math.inf
    counterexample: Counterexample | None = None
    misclassified: bool = False
    undecided: list[float] = field(default_factory=list)
    seconds: float = 0.0
    decisions: int = 0
    reason: str | None = None
    contradiction: str | None = None

    def case(self, epsilon: float) -> Case:
        """Return the question at a radius."""
        region = norm_ball(self.x, epsilon, self.norm, valid_range=self.valid_range)
        return Case(region, self.specification)

    def prove(self, epsilon: float) -> None:
        """Take in that nothing within a radius changes the answer."""
        self.lower = max(self.lower, epsilon)
        self._cross_check()

    def offer(self, runtime: Runtime, candidate: NDArray[np.floating] | None) -> bool:
        """Try an input: if it is a counterexample, its distance bounds the radius.

        Args:
            runtime: Has to confirm it, in the float32 that is deployed.
            candidate: Shape `input_shape`, or None.

        Returns:
            Whether it is a counterexample, nearer than the one before.
        """
        if candidate is None:
            return False
        x = candidate.astype(np.float32)
        near, found = self._confirmed(runtime, x)
        if found is None or near >= self.upper:
            return False
        self.upper, self.counterexample = near, found
        self._cross_check()
        return True

    def approach(self, runtime: Runtime) -> None:
        """Look on the way from the input to the counterexample for one that is nearer."""
        if self.counterexample is None:
            return
        near, far = 0.0, 1.0
        center = self.x.astype(np.float64)
        step = self.counterexample.x.astype(np.float64) - center
        for _ in range(_STEPS):
            share = 0.5 * (near + far)
            if self.offer(runtime, center + share * step):
                far = share
            else:
                near = share

    def distance(self, x: NDArray[np.float32]) -> float:
        """Return the distance of an input in float64."""
        change = np.abs(x.astype(np.float64) - self.x.astype(np.float64)).ravel()
        if self.norm is Norm.INF:
            return float(change.max(initial=0.0))
        return float(np.linalg.norm(change) if self.norm is Norm.TWO else change.sum())

    def gap(self) -> tuple[float, float]:
        """Return the part of the bracket that is worth a decision next.

        Where decisions in the middle did not come to an end, the widest of the parts between them,
        on a scale of ratios, is next.
        """
        top = min(self.upper, self.limit)
        floor = max(self.lower, 1e-3 * top)
        marks = [floor, *(e for e in self.undecided if floor < e < top), top]
        return max(pairwise(marks), key=lambda part: part[1] / part[0])

    def _confirmed(
        self, runtime: Runtime, x: NDArray[np.float32]
    ) -> tuple[float, Counterexample | None]:
        """Return a radius whose ball holds an input, and what the runtime says of it there."""
        measured = self.distance(x)
        for share in _OUTWARDS:
            epsilon = measured * (1.0 + share)
            region = self.case(epsilon).region
            if epsilon <= self.limit and runnable_box(region).contains(x):
                return epsilon, confirm(runtime, region, self.specification, x)
        return math.inf, None

    def _cross_check(self) -> None:
        if self.lower >= self.upper and self.contradiction is None:
            self.contradiction = (
                f"radius {self.lower:g} was proved, but a counterexample lies at {self.upper:g}; "
                "please report this network and input"
            )
            _LOG.error("radii contradict each other: %s", self.contradiction)
