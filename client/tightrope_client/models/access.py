"""Keys, and what webhooks were told."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from tightrope_client.wire import Asked, Received

__all__ = [
    "Delivery",
    "DeliveryList",
    "Key",
    "KeyLimits",
    "KeyRequest",
    "MadeKey",
    "Scope",
    "WebhookSecret",
]

Scope = Literal["read", "submit", "train", "admin"]


class KeyLimits(Received):
    """Limits of a key; None where those of the server hold.

    Attributes:
        requests_per_minute: On average.
        request_burst: At once, after a pause.
        queued_jobs: Waiting at the same time.
        upload_bytes: Of one file.
        inputs_per_job: That one job certifies.
    """

    requests_per_minute: int | None = None
    request_burst: int | None = None
    queued_jobs: int | None = None
    upload_bytes: int | None = None
    inputs_per_job: int | None = None


class KeyRequest(Asked):
    """A key to make.

    Attributes:
        name: For people.
        scopes: What it may do.
        valid_days: How long it is good for; None until somebody revokes it.
        project_id: What it opens; None for one's own project.
        limits: Where they differ from those of the server.
    """

    name: str
    scopes: tuple[Scope, ...] = ("read", "submit")
    valid_days: int | None = None
    project_id: str | None = None
    limits: KeyLimits | None = None


class Key(Received):
    """A key, without its secret.

    Attributes:
        id: A part of the key.
        created_by: Id of the key that made it; None for the command line.
        last_used_at: To within a minute.
    """

    id: str
    name: str
    project_id: str
    scopes: list[Scope]
    limits: KeyLimits
    created_at: datetime
    created_by: str | None
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class MadeKey(Key):
    """A new key.

    Attributes:
        key: The key itself, which the server shows this once.
    """

    key: str = Field(repr=False)


class Delivery(Received):
    """How telling a webhook went.

    Attributes:
        id: The same for every attempt.
        status: What the receiver answered last.
        error: Why the last attempt failed.
    """

    id: str
    url: str
    state: Literal["pending", "delivered", "failed"]
    attempts: int
    created_at: datetime
    next_attempt_at: datetime | None
    finished_at: datetime | None
    status: int | None
    error: str | None


class DeliveryList(Received):
    """Deliveries of a job."""

    items: list[Delivery]


class WebhookSecret(Received):
    """What the webhooks of a project are signed with."""

    secret: str = Field(repr=False)
