"""What a client does step by step, without doing it: the one description that both clients follow.

A flow is a generator. It yields steps (`Send`, `Pause`, `Compute`), gets what became of each, and
returns its result; a runner performs the steps, waiting in its own way.
"""

from __future__ import annotations

import hashlib
import random
import ssl
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import httpx

from tightrope_client.calls import Call, Request
from tightrope_client.errors import (
    ConfigurationError,
    NotFoundError,
    ServerUnreachableError,
    UnexpectedResponseError,
    WaitTimeoutError,
    problem_error,
)
from tightrope_client.models.jobs import JobBase
from tightrope_client.settings import RetryPolicy

__all__ = ["Compute", "Flow", "Pause", "Retry", "Send", "Step", "content_hash", "exchange", "wait"]

T = TypeVar("T")
J = TypeVar("J", bound=JobBase)

TRANSIENT = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
LONGEST_HOLD_SECONDS = 30.0
# A server, or a proxy, that does not hold an answer back is not asked more often than this.
_SHORTEST_POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Send:
    """Send a request; what became of it is a response, or the error of the connection."""

    request: Request


@dataclass(frozen=True)
class Pause:
    """Let some seconds pass."""

    seconds: float


@dataclass(frozen=True)
class Compute:
    """Call a function that takes a while; what became of it is what it returns."""

    function: Callable[[], Any]


Step = Send | Pause | Compute
Flow = Generator[Step, Any, T]


@dataclass(frozen=True)
class Retry:
    """How requests are repeated.

    Attributes:
        policy: For how long.
        notice: Told why a request is about to be repeated, and in how many seconds.
    """

    policy: RetryPolicy
    notice: Callable[[str, float], object] = lambda _why, _seconds: None


def exchange(call: Call[T], retry: Retry) -> Flow[T]:
    """Send a request until it is answered, and return what the answer means.

    Raises:
        ServerUnreachableError: There is no answer within the policy's patience.
        ProblemError: The server refuses, or is overloaded for as long as that.
        UnexpectedResponseError: The answer is none of Tightrope's.
    """
    attempts, started = 0, time.monotonic()
    while True:
        outcome = yield Send(call.request)
        attempts += 1
        again = _asked_to_wait(outcome)
        if isinstance(outcome, httpx.Response) and outcome.status_code not in TRANSIENT:
            return _read(call, outcome, attempts)
        seconds = retry.policy.delay(attempts) * random.uniform(0.75, 1.0)  # noqa: S311 (no secret)
        seconds = max(seconds, again or 0.0)
        left = retry.policy.patience_seconds - (time.monotonic() - started)
        if seconds > left or _hopeless(outcome):
            raise _failure(outcome, call.request, again)
        retry.notice(_why(outcome), seconds)
        yield Pause(seconds)


def wait(
    ask: Callable[[float], Call[J]],
    retry: Retry,
    *,
    timeout_seconds: float | None,
    poll_seconds: float,
    progress: Callable[[J], object] | None,
) -> Flow[J]:
    """Ask until a job is final, and return it.

    Args:
        ask: Returns the call that is held back for at most so many seconds.
        retry: While the server does not answer.
        timeout_seconds: To wait in all; None for ever.
        poll_seconds: Longest time that one request is held back.
        progress: Told of the job after each of them.

    Raises:
        WaitTimeoutError: It is not final by then.
    """
    start = time.monotonic()
    before: str | None = None
    while True:
        held = min(poll_seconds, LONGEST_HOLD_SECONDS)
        if timeout_seconds is not None:
            held = max(0.0, min(held, start + timeout_seconds - time.monotonic()))
        asked = time.monotonic()
        job = yield from exchange(ask(held), retry)
        if progress is not None:
            progress(job)
        if job.final:
            return job
        now = time.monotonic()
        if timeout_seconds is not None and now >= start + timeout_seconds:
            raise WaitTimeoutError(job, timeout_seconds)
        quick = min(_SHORTEST_POLL_SECONDS, held) - (now - asked)
        if job.state == before and quick > 0:
            yield Pause(quick)
        before = job.state


def content_hash(file: Path | bytes) -> Flow[str]:
    """Return the SHA-256 of a file, in hexadecimal.

    Raises:
        ConfigurationError: It cannot be read.
    """
    if isinstance(file, bytes):
        return hashlib.sha256(file).hexdigest()

    def compute() -> str:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()

    try:
        found: str = yield Compute(compute)
    except OSError as error:
        raise ConfigurationError(f"cannot read {file}: {error.strerror or error}") from error
    return found


def _read(call: Call[T], response: httpx.Response, attempts: int) -> T:
    """Return what a response means that is not to be repeated."""
    if response.is_success:
        return call.read(response)
    if response.status_code < HTTPStatus.BAD_REQUEST:
        place = response.headers.get("location", "elsewhere")
        raise UnexpectedResponseError(
            f"the answer to {response.request.method} {response.request.url} leads to {place}; "
            "give that server's own address"
        )
    error = problem_error(response)
    if attempts > 1 and call.request.method == "DELETE" and isinstance(error, NotFoundError):
        # An earlier attempt has deleted it, and only its answer was lost.
        return call.read(response)
    raise error


def _asked_to_wait(outcome: object) -> float | None:
    """Return the seconds after which the server wants to be asked again, where it says so."""
    stated = outcome.headers.get("retry-after", "") if isinstance(outcome, httpx.Response) else ""
    try:
        return max(0.0, float(stated))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(stated)
    except (TypeError, ValueError):
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())


def _hopeless(outcome: object) -> bool:
    """Return whether repeating cannot help: a wrong certificate, or a request that is none."""
    while isinstance(outcome, BaseException):
        if isinstance(outcome, ssl.SSLCertVerificationError | httpx.LocalProtocolError):
            return True
        outcome = outcome.__cause__ or outcome.__context__
    return False


def _why(outcome: object) -> str:
    if isinstance(outcome, httpx.Response):
        return f"the server answers {outcome.status_code} {outcome.reason_phrase}".rstrip()
    return f"the server cannot be reached ({_words(outcome)})"


def _words(error: object) -> str:
    return str(error) or type(error).__name__


def _failure(outcome: object, request: Request, again: float | None) -> Exception:
    """Return what to raise once patience is at its end."""
    if isinstance(outcome, httpx.Response):
        return problem_error(outcome, again)
    place = request.path
    if isinstance(outcome, httpx.RequestError):
        place = str(outcome.request.url.copy_with(query=None))
    return ServerUnreachableError(
        f"{request.method} {place}: {_words(outcome)}; is the server running, and is its address "
        "right (option, or the variable TIGHTROPE_SERVER)?"
    )
