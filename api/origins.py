"""What a request for a job brings along beside the question: a webhook, and where it came from."""

from __future__ import annotations

from api.checking import refused
from api.schemas.webhooks import Webhook
from api.services import Services
from store.states import Origin
from worker.destinations import DestinationError, Destinations
from worker.logs import current_request

__all__ = ["origin_of"]


def origin_of(webhook: Webhook | None, services: Services, *, kind: str) -> Origin:
    """Return what to keep with a new job.

    Args:
        webhook: That is to be told.
        services: Of the request.
        kind: Of the job.

    Raises:
        ApiError: Webhooks may not go there.
    """
    if webhook is not None:
        try:
            Destinations.of(services.settings).check(webhook.url)
        except DestinationError as error:
            raise refused("ValidationError", "webhook.url", str(error)) from error
    with services.tracing.span(f"{kind} job"):
        traceparent = services.tracing.traceparent()
    context = {"request_id": current_request(), "traceparent": traceparent}
    known = {name: value for name, value in context.items() if value is not None}
    return Origin(None if webhook is None else webhook.url, known or None)
