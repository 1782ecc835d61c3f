"""Options of trainings on the wire, group by group.

The names and defaults are those of the training engine, written out since this process must not
load it; tests compare.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from api.schemas.base import Wire
from api.schemas.certifications import Finite, MethodName

__all__ = [
    "Adversary",
    "ArmsComparison",
    "Augmentation",
    "CertifiedByName",
    "FeasibilityFormName",
    "Optimiser",
    "OptimiserName",
    "Ramp",
    "ScheduleName",
    "Selection",
    "TrainingMethodName",
]

TrainingMethodName = Literal["standard", "pgd", "ibp", "crown-ibp", "fast-lin", "sabr", "mtl-ibp"]
FeasibilityFormName = Literal["distance", "objective"]
OptimiserName = Literal["adam", "adamw", "sgd"]
ScheduleName = Literal["constant", "step", "cosine", "linear"]
CertifiedByName = Literal[
    "ibp", "crown-ibp", "forward", "forward+backward", "fast-lin", "crown", "alpha-crown"
]

Share = Annotated[Finite, Field(ge=0, le=1)]
Inner = Annotated[Finite, Field(gt=0, lt=1)]
Positive = Annotated[Finite, Field(gt=0)]
NotNegative = Annotated[Finite, Field(ge=0)]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]


class Optimiser(Wire):
    """How parameters are changed."""

    kind: OptimiserName = Field(default="adam", description="Of torch's optimisers.")
    learning_rate: Positive = Field(default=5e-4, description="At the start.")
    schedule: ScheduleName = Field(default="step", description="How the learning rate falls.")
    milestones: list[Inner] = Field(
        default=[0.75, 0.9],
        max_length=20,
        description="Shares of the run, for the schedule `step`.",
    )
    decay: Positive = Field(default=0.2, description="Factor at each milestone.")
    momentum: Share = Field(default=0.9, description="Of `sgd`.")
    weight_decay: NotNegative = Field(default=0.0, description="Of every optimiser.")
    gradient_clip: Positive | None = Field(
        default=10.0, description="Largest norm of the gradient; null for no limit."
    )


class Ramp(Wire):
    """How epsilon, kappa and the regularizers' weights grow."""

    warm_up: Share = Field(default=0.1, description="Share of the run in which all of them are 0.")
    ramp: Share = Field(default=0.5, description="Share of the run in which they grow.")
    kappa: Share = Field(default=1.0, description="Final weight of the robust loss.")
    kappa_start: Share = Field(default=0.0, description="That weight at the start of the ramp.")
    epsilon_factor: Positive = Field(
        default=1.0, description="Epsilon in training over the one asked for."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.warm_up + self.ramp > 1:
            raise ValueError(
                f"warm_up and ramp take {self.warm_up + self.ramp:g} of the run; at most 1 is left"
            )
        return self


class Adversary(Wire):
    """How adversarial inputs are found, in training and after each epoch."""

    steps: int = Field(
        default=8, ge=1, le=1000, description="Of projected gradient ascent in training."
    )
    step_size: Positive = Field(default=0.25, description="As a share of the radius.")
    evaluation_steps: int = Field(default=20, ge=1, le=1000, description="After each epoch.")
    box_share: Share = Field(
        default=0.4, description="Radius of `sabr`'s boxes, as a share of epsilon."
    )
    mixture: Share = Field(default=0.5, description="Weight of the interval bounds in `mtl-ibp`.")


class Augmentation(Wire):
    """Changes of training images; only for inputs with channels, height and width."""

    crop: int = Field(default=0, ge=0, le=256, description="Pixels of padding for random crops.")
    flip: bool = Field(default=False, description="Mirror half of the images, left to right.")


class ArmsComparison(Wire):
    """How both arms are compared, on the validation data."""

    methods: list[MethodName] = Field(
        default=["ibp", "crown-ibp", "crown", "alpha-crown"],
        min_length=1,
        max_length=6,
        json_schema_extra={"uniqueItems": True},
        description="All of them run, on every input.",
    )
    count: Count = Field(default=200, description="Only the first so many inputs.")
    timeout_seconds: Annotated[Finite, Field(gt=0, le=86_400)] = Field(
        default=60.0, description="For the exact search, per input."
    )

    @model_validator(mode="after")
    def _once(self) -> Self:
        if len(set(self.methods)) != len(self.methods):
            raise ValueError("methods must not repeat an entry")
        return self


class Selection(Wire):
    """How the best epoch is found."""

    certified_by: CertifiedByName | None = Field(
        default=None,
        description="Method of certified accuracy; null for the training method's own.",
    )
    patience: Count | None = Field(
        default=None, description="Stop after so many epochs without a better one; null for never."
    )
    count: Count | None = Field(
        default=None, description="Inputs of the validation data; null for all."
    )
    share: Inner = Field(default=0.1, description="Of the data that is kept for validation.")
