"""Telling webhooks that a job is finished: signed, within limits, and again where it fails."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from urllib.parse import SplitResult

import anyio
import httpx
from anyio.to_thread import run_sync

from store.deliveries import Deliveries, Delivery
from store.settings import Settings
from worker.destinations import DestinationError, Destinations, Resolver, resolve
from worker.logs import job_logged
from worker.meters import Meters

__all__ = ["Deliverer", "project_secret", "signature"]

logger = logging.getLogger(__name__)

_AT_ONCE = 20
_FIRST_PAUSE_SECONDS = 10.0
_LONGEST_PAUSE_SECONDS = 6 * 3600.0
_GONE = 410


def project_secret(secret: str, project_id: str) -> str:
    """Return what the webhooks of one project are signed with.

    Each project has its own, so that none can pass for another; all follow from the installation's.
    """
    return hmac.new(secret.encode(), f"webhook:{project_id}".encode(), hashlib.sha256).hexdigest()


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """Return the signature of a body sent at a moment, as `Tightrope-Signature` carries it.

    Args:
        secret: Of the project.
        timestamp: Seconds since 1970; a receiver refuses what is old, so that nothing is replayed.
        body: As it is sent.
    """
    signed = f"{timestamp}.".encode() + body
    return f"v1={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"


@dataclass(frozen=True)
class _Outcome:
    """How an attempt went.

    Attributes:
        status: What the receiver answered.
        error: Why it failed; None where it did not.
        final: Another attempt would change nothing.
    """

    status: int | None = None
    error: str | None = None
    final: bool = False


class Deliverer:
    """Makes the deliveries that are due.

    Args:
        deliveries: The store.
        settings: For the hosts, the secret and the limits.
        meters: Counts attempts.
        resolver: Knows the addresses of hosts.
    """

    def __init__(
        self,
        deliveries: Deliveries,
        settings: Settings,
        meters: Meters,
        *,
        resolver: Resolver = resolve,
    ) -> None:
        self._deliveries = deliveries
        self._settings = settings
        self._meters = meters
        self._resolver = resolver
        self._destinations = Destinations.of(settings)
        self._random = Random()  # noqa: S311 (spreads attempts, keeps no secret)

    def deliver(self) -> int:
        """Make one attempt of each delivery that is due; return how many.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: The database does not answer.
        """
        limit = 2 * self._settings.webhook_seconds + 60.0
        due = self._deliveries.take(limit=_AT_ONCE, seconds=limit)
        if due:
            outcomes = anyio.run(self._send_all, due)
            for delivery, outcome in zip(due, outcomes, strict=True):
                self._settle(delivery, outcome)
        return len(due)

    async def _send_all(self, due: Sequence[Delivery]) -> list[_Outcome]:
        outcomes = [_Outcome() for _ in due]

        async def one(position: int) -> None:
            outcomes[position] = await self._send(due[position])

        async with anyio.create_task_group() as tasks:
            for position in range(len(due)):
                tasks.start_soon(one, position)
        return outcomes

    async def _send(self, delivery: Delivery) -> _Outcome:
        try:
            # One limit over everything: a receiver that sends a byte now and then gains nothing.
            with anyio.fail_after(self._settings.webhook_seconds):
                parts = self._destinations.check(delivery.url)
                find = partial(self._destinations.address, parts, self._resolver)
                address = await run_sync(find, abandon_on_cancel=True)
                return await self._post(delivery, parts, address)
        except DestinationError as error:
            return _Outcome(error=str(error))
        except TimeoutError:
            return _Outcome(error=f"no answer within {self._settings.webhook_seconds:g} s")
        except (httpx.HTTPError, OSError) as error:
            return _Outcome(error=f"{type(error).__name__}: {error}")

    async def _post(self, delivery: Delivery, parts: SplitResult, address: str) -> _Outcome:
        """Post to an address, under the name of the host."""
        body, headers = self._message(delivery)
        url = httpx.URL(delivery.url).copy_with(host=address)
        limit = self._settings.webhook_seconds
        client = httpx.AsyncClient(follow_redirects=False, trust_env=False, timeout=limit)
        async with (
            client,
            client.stream(
                "POST",
                url,
                content=body,
                headers={**headers, "Host": parts.netloc},
                extensions={"sni_hostname": parts.hostname},
            ) as response,
        ):
            # The body is not read: whatever it is, it would only cost.
            reached = response.extensions["network_stream"].get_extra_info("server_addr")
            if reached is not None and reached[0] != address:
                return _Outcome(error=f"the connection went to {reached[0]}, not to {address}")
            return _judged(response)

    def _message(self, delivery: Delivery) -> tuple[bytes, dict[str, str]]:
        body = json.dumps(
            {
                "id": delivery.id,
                "event": "job.finished",
                "created_at": delivery.created_at.isoformat(),
                "job": delivery.job,
            }
        ).encode()
        stated = self._settings.webhook_secret
        secret = project_secret(
            "" if stated is None else stated.get_secret_value(), delivery.project_id
        )
        timestamp = int(time.time())
        return body, {
            "Content-Type": "application/json",
            "User-Agent": "tightrope-webhook",
            "Tightrope-Delivery": delivery.id,
            "Tightrope-Timestamp": str(timestamp),
            "Tightrope-Signature": signature(secret, timestamp, body),
        }

    def _settle(self, delivery: Delivery, outcome: _Outcome) -> None:
        last = outcome.final or delivery.attempt >= self._settings.webhook_attempts
        again = None if last else self._pause(delivery.attempt)
        self._deliveries.settle(
            delivery, status=outcome.status, error=outcome.error, again_after=again
        )
        name = "delivered" if outcome.error is None else ("failed" if last else "retried")
        self._meters.count("tightrope_webhook_attempts_total", outcome=name)
        with job_logged(delivery.job["id"]):
            level = logging.INFO if outcome.error is None else logging.WARNING
            reason = "" if outcome.error is None else f": {outcome.error}"
            logger.log(level, "webhook %s is %s%s", delivery.id, name, reason)

    def _pause(self, attempt: int) -> float:
        """Return the seconds until the next attempt: ever more, and not the same for all."""
        pause = min(_FIRST_PAUSE_SECONDS * 4.0 ** (attempt - 1), _LONGEST_PAUSE_SECONDS)
        return pause * self._random.uniform(0.8, 1.2)


def _judged(response: httpx.Response) -> _Outcome:
    status = response.status_code
    if response.is_success:
        return _Outcome(status=status)
    reason = "redirects are not followed" if response.is_redirect else "the receiver refused it"
    return _Outcome(status=status, error=f"HTTP {status}: {reason}", final=status == _GONE)
