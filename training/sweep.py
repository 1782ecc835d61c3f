"""What a sweep over the weights of the regularizers is asked, tells and finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from models.errors import InvalidInputError
from training.options import TrainingOptions
from training.result import TrainingEvent

__all__ = ["SweepEvent", "SweepOptions", "SweepResult", "SweepTrial", "pareto_front"]


@dataclass(frozen=True)
class SweepOptions:
    """What to search.

    Attributes:
        trials: How many weights to try, the plain training without regularizers included.
        seed: Of the proposals; trainings keep the seed of their own options, so that all of them
            see the same data in the same order.
        feasibility, slack: Smallest and largest λ and γ, searched on a logarithmic scale.
        folder: Where the sweep is kept: its trials, their networks and the checkpoint of an
            unfinished one. A folder that holds a sweep of the same settings is gone on with. None
            keeps everything in memory.

    Raises:
        InvalidInputError: A range is empty, or a number is out of range.
    """

    trials: int = 20
    seed: int = 0
    feasibility: tuple[float, float] = (1e-3, 10.0)
    slack: tuple[float, float] = (1e-3, 10.0)
    folder: Path | None = None

    def __post_init__(self) -> None:
        if self.trials < 2:
            raise InvalidInputError(f"{self.trials} trials compare nothing; give 2 or more")
        if self.seed < 0:
            raise InvalidInputError(f"the seed of the sweep is {self.seed}; give 0 or more")
        for name in ("feasibility", "slack"):
            low, high = getattr(self, name)
            if not 0 < low <= high < float("inf"):
                raise InvalidInputError(
                    f"the range of the {name} weight is {low:g} to {high:g}; "
                    "give finite numbers above 0, the smaller one first"
                )


@dataclass(frozen=True)
class SweepTrial:
    """One training of a sweep.

    Attributes:
        number: From 0, in the order in which they ended; 0 is the plain training.
        feasibility_weight, slack_weight: λ and γ.
        clean_accuracy, certified_accuracy: On the validation set, of the best epoch; None where
            the training diverged.
        figures: `empirical_accuracy`, `mean_gap`, `unstable`, `best_epoch`, `seconds`.
        reason: Why it has no accuracies.
        network: File name of the trained network in the sweep's folder, if it has one.
    """

    number: int
    feasibility_weight: float
    slack_weight: float
    clean_accuracy: float | None
    certified_accuracy: float | None
    figures: Mapping[str, float]
    reason: str | None = None
    network: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields, figures beside the others."""
        fields = asdict(self)
        figures: dict[str, float] = fields.pop("figures")
        return {**fields, **figures}


@dataclass(frozen=True)
class SweepResult:
    """What a sweep found.

    Attributes:
        trials: In the order in which they ended.
        front: Numbers of the trials that no other beats in both accuracies, by clean accuracy.
        complete: False where the sweep was cancelled.
    """

    trials: tuple[SweepTrial, ...]
    front: tuple[int, ...]
    complete: bool

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "trials": [trial.to_json() for trial in self.trials],
            "front": list(self.front),
            "complete": self.complete,
        }


@dataclass(frozen=True)
class SweepEvent:
    """A step of a trial's training.

    Attributes:
        trial: From 1.
        trials: In all.
        options: Of this trial.
        event: Of its training.
    """

    trial: int
    trials: int
    options: TrainingOptions
    event: TrainingEvent


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the positions of points that no other beats, by growing first coordinate.

    A point beats another if it is at least as large in both coordinates and larger in one; equal
    points do not beat each other.
    """
    order = sorted(range(len(points)), key=lambda i: (-points[i][0], -points[i][1]))
    front: list[int] = []
    best = -float("inf")
    for i in order:
        second = points[i][1]
        if second > best or (front and points[front[-1]] == points[i]):
            front.append(i)
            best = second
    return front[::-1]
