"""Settings of a training run, checked when they are made.

Everything here is a plain value, so that a run can be recorded and repeated: `to_json` and
`TrainingOptions.from_json` are inverse.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, TypeVar

from models.errors import InvalidInputError
from solvers.methods import BOUND_METHODS, Method
from training.methods import CERTIFIED_BY, FeasibilityForm, TrainingMethod

__all__ = [
    "AdversaryOptions",
    "AugmentationOptions",
    "LearningRateSchedule",
    "OptimiserKind",
    "OptimiserOptions",
    "RampOptions",
    "SelectionOptions",
    "TrainingOptions",
]


class OptimiserKind(StrEnum):
    """Which of torch's optimisers."""

    ADAM = "adam"
    ADAMW = "adamw"
    SGD = "sgd"


class LearningRateSchedule(StrEnum):
    """How the learning rate falls."""

    CONSTANT = "constant"
    STEP = "step"
    """Multiplied by `decay` at each milestone."""
    COSINE = "cosine"
    """Down to 0 along half a cosine."""
    LINEAR = "linear"
    """Down to 0 in a straight line."""


@dataclass(frozen=True)
class OptimiserOptions:
    """How parameters are changed.

    Attributes:
        kind: Of optimiser.
        learning_rate: At the start.
        schedule: Of the learning rate.
        milestones: Shares of the run in (0, 1), for the schedule `step`.
        decay: Factor at each milestone.
        momentum: Of `sgd`.
        weight_decay: Of every optimiser.
        gradient_clip: Largest Euclidean norm of the gradient; None for no limit.
    """

    kind: OptimiserKind = OptimiserKind.ADAM
    learning_rate: float = 5e-4
    schedule: LearningRateSchedule = LearningRateSchedule.STEP
    milestones: tuple[float, ...] = (0.75, 0.9)
    decay: float = 0.2
    momentum: float = 0.9
    weight_decay: float = 0.0
    gradient_clip: float | None = 10.0

    def __post_init__(self) -> None:
        _positive("learning rate", self.learning_rate)
        _positive("decay of the learning rate", self.decay)
        _share("momentum", self.momentum)
        _not_negative("weight decay", self.weight_decay)
        if self.gradient_clip is not None:
            _positive("largest gradient norm", self.gradient_clip)
        if any(not 0 < milestone < 1 for milestone in self.milestones):
            raise InvalidInputError(
                f"milestones are {self.milestones}; give shares of the run between 0 and 1"
            )


@dataclass(frozen=True)
class RampOptions:
    """How epsilon, kappa and the regularizers' weights grow.

    All are 0 while the share `warm_up` of the run lasts, grow together over the share `ramp`, and
    then keep their final values.

    Attributes:
        warm_up, ramp: Shares of all steps, at most 1 together.
        kappa: Final weight of the robust loss; the clean loss has the rest.
        kappa_start: That weight at the start of the ramp.
        epsilon_factor: Epsilon in training is this much larger than the one asked for, which
            helps on test inputs where epsilon is small.
    """

    warm_up: float = 0.1
    ramp: float = 0.5
    kappa: float = 1.0
    kappa_start: float = 0.0
    epsilon_factor: float = 1.0

    def __post_init__(self) -> None:
        for name in ("warm_up", "ramp", "kappa", "kappa_start"):
            _share(name.replace("_", " "), getattr(self, name))
        _positive("factor on epsilon", self.epsilon_factor)
        if self.warm_up + self.ramp > 1:
            raise InvalidInputError(
                f"warm-up and ramp take {self.warm_up + self.ramp:g} of the run; at most 1 is left"
            )


@dataclass(frozen=True)
class AdversaryOptions:
    """How adversarial inputs are found, in training and after each epoch.

    Attributes:
        steps: Of projected gradient ascent in training.
        step_size: As a share of the radius.
        evaluation_steps: After each epoch.
        box_share: Radius of the boxes of `sabr`, as a share of epsilon.
        mixture: Weight of the interval bounds in `mtl-ibp`.
    """

    steps: int = 8
    step_size: float = 0.25
    evaluation_steps: int = 20
    box_share: float = 0.4
    mixture: float = 0.5

    def __post_init__(self) -> None:
        if min(self.steps, self.evaluation_steps) < 1:
            raise InvalidInputError("an attack takes at least one step")
        _positive("step size of the attack", self.step_size)
        _share("share of the small boxes", self.box_share)
        _share("mixture", self.mixture)


@dataclass(frozen=True)
class AugmentationOptions:
    """Changes of training images; only for inputs with channels, height and width.

    Attributes:
        crop: Pixels of padding from which a window of the image's own size is cut at random.
        flip: Whether half of the images are mirrored, left to right.
    """

    crop: int = 0
    flip: bool = False

    def __post_init__(self) -> None:
        if self.crop < 0:
            raise InvalidInputError(f"the padding of random crops is {self.crop}; give 0 or more")

    @property
    def is_on(self) -> bool:
        """Whether images are changed at all."""
        return self.crop > 0 or self.flip


@dataclass(frozen=True)
class SelectionOptions:
    """How the best epoch is found.

    Attributes:
        certified_by: Method of certified accuracy after each epoch; None for the one that goes
            with the training method.
        patience: Stop after so many epochs behind the ramp without a better one; None for never.
        count: How many inputs of the validation set are used; None for all.
        share: Of the data that a caller with one data set keeps for validation.
    """

    certified_by: Method | None = None
    patience: int | None = None
    count: int | None = None
    share: float = 0.1

    def __post_init__(self) -> None:
        if self.certified_by is not None and self.certified_by not in BOUND_METHODS:
            raise InvalidInputError(
                f"certified accuracy cannot be measured by {self.certified_by} in training; "
                f"use one of {', '.join(BOUND_METHODS)}"
            )
        for name in ("patience", "count"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidInputError(f"{name} is {value}; give 1 or more")
        if not 0 < self.share < 1:
            raise InvalidInputError(
                f"the share of validation is {self.share}; give a number between 0 and 1"
            )


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """A training run.

    Attributes:
        method: Of the loss.
        epsilon: Radius of the L∞ region, in raw input units.
        epochs: Passes over the training set.
        feasibility_weight: λ, of the feasibility regularizer d.
        slack_weight: γ, of the slack regularizer r.
        feasibility_form: Of d.
        feasibility_share: Of each batch over which d is computed, since a mean over fewer inputs
            says nearly as much and costs less.
        loss_fusion: Whether `crown-ibp` bounds the loss by one row for all classes. With one row
            per wrong class the bound is tighter, and a step takes longer, the more classes the
            longer.
        batch_size: Inputs per step.
        seed: Of the order of the data, augmentation and attacks, each with a stream of its own.
        device: `cpu`, `cuda` or `auto`.
        valid_range: Smallest and largest valid raw input; None for no limit.
        deterministic: Whether only repeatable algorithms may run, which costs time on CUDA.
        optimiser, ramp, adversary, augmentation, selection: See there.
        checkpoint_seconds: Between two checkpoints within an epoch; there is one after each.

    Raises:
        InvalidInputError: A setting is out of range.
    """

    method: TrainingMethod
    epsilon: float
    epochs: int
    feasibility_weight: float = 0.0
    slack_weight: float = 0.0
    feasibility_form: FeasibilityForm = FeasibilityForm.DISTANCE
    feasibility_share: float = 0.25
    loss_fusion: bool = True
    batch_size: int = 128
    seed: int = 0
    device: str = "auto"
    valid_range: tuple[float, float] | None = (0.0, 1.0)
    deterministic: bool = False
    optimiser: OptimiserOptions = field(default_factory=OptimiserOptions)
    ramp: RampOptions = field(default_factory=RampOptions)
    adversary: AdversaryOptions = field(default_factory=AdversaryOptions)
    augmentation: AugmentationOptions = field(default_factory=AugmentationOptions)
    selection: SelectionOptions = field(default_factory=SelectionOptions)
    checkpoint_seconds: float = 120.0

    def __post_init__(self) -> None:
        _not_negative("epsilon", self.epsilon)
        _not_negative("feasibility weight", self.feasibility_weight)
        _not_negative("slack weight", self.slack_weight)
        _not_negative("seed", self.seed)
        _share("share of inputs of the feasibility regularizer", self.feasibility_share)
        _positive("time between checkpoints", self.checkpoint_seconds)
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise InvalidInputError(
                    f"{name.replace('_', ' ')} is {getattr(self, name)}; give 1 or more"
                )
        if self.valid_range is not None and not self.valid_range[0] < self.valid_range[1]:
            raise InvalidInputError(
                f"the valid range {self.valid_range} is empty; give the smaller number first"
            )

    @property
    def certified_by(self) -> Method:
        """Method of certified accuracy after each epoch."""
        return self.selection.certified_by or CERTIFIED_BY[self.method]

    @property
    def regularised(self) -> bool:
        """Whether any of the two regularizers has a weight."""
        return self.feasibility_weight > 0 or self.slack_weight > 0

    def to_json(self) -> dict[str, Any]:
        """Return the options as plain values."""
        return asdict(self, dict_factory=_plain_values)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrainingOptions:
        """Return the options that `to_json` wrote; absent ones take their defaults.

        Raises:
            InvalidInputError: A name is unknown, or a value out of range.
        """
        return _read(cls, values, "training")


_Options = TypeVar("_Options")

_GROUPS: Mapping[str, type[Any]] = {
    "optimiser": OptimiserOptions,
    "ramp": RampOptions,
    "adversary": AdversaryOptions,
    "augmentation": AugmentationOptions,
    "selection": SelectionOptions,
}
_ENUMS: Mapping[str, type[StrEnum]] = {
    "method": TrainingMethod,
    "feasibility_form": FeasibilityForm,
    "kind": OptimiserKind,
    "schedule": LearningRateSchedule,
    "certified_by": Method,
}


def _plain_values(entries: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return names and values with enumerations as the texts that they are."""
    return {name: value.value if isinstance(value, StrEnum) else value for name, value in entries}


def _read(kind: type[_Options], values: Mapping[str, Any], where: str) -> _Options:
    """Build options from plain values; an unknown name is an error, not a default."""
    known = {entry.name for entry in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        raise InvalidInputError(
            f"there is no setting {unknown[0]!r} of {where}; there are {', '.join(sorted(known))}"
        )
    try:
        return kind(**{name: _value(name, value) for name, value in values.items()})
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"the settings of {where} cannot be read: {error}") from error


def _value(name: str, value: object) -> object:
    if name in _GROUPS and isinstance(value, Mapping):
        return _read(_GROUPS[name], value, name)
    if name in _ENUMS and isinstance(value, str):
        return _ENUMS[name](value)
    return tuple(value) if isinstance(value, list) else value


def _positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise InvalidInputError(f"the {name} is {value}; give a finite number above 0")


def _not_negative(name: str, value: float) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise InvalidInputError(f"the {name} is {value}; give a finite number that is 0 or more")


def _share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise InvalidInputError(f"the {name} is {value}; give a number from 0 to 1")
