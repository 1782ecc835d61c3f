"""What makes an epoch better than another."""

from __future__ import annotations

from collections.abc import Mapping

from training.methods import TrainingMethod
from training.result import EpochMetrics

__all__ = ["is_better"]

_CERTIFIED_FIRST = ("certified_accuracy", "empirical_accuracy", "clean_accuracy")
_ORDER: Mapping[TrainingMethod, tuple[str, ...]] = {
    TrainingMethod.STANDARD: ("clean_accuracy", "empirical_accuracy", "certified_accuracy"),
    TrainingMethod.PGD: ("empirical_accuracy", "clean_accuracy", "certified_accuracy"),
}


def is_better(one: EpochMetrics, other: EpochMetrics, method: TrainingMethod) -> bool:
    """Return whether the first epoch is strictly better: by what the method is for, then the rest.

    Args:
        one: An epoch.
        other: Another one.
        method: Certified accuracy decides, but for `standard` clean, for `pgd` empirical accuracy.
    """
    names = _ORDER.get(method, _CERTIFIED_FIRST)
    return [getattr(one, name) for name in names] > [getattr(other, name) for name in names]
