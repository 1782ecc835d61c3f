"""Where jobs can be, and where a request for one came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

__all__ = ["FINAL_STATES", "JobState", "Origin"]


class JobState(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL_STATES = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})


@dataclass(frozen=True)
class Origin:
    """What a request brings along for its job, beside the question.

    Attributes:
        webhook_url: Where to tell that the job is finished.
        context: For logs and traces: `request_id`, `traceparent`.
    """

    webhook_url: str | None = None
    context: Mapping[str, Any] | None = None
