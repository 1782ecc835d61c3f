"""Certified training: losses from the bound engine, tightness regularizers, schedules, the loop.

Options, results and errors are imported at once; what computes when it is first asked for, because
a process that only reads or writes settings must not load torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from training.errors import CheckpointError, DivergedError, TrainingError, UntrainableError
from training.methods import CERTIFIED_BY, FeasibilityForm, TrainingMethod
from training.options import (
    AdversaryOptions,
    AugmentationOptions,
    LearningRateSchedule,
    OptimiserKind,
    OptimiserOptions,
    RampOptions,
    SelectionOptions,
    TrainingOptions,
)
from training.result import EpochMetrics, StopReason, TrainingEvent, TrainingResult
from training.sweep import SweepEvent, SweepOptions, SweepResult, SweepTrial, pareto_front

if TYPE_CHECKING:
    from training.trainer import train
    from training.tuning import tune

__all__ = [
    "CERTIFIED_BY",
    "AdversaryOptions",
    "AugmentationOptions",
    "CheckpointError",
    "DivergedError",
    "EpochMetrics",
    "FeasibilityForm",
    "LearningRateSchedule",
    "OptimiserKind",
    "OptimiserOptions",
    "RampOptions",
    "SelectionOptions",
    "StopReason",
    "SweepEvent",
    "SweepOptions",
    "SweepResult",
    "SweepTrial",
    "TrainingError",
    "TrainingEvent",
    "TrainingMethod",
    "TrainingOptions",
    "TrainingResult",
    "UntrainableError",
    "pareto_front",
    "train",
    "tune",
]

_HOMES = {"train": "training.trainer", "tune": "training.tuning"}


def __getattr__(name: str) -> object:
    """Import a public name from the module that defines it."""
    if name not in _HOMES:
        raise AttributeError(f"module 'training' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
