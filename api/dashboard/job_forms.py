"""The forms of new jobs: which fields they have, and which of them matter at first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from api.dashboard.fields import Field, Form
from api.dashboard.texts import Kind
from api.schemas.certifications import CertificationCreate, MethodName
from api.schemas.comparisons import ComparisonCreate
from api.schemas.training_options import (
    CertifiedByName,
    FeasibilityFormName,
    OptimiserName,
    ScheduleName,
    TrainingMethodName,
)
from api.schemas.trainings import TrainingCreate

__all__ = ["CERTIFICATION", "COMPARISON", "TRAINING"]

_QUESTION = "The question"
_RUN = "How it is run"
_LOSS = "Loss and regularizers"
_SCHEDULE = "Schedule"
_OPTIMISER = "Optimiser"
_ADVERSARY = "Attack"
_AUGMENTATION = "Augmentation"
_SELECTION = "Validation and the best epoch"
_ARMS = "Comparison of both arms"


def _words(names: Sequence[str], none: str = "") -> tuple[tuple[str, str], ...]:
    listed = tuple((name, name) for name in names)
    return (("", none), *listed) if none else listed


_METHODS = _words(get_args(MethodName))
_DATASET = Field("dataset_id", "Data set", Kind.CHOICE, source="datasets")
_EPSILON = Field("epsilon", "Radius ε", initial=0.03)
_NORMS = (("inf", "L∞"), ("2", "L2"), ("1", "L1"))
_VALID_RANGE = "The region is cut to it, low and high; empty leaves the region whole."

_QUESTION_FIELDS = (
    _DATASET,
    _EPSILON,
    Field(
        "count", "Number of inputs", Kind.COUNT, initial=100,
        hint="The first so many of the data set; empty for all of them.",
    ),
    Field("methods", "Methods", Kind.SEVERAL, choices=_METHODS),
    Field("norm", "Norm", Kind.CHOICE, choices=_NORMS, group=_QUESTION),
    Field("valid_range", "Valid range", Kind.NUMBERS, hint=_VALID_RANGE, group=_QUESTION),
    Field(
        "targets", "Target labels", Kind.COUNTS, group=_QUESTION,
        hint="Labels that the answer must not change to; empty for every other one.",
    ),
    Field(
        "indices", "Single inputs", Kind.COUNTS, group=_QUESTION,
        hint="Only these, counted from 0, in place of the first so many.",
    ),
    Field(
        "normalization.mean", "Mean", Kind.NUMBERS, group=_QUESTION,
        hint="Where the network expects normalised inputs: one number, or one for each channel.",
    ),
    Field("normalization.std", "Standard deviation", Kind.NUMBERS, group=_QUESTION,
          hint="Inputs are divided by it after the mean."),
    Field("timeout_seconds", "Time for each input", unit="s", group=_RUN),
    Field("seed", "Seed", Kind.COUNT, hint="Of the attack's random numbers.", group=_RUN),
    Field("reuse", "Take over known answers", Kind.SWITCH, group=_RUN),
)  # fmt: skip
_LAST = (
    Field("priority", "Priority", Kind.COUNT, group=_RUN),
    Field(
        "webhook.url", "Webhook", Kind.TEXT, group=_RUN,
        hint="An address that is told once the job is final, by a signed POST.",
    ),
)  # fmt: skip

CERTIFICATION = Form(
    "certification",
    CertificationCreate,
    (
        Field("network_id", "Network", Kind.CHOICE, source="networks"),
        *_QUESTION_FIELDS,
        Field("proofs", "Proofs", Kind.SWITCH, group=_RUN),
        Field("proof_timeout_seconds", "Time for each proof", unit="s", group=_RUN),
        *_LAST,
    ),
)
COMPARISON = Form(
    "comparison",
    ComparisonCreate,
    (
        Field("baseline_id", "Baseline", Kind.CHOICE, source="networks"),
        Field(
            "candidate_ids", "Candidates", Kind.SEVERAL, source="networks",
            hint="The networks to compare with it, of as many outputs.",
        ),
        *_QUESTION_FIELDS,
        *_LAST,
    ),
)  # fmt: skip

_ARCHITECTURES = (
    "cnn-small", "cnn-large", "dm-small", "dm-medium", "dm-large", "cnn7", "mlp:100,100",
)  # fmt: skip
_OTHER = (
    "What to train from initial weights; `mlp:` takes the widths of the hidden layers. Empty where "
    "a network is trained further."
)

TRAINING = Form(
    "training",
    TrainingCreate,
    (
        Field(
            "architecture", "Architecture", Kind.TEXT, choices=_words(_ARCHITECTURES), hint=_OTHER,
            initial="cnn-small", unless="network_id",
        ),
        Field(
            "network_id", "Network to train further", Kind.CHOICE, source="networks",
            hint="In place of an architecture.",
        ),
        _DATASET,
        Field("epsilon", "Radius ε", initial=0.1,
              hint="Radius of the L∞ region to be safe in, in raw input units."),
        Field("epochs", "Epochs", Kind.COUNT, initial=20),
        Field("method", "Method", Kind.CHOICE, choices=_words(get_args(TrainingMethodName))),
        Field("feasibility_weight", "λ, feasibility", initial=0.5,
              hint="Weight of the feasibility regularizer; 0 leaves it out."),
        Field("slack_weight", "γ, slack", initial=0.5,
              hint="Weight of the slack regularizer; 0 leaves it out."),
        Field(
            "baseline", "Train a baseline too", Kind.SWITCH, initial=True,
            hint="The same network from the same seed without regularizers; both are compared.",
        ),
        Field("name", "Name", Kind.TEXT, group=_RUN),
        Field("batch_size", "Batch size", Kind.COUNT, group=_RUN),
        Field("seed", "Seed", Kind.COUNT, group=_RUN),
        Field("deterministic", "Repeatable on a GPU", Kind.SWITCH, group=_RUN),
        *_LAST,
        Field("initialisation", "Initial weights", Kind.CHOICE, group=_LOSS,
              choices=_words(("standard", "ibp"))),
        Field("feasibility_form", "Feasibility measured by", Kind.CHOICE, group=_LOSS,
              choices=_words(get_args(FeasibilityFormName))),
        Field("feasibility_share", "Share of each batch", group=_LOSS),
        Field("loss_fusion", "Loss fusion", Kind.SWITCH, group=_LOSS),
        Field("valid_range", "Valid range", Kind.NUMBERS, group=_LOSS, hint=_VALID_RANGE),
        Field("normalization.mean", "Mean", Kind.NUMBERS, group=_LOSS,
              hint="Where the network expects normalised inputs."),
        Field("normalization.std", "Standard deviation", Kind.NUMBERS, group=_LOSS,
              hint="Inputs are divided by it after the mean."),
        Field("ramp.warm_up", "Warm-up", group=_SCHEDULE),
        Field("ramp.ramp", "Ramp", group=_SCHEDULE),
        Field("ramp.kappa", "κ at the end", group=_SCHEDULE),
        Field("ramp.kappa_start", "κ at the start", group=_SCHEDULE),
        Field("ramp.epsilon_factor", "ε in training, as a factor", group=_SCHEDULE),
        Field("optimiser.kind", "Optimiser", Kind.CHOICE, group=_OPTIMISER,
              choices=_words(get_args(OptimiserName))),
        Field("optimiser.learning_rate", "Learning rate", group=_OPTIMISER),
        Field("optimiser.schedule", "Its schedule", Kind.CHOICE, group=_OPTIMISER,
              choices=_words(get_args(ScheduleName))),
        Field("optimiser.milestones", "Milestones", Kind.NUMBERS, group=_OPTIMISER),
        Field("optimiser.decay", "Decay", group=_OPTIMISER),
        Field("optimiser.momentum", "Momentum", group=_OPTIMISER),
        Field("optimiser.weight_decay", "Weight decay", group=_OPTIMISER),
        Field("optimiser.gradient_clip", "Gradient clipped at", group=_OPTIMISER,
              hint="Largest norm of the gradient; empty for no limit."),
        Field("adversary.steps", "Steps in training", Kind.COUNT, group=_ADVERSARY),
        Field("adversary.step_size", "Step size", group=_ADVERSARY),
        Field("adversary.evaluation_steps", "Steps after each epoch", Kind.COUNT,
              group=_ADVERSARY),
        Field("adversary.box_share", "Radius of boxes", group=_ADVERSARY),
        Field("adversary.mixture", "Weight of interval bounds", group=_ADVERSARY),
        Field("augmentation.crop", "Random crops", Kind.COUNT, unit="pixels",
              group=_AUGMENTATION),
        Field("augmentation.flip", "Mirror images", Kind.SWITCH, group=_AUGMENTATION),
        Field("validation_id", "Validation data", Kind.CHOICE, source="datasets",
              group=_SELECTION),
        Field("selection.share", "Share kept for validation", group=_SELECTION),
        Field("selection.count", "Validation inputs", Kind.COUNT, group=_SELECTION,
              hint="The first so many of the validation data; empty for all of them."),
        Field("selection.certified_by", "Certified by", Kind.CHOICE, group=_SELECTION,
              choices=_words(get_args(CertifiedByName), "the training method's own bounds")),
        Field("selection.patience", "Patience", Kind.COUNT, unit="epochs", group=_SELECTION,
              hint="Stop after so many epochs without a better one; empty for never."),
        Field("comparison.methods", "Methods", Kind.SEVERAL, choices=_METHODS, group=_ARMS),
        Field("comparison.count", "Number of inputs", Kind.COUNT, group=_ARMS),
        Field("comparison.timeout_seconds", "Time for each input", unit="s", group=_ARMS),
    ),
)  # fmt: skip
