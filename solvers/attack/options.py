"""What the attack is told, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import InvalidInputError

__all__ = ["AttackOptions", "AttackResult"]


@dataclass(frozen=True)
class AttackOptions:
    """How hard to try.

    Attributes:
        rounds: Each takes `growth` times as many restarts and samples as the one before, for the
            cases that are still open. 0 tries only the centre and two corners of each region.
        restarts: Descents per case in the first round.
        samples: Random points per case that starts are chosen from in the first round.
        growth: From round to round.
        steps: Gradient steps per descent.
        diversify_steps: Steps in front of those, towards random outputs, for half the descents.
        step_fraction: First step, as a share of the width of the region.
        final_fraction: Last step, likewise; steps shrink geometrically.
        clauses: How many clauses of a case, the most promising ones, are aimed at.
        stop_at_first: Return once one case is falsified, as suits cases of one problem.
        seed: Of all random numbers.
        memory_bytes: For activations of the points that run at once.

    Raises:
        InvalidInputError: A number is out of range.
    """

    rounds: int = 1
    restarts: int = 20
    samples: int = 60
    growth: int = 5
    steps: int = 50
    diversify_steps: int = 5
    step_fraction: float = 0.2
    final_fraction: float = 0.005
    clauses: int = 64
    stop_at_first: bool = False
    seed: int = 0
    memory_bytes: int = 256 * 2**20

    def __post_init__(self) -> None:
        for name in ("rounds", "samples", "steps", "diversify_steps"):
            if getattr(self, name) < 0:
                raise InvalidInputError(f"{name} is {getattr(self, name)}; it cannot be negative")
        for name in ("restarts", "growth", "clauses", "memory_bytes"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"{name} is {getattr(self, name)}; it must be positive")
        if not 0.0 < self.final_fraction <= self.step_fraction <= 1.0:
            raise InvalidInputError(
                f"steps go from {self.step_fraction} to {self.final_fraction} of the width; "
                "they must shrink and lie above 0 and at most at 1"
            )


@dataclass(frozen=True, eq=False)
class AttackResult:
    """The best input found for one case.

    Attributes:
        margin: Of the specification at the candidate, computed in float64: an upper bound on the
            worst-case margin. Infinite if nothing was tried.
        candidate: float32, shape `input_shape`, inside the region; None if nothing was tried.
            Whether it is a counterexample is for `solvers.replay` to say, in float32.
    """

    margin: float
    candidate: NDArray[np.float32] | None
