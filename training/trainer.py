"""The training loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from models.data import Dataset
from models.network import Network
from solvers.budget import never_cancelled
from training.options import TrainingOptions
from training.result import TrainingEvent, TrainingResult

__all__ = ["train"]


def _silent(_event: TrainingEvent) -> None:
    """Take no notice."""


def train(
    network: Network,
    training: Dataset,
    validation: Dataset,
    options: TrainingOptions,
    *,
    checkpoint: Path | None = None,
    cancelled: Callable[[], bool] = never_cancelled,
    progress: Callable[[TrainingEvent], None] = _silent,
) -> TrainingResult:
    """Train a network and return it with the parameters of its best epoch.

    Args:
        network: Imported from ONNX, an upload or a named architecture.
        training: Raw inputs with labels.
        validation: The same, for choosing the best epoch.
        options: What to train by.
        checkpoint: A folder; a run that finds a checkpoint of the same settings there goes on
            from it, exactly as if it had never stopped. None for no checkpoints.
        cancelled: Asked before every step; True ends the run with the best so far.
        progress: Called after every step and every epoch.

    Raises:
        UntrainableError: Network, data and options do not go together.
        DivergedError: The loss is not a number any more.
        CheckpointError: The checkpoint cannot be read, or belongs to other settings.
    """
    raise NotImplementedError
