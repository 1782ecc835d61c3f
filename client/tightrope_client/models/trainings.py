"""Trainings: networks made so that they can be certified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from tightrope_client.models.certifications import Normalization
from tightrope_client.models.jobs import JobBase, Webhook
from tightrope_client.models.uploads import Reference
from tightrope_client.wire import Asked, Received

__all__ = [
    "ArmResult",
    "Artifact",
    "ArtifactList",
    "Metric",
    "MetricPage",
    "Training",
    "TrainingRequest",
]


class TrainingRequest(Asked):
    """What is asked of a training; what is not set is left to the server's defaults.

    Attributes:
        network_id, architecture: What to train; one of them is given.
        dataset_id: Inputs and labels.
        validation_id: Data set for choosing the best epoch.
        epsilon: Radius of the L∞ region, in raw input units.
        epochs: Passes over the training data.
        method: Of the loss.
        feasibility_weight, slack_weight: λ and γ of the regularizers.
        baseline: Also train without regularizers from the same seed, and compare.
        priority: Among the jobs of the project; higher ones go first.
        webhook: Where to tell that the training is finished.
        optimiser, ramp, adversary, augmentation, selection, comparison: Groups of settings, named
            as in the server's description.
    """

    dataset_id: str
    epsilon: float
    epochs: int
    network_id: str | None = None
    architecture: str | None = None
    initialisation: str = "standard"
    name: str | None = None
    validation_id: str | None = None
    normalization: Normalization | None = None
    method: str = "crown-ibp"
    feasibility_weight: float = 0.0
    slack_weight: float = 0.0
    feasibility_form: str = "distance"
    feasibility_share: float = 0.25
    loss_fusion: bool = True
    batch_size: int = 128
    seed: int = 0
    deterministic: bool = False
    valid_range: Sequence[float] | None = (0.0, 1.0)
    baseline: bool = False
    priority: int = 0
    webhook: Webhook | None = None
    optimiser: Mapping[str, Any] = Field(default_factory=dict)
    ramp: Mapping[str, Any] = Field(default_factory=dict)
    adversary: Mapping[str, Any] = Field(default_factory=dict)
    augmentation: Mapping[str, Any] = Field(default_factory=dict)
    selection: Mapping[str, Any] = Field(default_factory=dict)
    comparison: Mapping[str, Any] = Field(default_factory=dict)


class Metric(Received):
    """A step of a training; at the end of an epoch, `metrics` has its figures."""

    index: int
    arm: str
    step: int
    steps: int
    epoch: int
    epochs: int
    epsilon: float | None
    kappa: float | None
    loss: dict[str, float | None]
    metrics: dict[str, Any] | None


class MetricPage(Received):
    """Steps and epochs, oldest first; `next_after` leads to what comes later."""

    items: list[Metric]
    next_after: int
    final: bool


class Artifact(Received):
    """A file that a training left."""

    name: str
    media_type: str
    size_bytes: int
    sha256: str
    url: str


class ArtifactList(Received):
    """The files of a training."""

    items: list[Artifact]


class ArmResult(Received):
    """What one of the trained networks came to; `network_id` is ready to be certified."""

    network_id: str
    best_epoch: int
    epochs: int
    stopped: str
    seconds: float
    best: dict[str, Any] | None
    record: dict[str, Any]


class Training(JobBase):
    """A training: what was asked, how far it is, and what came out of each arm."""

    network: Reference | None
    dataset: Reference
    validation: Reference | None
    settings: dict[str, Any]
    arms: dict[str, ArmResult]
    comparison_id: str | None
