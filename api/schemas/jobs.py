"""Jobs on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from api.schemas.base import Cursor, Wire, example
from api.schemas.problem import Problem

__all__ = [
    "JOB_EXAMPLE",
    "JobBase",
    "JobKind",
    "JobPage",
    "JobPublic",
    "Priority",
    "Progress",
    "State",
]

JobKind = Literal["certification", "comparison", "training"]
Priority = Annotated[
    int,
    Field(
        ge=-10,
        le=10,
        description="Among the jobs of one project the highest goes first, then the oldest.",
    ),
]
State = Literal["queued", "running", "succeeded", "failed", "cancelled"]

JOB_EXAMPLE: dict[str, Any] = {
    "id": "job_01jr3v7q9k2m4n6p8r0s2t4v6w",
    "state": "running",
    "progress": {"done": 37, "total": 100, "seconds_left": 104.0},
    "cancel_requested": False,
    "cached": False,
    "priority": 0,
    "error": None,
    "created_at": "2030-01-31T12:00:00Z",
    "started_at": "2030-01-31T12:00:01Z",
    "finished_at": None,
}


class Progress(Wire):
    """How far a job is."""

    done: int = Field(description="Units of work: answered inputs, steps of training.", ge=0)
    total: int = Field(description="Units of work in all.", ge=0)
    parked: int = Field(
        default=0,
        description="Inputs that were given up; their answers are `unknown` and say why.",
        ge=0,
    )
    seconds_left: float | None = Field(
        default=None, description="While it runs, at the speed it has had since it was taken up."
    )


class JobBase(Wire):
    """What jobs of every kind have in common."""

    id: str = Field(description="Identifier, the same for the job and for what it makes.")
    state: State = Field(description="`succeeded`, `failed` and `cancelled` are final.")
    progress: Progress
    cancel_requested: bool = Field(description="The job was asked to stop.")
    cached: bool = Field(description="Every answer was taken over from earlier jobs.")
    priority: int = Field(0, description="As the request gave it.")
    error: Problem | None = Field(description="Why the job failed.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class JobPublic(JobBase):
    """A job, whatever it computes."""

    model_config = example(
        {
            **JOB_EXAMPLE,
            "kind": "certification",
            "url": "/v1/certifications/job_01jr3v7q9k2m4n6p8r0s2t4v6w",
        }
    )

    kind: JobKind = Field(description="What the job computes.")
    url: str = Field(description="Path of what it makes.")


class JobPage(Wire):
    """Jobs, newest first."""

    items: list[JobPublic]
    next_cursor: Cursor
