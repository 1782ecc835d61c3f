"""Comparisons on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from api.schemas.base import Cursor, Wire, example
from api.schemas.certifications import (
    CertificationSettings,
    QuestionBase,
    Reference,
    Region,
    Summary,
    VerdictName,
)
from api.schemas.jobs import JOB_EXAMPLE, JobBase
from api.schemas.webhooks import WebhookField
from store.identifiers import IDENTIFIER_PATTERN

__all__ = [
    "ComparedCandidate",
    "ComparedNetwork",
    "ComparisonCreate",
    "ComparisonPage",
    "ComparisonPublic",
    "ComparisonReport",
    "ComparisonResult",
]

Identifier = Annotated[str, Field(pattern=IDENTIFIER_PATTERN)]

_BASELINE = "net_01jr3v7q9k2m4n6p8r0s2t4v6w"
_CANDIDATE = "net_01jr3v7q9k2m4n6p8r0s2t4v6x"
_DATASET = "dat_01jr3v7q9k2m4n6p8r0s2t4v6w"


class ComparisonCreate(QuestionBase):
    """Do these networks withstand more than the baseline, on the same inputs?"""

    model_config = example(
        {
            "baseline_id": _BASELINE,
            "candidate_ids": [_CANDIDATE],
            "dataset_id": _DATASET,
            "epsilon": 0.1,
            "methods": ["crown-ibp", "crown", "exact"],
            "count": 1000,
        }
    )

    baseline_id: Identifier = Field(description="The network that others are compared with.")
    candidate_ids: list[Identifier] = Field(
        min_length=1,
        max_length=16,
        json_schema_extra={"uniqueItems": True},
        description="The networks to compare with it, of as many outputs.",
    )
    webhook: WebhookField = None

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len(set(self.candidate_ids)) != len(self.candidate_ids):
            raise ValueError("candidate_ids must not repeat an entry")
        return self


class Change(Wire):
    """Candidate minus baseline, with the ends of a 95 % interval from a paired bootstrap."""

    low: float | None
    high: float | None
    p_value: float = Field(description="Of McNemar's exact test.")
    gained: int = Field(description="Inputs for which it holds of the candidate only.")
    lost: int = Field(description="Inputs for which it holds of the baseline only.")


class ShareChange(Change):
    """The change of clean or empirical accuracy."""

    difference: float | None


class GapChange(Wire):
    """The mean change of the gap over the `count` inputs where both networks have one."""

    value: float | None
    low: float | None
    high: float | None
    count: int


class CertifiedChange(Change):
    """The change of certified accuracy by one method, and of its gap."""

    certified_accuracy: float | None
    mean_gap: GapChange


class AccuracyChanges(Wire):
    """The changes of clean and of empirical accuracy."""

    clean: ShareChange
    empirical: ShareChange


class VerdictChange(Wire):
    """An input whose verdict changed."""

    index: int
    label: int | None
    baseline: VerdictName
    candidate: VerdictName


class Ends(Wire):
    """The ends `[low, high]` of each accuracy's 95 % interval."""

    clean_accuracy: list[float] | None
    empirical_accuracy: list[float] | None
    certified_accuracy: dict[str, list[float] | None]


class Layer(Wire):
    """One layer of ReLUs: unstable neurons per input, and their mean slack −ul/(u − l)."""

    name: str
    neurons: int
    unstable: float
    slack: float | None


class Tightness(Wire):
    """How tight the relaxation of a network is, from the bounds of `crown`."""

    unstable: float
    slack: float | None
    layers: list[Layer]


class ComparedNetwork(Wire):
    """What there is to say of one network by itself."""

    network_id: str
    name: str
    sha256: str
    summary: Summary
    intervals: Ends
    tightness: Tightness | None = Field(
        description="Null where the bounds do not fit into the worker's memory."
    )


class ComparedCandidate(ComparedNetwork):
    """A candidate, and how it differs from the baseline."""

    difference: dict[str, CertifiedChange] = Field(description="By method.")
    accuracy: AccuracyChanges
    certified_gap: float | None = Field(description="The change of the certified gap.")
    gained: list[int] = Field(description="Inputs that are verified for the candidate only.")
    lost: list[int] = Field(description="Inputs that are verified for the baseline only.")
    changes: list[VerdictChange]


class ComparisonResult(Wire):
    """The figures of a comparison."""

    baseline: ComparedNetwork
    candidates: list[ComparedCandidate]


class ComparisonPublic(JobBase):
    """A comparison: what was asked, how far it is, and what came out."""

    model_config = example(
        {
            **JOB_EXAMPLE,
            "baseline": {"id": _BASELINE, "name": "plain.onnx", "sha256": "9f86d0…"},
            "candidates": [{"id": _CANDIDATE, "name": "tight.onnx", "sha256": "60303a…"}],
            "dataset": {"id": _DATASET, "name": "mnist-test-100.npz", "sha256": "2c26b4…"},
            "region": {"norm": "inf", "epsilon": 0.1, "valid_range": [0.0, 1.0]},
            "settings": {
                "methods": ["crown", "exact"],
                "timeout_seconds": 60.0,
                "targets": None,
                "indices": [0, 1, 2],
                "normalization": None,
                "seed": 0,
            },
            "result": None,
        }
    )

    baseline: Reference
    candidates: list[Reference]
    dataset: Reference
    region: Region
    settings: CertificationSettings
    result: ComparisonResult | None = Field(description="Once it has succeeded.")


class ComparisonPage(Wire):
    """Comparisons, newest first."""

    items: list[ComparisonPublic]
    next_cursor: Cursor


class ComparisonReport(Wire):
    """The whole report, as `tightrope compare --json` writes it."""

    region: dict[str, Any]
    settings: dict[str, Any]
    baseline: ComparedNetwork
    candidates: list[ComparedCandidate]
