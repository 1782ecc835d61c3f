"""Trainings on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from api.schemas.base import Cursor, Name, Wire, example
from api.schemas.certifications import Finite, Normalization, Reference
from api.schemas.jobs import JOB_EXAMPLE, JobBase, Priority
from api.schemas.training_options import (
    Adversary,
    ArmsComparison,
    Augmentation,
    FeasibilityFormName,
    Optimiser,
    Ramp,
    Selection,
    TrainingMethodName,
)
from api.schemas.webhooks import WebhookField
from store.identifiers import IDENTIFIER_PATTERN

__all__ = [
    "ARCHITECTURE_PATTERN",
    "ArmName",
    "ArmResult",
    "Artifact",
    "ArtifactList",
    "EpochMetrics",
    "Metric",
    "MetricPage",
    "TrainingCreate",
    "TrainingOptionsWire",
    "TrainingPage",
    "TrainingPublic",
    "TrainingReport",
    "TrainingSettings",
]

ArmName = Literal["candidate", "baseline"]
InitialisationName = Literal["standard", "ibp"]

# Names of architectures; after `mlp:` the widths of the hidden layers.
ARCHITECTURE_PATTERN = (
    r"^(cnn-small|cnn-large|dm-small|dm-medium|dm-large|cnn7"
    r"|mlp:[1-9][0-9]{0,4}(,[1-9][0-9]{0,4}){0,15})$"
)

Weight = Annotated[Finite, Field(ge=0, le=1e6)]
Loss = dict[str, float | None]

_NETWORK_ID = "net_01jr3v7q9k2m4n6p8r0s2t4v6w"
_OTHER_ID = "net_01jr3v7q9k2m4n6p8r0s2t4v6x"
_DATASET_ID = "dat_01jr3v7q9k2m4n6p8r0s2t4v6w"
_COMPARISON_ID = "job_01jr3v7q9k2m4n6p8r0s2t4v6x"


class TrainingOptionsWire(Wire):
    """How to train; each field is an option of the training engine under the same name."""

    method: TrainingMethodName = Field("crown-ibp", description="Of the loss.")
    epsilon: Annotated[Finite, Field(ge=0)] = Field(
        description="Radius of the L∞ region, in raw input units."
    )
    epochs: int = Field(ge=1, le=100_000, description="Passes over the training data.")
    feasibility_weight: Weight = Field(0.0, description="λ, weight of the feasibility regularizer.")
    slack_weight: Weight = Field(0.0, description="γ, weight of the slack regularizer.")
    feasibility_form: FeasibilityFormName = Field(
        "distance", description="How the feasibility regularizer measures the relaxed optimum."
    )
    feasibility_share: Annotated[Finite, Field(gt=0, le=1)] = Field(
        0.25, description="Share of each batch that the feasibility regularizer looks at."
    )
    loss_fusion: bool = Field(
        True, description="Bound the loss of `crown-ibp` by one row for all classes: faster."
    )
    batch_size: int = Field(128, ge=1, le=65_536, description="Inputs per step.")
    seed: int = Field(
        0, ge=0, le=2**31 - 1, description="Of initial weights, order, augmentation and attacks."
    )
    deterministic: bool = Field(
        False, description="Only repeatable algorithms, which costs time on a GPU."
    )
    valid_range: list[Finite] | None = Field(
        [0.0, 1.0],
        min_length=2,
        max_length=2,
        description="The region is cut to it; null leaves the region whole.",
    )
    optimiser: Optimiser = Field(default_factory=Optimiser)
    ramp: Ramp = Field(default_factory=Ramp)
    adversary: Adversary = Field(default_factory=Adversary)
    augmentation: Augmentation = Field(default_factory=Augmentation)
    selection: Selection = Field(default_factory=Selection)

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> Self:
        if self.valid_range is not None and not self.valid_range[0] < self.valid_range[1]:
            raise ValueError("valid_range must be [low, high] with low < high")
        return self


class TrainingSettings(TrainingOptionsWire):
    """What was asked for, every default filled in."""

    architecture: str | None
    initialisation: InitialisationName
    name: Name | None
    normalization: Normalization | None
    baseline: bool
    comparison: ArmsComparison


class TrainingCreate(TrainingOptionsWire):
    """Train a network so that it can be certified.

    Either fine-tune an uploaded network, or train an architecture from initial weights; its input
    shape and number of classes are those of the data set.
    """

    model_config = example(
        {
            "architecture": "cnn-small",
            "dataset_id": _DATASET_ID,
            "method": "crown-ibp",
            "epsilon": 0.1,
            "epochs": 60,
            "feasibility_weight": 0.5,
            "slack_weight": 0.5,
            "baseline": True,
        }
    )

    webhook: WebhookField = None
    network_id: Annotated[str, Field(pattern=IDENTIFIER_PATTERN)] | None = Field(
        None, description="What to fine-tune; excludes `architecture`."
    )
    architecture: Annotated[str, Field(pattern=ARCHITECTURE_PATTERN)] | None = Field(
        None,
        description="What to train from initial weights: `cnn-small`, `cnn-large`, `dm-small`, "
        "`dm-medium`, `dm-large`, `cnn7`, or `mlp:` and the widths of the hidden layers.",
        examples=["cnn-small", "mlp:100,100"],
    )
    initialisation: InitialisationName = Field(
        "standard",
        description="Of an architecture: the usual one, or `ibp` after Shi et al. 2021.",
    )
    name: Name | None = Field(None, description="Of the trained network; else made from the rest.")
    dataset_id: str = Field(pattern=IDENTIFIER_PATTERN, description="Inputs and labels.")
    validation_id: Annotated[str, Field(pattern=IDENTIFIER_PATTERN)] | None = Field(
        None,
        description="Data set for choosing the best epoch; else `selection.share` of the data.",
    )
    normalization: Normalization | None = Field(
        None, description="Where the network expects normalised inputs and does not do it itself."
    )
    baseline: bool = Field(
        False,
        description="Also train the same network from the same seed without regularizers, and "
        "compare both.",
    )
    comparison: ArmsComparison = Field(default_factory=ArmsComparison)
    priority: Priority = 0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.network_id is None) == (self.architecture is None):
            raise ValueError("give network_id or architecture, and not both")
        if self.initialisation != "standard" and self.architecture is None:
            raise ValueError("initialisation is of an architecture; a network has its weights")
        if self.baseline and self.feasibility_weight == 0 and self.slack_weight == 0:
            raise ValueError(
                "baseline trains without regularizers: give feasibility_weight or slack_weight, "
                "or both arms would be the same"
            )
        return self


class EpochMetrics(Wire):
    """An epoch, measured on the validation data at the full epsilon."""

    epoch: int
    epsilon: float | None
    kappa: float | None
    learning_rate: float | None
    loss: Loss = Field(description="Parts of the training loss, mean over the epoch.")
    clean_accuracy: float | None
    empirical_accuracy: float | None
    certified_accuracy: float | None
    mean_bound: float | None = Field(description="Mean lower bound of the worst-case margin.")
    mean_gap: float | None = Field(description="Mean of the attack's margin minus the bound.")
    unstable: dict[str, float | None] = Field(description="Unstable neurons per input, by node.")
    seconds: float | None


class Metric(Wire):
    """A step of a training, or the end of an epoch. Numbers that are not finite are null."""

    index: int = Field(description="From 0; pass the last one as `after` to get what follows.")
    arm: ArmName
    step: int = Field(description="Steps done by this arm.")
    steps: int = Field(description="Steps of this arm in all.")
    epoch: int
    epochs: int
    epsilon: float | None = Field(description="Of this step.")
    kappa: float | None = Field(description="Weight of the robust loss in this step.")
    loss: Loss = Field(description="Parts of the loss of this step's batch; `total` sums them up.")
    metrics: EpochMetrics | None = Field(description="At the end of an epoch.")


class MetricPage(Wire):
    """Steps and epochs, oldest first."""

    items: list[Metric]
    next_after: int = Field(description="Pass it as `after` to get what comes later.")
    final: bool = Field(description="Nothing will follow these.")


class Artifact(Wire):
    """A file that a training left."""

    name: str
    media_type: str
    size_bytes: int
    sha256: str
    url: str = Field(description="Path of the file.")


class ArtifactList(Wire):
    """The files of a training."""

    items: list[Artifact]


class ArmResult(Wire):
    """What one of the trained networks came to."""

    network_id: str = Field(description="The trained network, ready to be certified.")
    best_epoch: int = Field(description="From 1; 0 where no epoch was finished.")
    epochs: int = Field(description="Finished epochs.")
    stopped: Literal["completed", "early-stop", "cancelled"]
    seconds: float
    best: EpochMetrics | None = Field(description="Metrics of the best epoch.")
    record: dict[str, Any] = Field(
        description="What is needed to repeat it: options, data, splits, software."
    )


_EPOCH: dict[str, Any] = {
    "epoch": 58,
    "epsilon": 0.1,
    "kappa": 1.0,
    "learning_rate": 2e-5,
    "loss": {"total": 0.41, "robust": 0.33, "feasibility": 0.09, "slack": 0.07},
    "clean_accuracy": 0.981,
    "empirical_accuracy": 0.955,
    "certified_accuracy": 0.931,
    "mean_bound": 3.1,
    "mean_gap": 0.8,
    "unstable": {"relu_1": 21.5},
    "seconds": 14.2,
}


class TrainingPublic(JobBase):
    """A training: what was asked, how far it is, and what came out."""

    model_config = example(
        {
            **JOB_EXAMPLE,
            "state": "succeeded",
            "progress": {"done": 25_320, "total": 25_320},
            "finished_at": "2030-01-31T12:43:20Z",
            "network": {"id": _NETWORK_ID, "name": "mnist-small.onnx", "sha256": "9f86d0…"},
            "dataset": {"id": _DATASET_ID, "name": "mnist-train.npz", "sha256": "2c26b4…"},
            "validation": None,
            "settings": {
                "architecture": None,
                "initialisation": "standard",
                "name": None,
                "normalization": None,
                "baseline": True,
                "comparison": {"methods": ["crown-ibp", "crown"], "count": 200},
                "epsilon": 0.1,
                "epochs": 60,
                "feasibility_weight": 0.5,
                "slack_weight": 0.5,
            },
            "arms": {
                "candidate": {
                    "network_id": _OTHER_ID,
                    "best_epoch": 58,
                    "epochs": 60,
                    "stopped": "completed",
                    "seconds": 851.0,
                    "best": _EPOCH,
                    "record": {},
                }
            },
            "comparison_id": _COMPARISON_ID,
        }
    )

    network: Reference | None = Field(description="What is fine-tuned.")
    dataset: Reference
    validation: Reference | None
    settings: TrainingSettings
    arms: dict[ArmName, ArmResult] = Field(
        description="What is finished: `candidate`, and `baseline` where it was asked for."
    )
    comparison_id: str | None = Field(
        description="Comparison of both arms, at `/v1/comparisons/{id}`, once both are finished."
    )


class TrainingPage(Wire):
    """Trainings, newest first."""

    items: list[TrainingPublic]
    next_cursor: Cursor


class TrainingReport(Wire):
    """The whole report, as its page shows it."""

    network: dict[str, Any]
    dataset: dict[str, Any]
    settings: dict[str, Any]
    arms: dict[str, dict[str, Any]]
