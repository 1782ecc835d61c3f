"""What the server says, and what it is asked, as typed values."""

from __future__ import annotations

from tightrope_client.models.access import (
    Delivery,
    DeliveryList,
    Key,
    KeyLimits,
    KeyRequest,
    MadeKey,
    WebhookSecret,
)
from tightrope_client.models.certifications import (
    Certification,
    CertificationSettings,
    CounterexampleReplay,
    Item,
    Normalization,
    ProofCheck,
    Question,
    Region,
    Summary,
)
from tightrope_client.models.comparisons import (
    Change,
    ComparedCandidate,
    ComparedNetwork,
    Comparison,
    ComparisonResult,
    VerdictChange,
)
from tightrope_client.models.jobs import Job, JobBase, Progress, State, Webhook
from tightrope_client.models.trainings import (
    ArmResult,
    Artifact,
    ArtifactList,
    Metric,
    MetricPage,
    Training,
    TrainingRequest,
)
from tightrope_client.models.uploads import Dataset, Network, Reference, Upload
from tightrope_client.problem import InvalidPart, Problem

__all__ = [
    "ArmResult",
    "Artifact",
    "ArtifactList",
    "Certification",
    "CertificationSettings",
    "Change",
    "ComparedCandidate",
    "ComparedNetwork",
    "Comparison",
    "ComparisonResult",
    "CounterexampleReplay",
    "Dataset",
    "Delivery",
    "DeliveryList",
    "InvalidPart",
    "Item",
    "Job",
    "JobBase",
    "Key",
    "KeyLimits",
    "KeyRequest",
    "MadeKey",
    "Metric",
    "MetricPage",
    "Network",
    "Normalization",
    "Problem",
    "Progress",
    "ProofCheck",
    "Question",
    "Reference",
    "Region",
    "State",
    "Summary",
    "Training",
    "TrainingRequest",
    "Upload",
    "VerdictChange",
    "Webhook",
    "WebhookSecret",
]
