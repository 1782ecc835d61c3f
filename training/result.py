"""What a training run says while it runs, and what it leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a process that only reads results must not load torch
    from models.network import Network

__all__ = ["EpochMetrics", "StopReason", "TrainingEvent", "TrainingResult"]


class StopReason(StrEnum):
    """Why a training run ended."""

    COMPLETED = "completed"
    EARLY = "early-stop"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class EpochMetrics:
    """An epoch, measured on the validation set at the full epsilon.

    Attributes:
        epoch: From 1.
        epsilon, kappa: In training, at the end of the epoch.
        learning_rate: At the end of the epoch.
        loss: Parts of the training loss by name, each the mean over the epoch's inputs;
            `total` is their weighted sum.
        clean_accuracy, empirical_accuracy, certified_accuracy: Shares in [0, 1].
        mean_bound: Mean lower bound of the worst-case margin.
        mean_gap: Mean of the least margin found by the attack, minus the bound.
        unstable: Mean number of unstable neurons per input, by node.
        seconds: Training and measuring this epoch.
    """

    epoch: int
    epsilon: float
    kappa: float
    learning_rate: float
    loss: Mapping[str, float]
    clean_accuracy: float
    empirical_accuracy: float
    certified_accuracy: float
    mean_bound: float
    mean_gap: float
    unstable: Mapping[str, float]
    seconds: float

    @property
    def unstable_total(self) -> float:
        """Unstable neurons of all layers, mean per input."""
        return sum(self.unstable.values())

    def to_json(self) -> dict[str, Any]:
        """Return the epoch as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class TrainingEvent:
    """One step of the optimiser, or the end of an epoch.

    Attributes:
        step: Steps done, from 1.
        steps: In all.
        epoch: From 1.
        epochs: In all.
        epsilon, kappa: Of this step.
        loss: Parts of the loss by name, of this step's batch; `total` is their weighted sum.
        metrics: At the end of an epoch, else None.
    """

    step: int
    steps: int
    epoch: int
    epochs: int
    epsilon: float
    kappa: float
    loss: Mapping[str, float]
    metrics: EpochMetrics | None = None


@dataclass(frozen=True)
class TrainingResult:
    """A trained network and how it came about.

    Attributes:
        network: With the parameters of the best epoch, on the CPU.
        history: One entry per finished epoch.
        best_epoch: From 1; 0 where no epoch was finished and the start is returned.
        stopped: Why it ended.
        seconds: In all, over every run that continued the same checkpoint.
        settings: What a reader needs to repeat it: options, data sets, software.
    """

    network: Network
    history: tuple[EpochMetrics, ...]
    best_epoch: int
    stopped: StopReason
    seconds: float
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def best(self) -> EpochMetrics | None:
        """Metrics of the best epoch, if one was finished."""
        return self.history[self.best_epoch - 1] if self.best_epoch else None

    def to_json(self) -> dict[str, Any]:
        """Return everything but the network as plain values."""
        return {
            "best_epoch": self.best_epoch,
            "stopped": self.stopped.value,
            "seconds": self.seconds,
            "settings": dict(self.settings),
            "history": [entry.to_json() for entry in self.history],
        }
