"""What changes during a run, apart from tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from training.result import EpochMetrics

__all__ = ["RunState"]


@dataclass
class RunState:
    """Counters, sums and history of a run.

    Attributes:
        step: Steps done.
        sums: Of each part of the loss over the inputs of the epoch at hand.
        counts: Over how many inputs, by part.
        history: Of finished epochs.
        best_epoch: From 1; 0 before the first.
        seconds: Spent by earlier runs of the same checkpoint, and in this one.
        epoch_seconds: Spent on the epoch at hand.
    """

    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    history: list[EpochMetrics] = field(default_factory=list)
    best_epoch: int = 0
    seconds: float = 0.0
    epoch_seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the state as plain values."""
        values = {key: value for key, value in vars(self).items() if key != "history"}
        return {**values, "history": [entry.to_json() for entry in self.history]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunState:
        """Return the state that `to_json` wrote."""
        history = [EpochMetrics(**entry) for entry in values["history"]]
        return cls(**{**values, "history": history})

    def add(self, parts: Mapping[str, float], inputs: int) -> None:
        """Take the loss of a batch into the epoch's means."""
        for name, value in parts.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * inputs
            self.counts[name] = self.counts.get(name, 0) + inputs

    def means(self) -> dict[str, float]:
        """Return the epoch's mean of each part."""
        return {name: total / self.counts[name] for name, total in self.sums.items()}
