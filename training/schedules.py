"""What changes over a run: epsilon, kappa, the regularizers' weights, the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from training.options import LearningRateSchedule, OptimiserOptions, TrainingOptions

__all__ = ["Stage", "learning_rate", "ramp_ends", "stage_at"]


@dataclass(frozen=True)
class Stage:
    """Where a run stands at one step.

    Attributes:
        epsilon: Radius.
        kappa: Weight of the robust loss.
        feasibility, slack: Weights of the regularizers.
    """

    epsilon: float
    kappa: float
    feasibility: float
    slack: float


def stage_at(step: int, steps: int, options: TrainingOptions) -> Stage:
    """Return the stage of a step, counted from 0, of so many.

    Epsilon grows linearly over the ramp and reaches its final value with the ramp's last step;
    kappa and the weights of the regularizers follow it.
    """
    share = _progress(step, steps, options)
    ramp = options.ramp
    final = options.epsilon * ramp.epsilon_factor
    kappa = ramp.kappa_start + share * (ramp.kappa - ramp.kappa_start) if share else 0.0
    return Stage(
        epsilon=share * final,
        kappa=kappa,
        feasibility=share * options.feasibility_weight,
        slack=share * options.slack_weight,
    )


def ramp_ends(steps: int, options: TrainingOptions) -> int:
    """Return the first step, from 0, at which everything has its final value."""
    return next((step for step in range(steps) if _progress(step, steps, options) >= 1), steps)


def _progress(step: int, steps: int, options: TrainingOptions) -> float:
    """Return how far the ramp has come, from 0 to 1."""
    first = options.ramp.warm_up * steps
    length = options.ramp.ramp * steps
    if step < first:
        return 0.0
    return 1.0 if length <= 0 else min(1.0, (step + 1 - first) / length)


def learning_rate(step: int, steps: int, options: OptimiserOptions) -> float:
    """Return the learning rate of a step, counted from 0."""
    return options.learning_rate * _FACTORS[options.schedule](step / steps, options)


def _constant(_share: float, _options: OptimiserOptions) -> float:
    return 1.0


def _steps(share: float, options: OptimiserOptions) -> float:
    passed = sum(1 for milestone in options.milestones if share >= milestone)
    return float(options.decay**passed)


def _cosine(share: float, _options: OptimiserOptions) -> float:
    return 0.5 * (1 + math.cos(math.pi * share))


def _linear(share: float, _options: OptimiserOptions) -> float:
    return 1 - share


_FACTORS: Mapping[LearningRateSchedule, Callable[[float, OptimiserOptions], float]] = {
    LearningRateSchedule.CONSTANT: _constant,
    LearningRateSchedule.STEP: _steps,
    LearningRateSchedule.COSINE: _cosine,
    LearningRateSchedule.LINEAR: _linear,
}
