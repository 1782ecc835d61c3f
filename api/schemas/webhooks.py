"""Webhooks on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from api.schemas.base import Wire, example

__all__ = ["Delivery", "DeliveryList", "Webhook", "WebhookField", "WebhookSecret"]


class Webhook(Wire):
    """Where to tell that a job is finished."""

    model_config = example({"url": "https://ci.example.org/hooks/tightrope"})

    url: str = Field(
        min_length=1,
        max_length=2000,
        description="Told once the job is final, by a signed POST; of a host that the operator "
        "allows.",
    )


WebhookField = Annotated[
    Webhook | None, Field(description="Where to tell that the job is finished.")
]


class Delivery(Wire):
    """How telling a webhook went."""

    model_config = example(
        {
            "id": "dlv_01jr3v7q9k2m4n6p8r0s2t4v6w",
            "url": "https://ci.example.org/hooks/tightrope",
            "state": "delivered",
            "attempts": 1,
            "created_at": "2030-01-31T12:03:20Z",
            "next_attempt_at": None,
            "finished_at": "2030-01-31T12:03:21Z",
            "status": 200,
            "error": None,
        }
    )

    id: str = Field(description="The same for every attempt; sent as `Tightrope-Delivery`.")
    url: str
    state: Literal["pending", "delivered", "failed"]
    attempts: int
    created_at: datetime
    next_attempt_at: datetime | None
    finished_at: datetime | None
    status: int | None = Field(description="What the receiver answered last.")
    error: str | None = Field(description="Why the last attempt failed.")


class DeliveryList(Wire):
    """Deliveries of a job."""

    items: list[Delivery]


class WebhookSecret(Wire):
    """What the webhooks of a project are signed with."""

    secret: str = Field(description="Key of the HMAC-SHA256, as text.")
