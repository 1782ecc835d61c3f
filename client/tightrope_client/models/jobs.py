"""Jobs: work of every kind, as it goes."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Self

from tightrope_client.errors import JobCancelledError, JobFailedError
from tightrope_client.problem import Problem
from tightrope_client.wire import Asked, Received

__all__ = ["FINAL_STATES", "Job", "JobBase", "Progress", "State", "Webhook"]

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
FINAL_STATES: frozenset[State] = frozenset({"succeeded", "failed", "cancelled"})


class Webhook(Asked):
    """Where the server tells that a job is finished, by a signed POST."""

    url: str


class Progress(Received):
    """How far a job is: units of work, and seconds where they can be foretold.

    `parked` inputs were given up; their answers are `unknown` and say why.
    """

    done: int
    total: int
    parked: int = 0
    seconds_left: float | None = None


class JobBase(Received):
    """What jobs of every kind have in common.

    Attributes:
        id: The same for the job and for what it makes.
        state: `succeeded`, `failed` and `cancelled` are final.
        priority: As it was asked for; higher ones go first.
        cancel_requested: It was asked to stop.
        cached: The result was taken over from an equal, earlier job.
        error: Why it failed.
    """

    id: str
    state: State
    progress: Progress
    priority: int = 0
    cancel_requested: bool
    cached: bool
    error: Problem | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def final(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in FINAL_STATES

    def require_success(self) -> Self:
        """Return this job if it has succeeded.

        Raises:
            JobCancelledError: It was cancelled.
            JobFailedError: It has failed, or is not finished.
        """
        if self.state == "cancelled":
            raise JobCancelledError(self)
        if self.state != "succeeded":
            raise JobFailedError(self)
        return self


class Job(JobBase):
    """A job, whatever it computes: `kind`, and the path `url` of what it makes."""

    kind: str
    url: str
