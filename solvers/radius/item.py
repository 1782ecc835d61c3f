"""What is known of the minimum distortion of one input."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from solvers.results import Counterexample, Evidence

__all__ = ["RadiusItem", "RadiusStatus"]


class RadiusStatus(StrEnum):
    """How a search ended.

    `bracketed`: to the tolerance. `maximum`: proved up to the largest radius asked about. `open`:
    the time or the means ran out; the bracket stands. `misclassified`: the input itself is
    answered wrongly, so that its radius is 0.
    """

    BRACKETED = "bracketed"
    MAXIMUM = "maximum"
    OPEN = "open"
    MISCLASSIFIED = "misclassified"


@dataclass(frozen=True, eq=False)
class RadiusItem:
    """A bracket of the smallest distance at which the answer can change.

    Attributes:
        index: Position in the data set.
        label, predicted: The right class, and the one the network gives.
        lower: Largest radius proved: nothing within it changes the answer.
        upper: Smallest radius with a confirmed counterexample, which lies within it; ∞ if none is
            known up to the largest radius asked about.
        status: How the search ended.
        evidence: For `lower`; the counterexample of `upper` was re-run in onnxruntime.
        counterexample: At `upper`, or None.
        seconds: Wall time, with this input's share of what is done for many at once.
        decisions: How many exact decisions were asked for.
        reason: Why it is open.
    """

    index: int
    label: int
    predicted: int
    lower: float
    upper: float
    status: RadiusStatus
    evidence: Evidence
    counterexample: Counterexample | None = None
    seconds: float = 0.0
    decisions: int = 0
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the item as `radius --json` writes it; an unknown upper end is null."""
        example = self.counterexample
        return {
            "index": self.index,
            "label": self.label,
            "predicted": self.predicted,
            "lower": self.lower,
            "upper": self.upper if math.isfinite(self.upper) else None,
            "status": self.status.value,
            "evidence": self.evidence.value,
            "counterexample": None if example is None else example.to_json(),
            "seconds": self.seconds,
            "decisions": self.decisions,
            "reason": self.reason,
        }
