"""Comparisons: networks beside a baseline, on the same inputs."""

from __future__ import annotations

from typing import Any

from tightrope_client.models.certifications import CertificationSettings, Region, Summary
from tightrope_client.models.jobs import JobBase
from tightrope_client.models.uploads import Reference
from tightrope_client.wire import Received

__all__ = [
    "Change",
    "ComparedCandidate",
    "ComparedNetwork",
    "Comparison",
    "ComparisonResult",
    "VerdictChange",
]


class Change(Received):
    """Candidate minus baseline, with the ends of a 95 % interval from a paired bootstrap.

    Attributes:
        p_value: Of McNemar's exact test.
        gained, lost: Inputs for which it holds of one of both only.
        certified_accuracy: The change itself, of a method's certified accuracy.
        difference: The change itself, of clean and of empirical accuracy.
    """

    low: float | None
    high: float | None
    p_value: float
    gained: int
    lost: int
    certified_accuracy: float | None = None
    difference: float | None = None


class VerdictChange(Received):
    """An input whose verdict changed, with both verdicts."""

    index: int
    label: int | None
    baseline: str
    candidate: str


class ComparedNetwork(Received):
    """What there is to say of one network by itself."""

    network_id: str
    name: str
    sha256: str
    summary: Summary
    intervals: dict[str, Any]
    tightness: dict[str, Any] | None


class ComparedCandidate(ComparedNetwork):
    """A candidate, and how it differs from the baseline.

    Attributes:
        difference: By method.
        accuracy: Of `clean` and `empirical` accuracy.
        gained, lost: Inputs that are verified for one of both only.
    """

    difference: dict[str, Change]
    accuracy: dict[str, Change]
    certified_gap: float | None
    gained: list[int]
    lost: list[int]
    changes: list[VerdictChange]


class ComparisonResult(Received):
    """The figures of a comparison."""

    baseline: ComparedNetwork
    candidates: list[ComparedCandidate]


class Comparison(JobBase):
    """A comparison: what was asked, how far it is, and, once it has succeeded, `result`."""

    baseline: Reference
    candidates: list[Reference]
    dataset: Reference
    region: Region
    settings: CertificationSettings
    result: ComparisonResult | None
