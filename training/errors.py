"""Errors of training.

::

    TightropeError
    └── TrainingError             training failed
        ├── UntrainableError      this network, data set and method do not go together
        ├── DivergedError         a loss is not a number any more
        └── CheckpointError       a checkpoint cannot be read, or belongs to another training
"""

from __future__ import annotations

from models.errors import TightropeError

__all__ = ["CheckpointError", "DivergedError", "TrainingError", "UntrainableError"]


class TrainingError(TightropeError):
    """Training failed."""


class UntrainableError(TrainingError):
    """What was to be trained cannot be: no parameters, no bounds, or data that do not fit."""


class DivergedError(TrainingError):
    """The loss or a parameter is not a finite number any more.

    Attributes:
        step: The optimiser's step at which that was seen, from 0.
    """

    def __init__(self, message: str, *, step: int) -> None:
        super().__init__(message)
        self.step = step


class CheckpointError(TrainingError):
    """A checkpoint cannot be read, or was written by a training with other settings."""
