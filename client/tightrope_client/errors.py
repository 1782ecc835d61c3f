"""What can go wrong between a client and its server.

ClientError
├── ConfigurationError       address, key or file that cannot be used
├── ServerUnreachableError   no answer, however often it was asked
├── UnexpectedResponseError  an answer that no Tightrope gives
├── WaitTimeoutError         a job took longer than was allowed
├── JobFailedError           a job ended without a result
│   └── JobCancelledError    because somebody cancelled it
└── ProblemError             the server refused, and said why
├── InvalidRequestError      400, 413, 415, 422 and others: what was asked
├── AuthenticationError      401: who asked
├── PermissionDeniedError    403: what the key may not
├── NotFoundError            404
├── ConflictError            409: what the resource's state does not allow
├── RateLimitedError         429: too much at once
└── ServerError              5xx: the server's own trouble
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

import httpx
from pydantic import ValidationError

from tightrope_client.problem import InvalidPart, Problem

if TYPE_CHECKING:
    from tightrope_client.models.jobs import JobBase

__all__ = [
    "AuthenticationError",
    "ClientError",
    "ConfigurationError",
    "ConflictError",
    "InvalidRequestError",
    "JobCancelledError",
    "JobFailedError",
    "NotFoundError",
    "PermissionDeniedError",
    "ProblemError",
    "RateLimitedError",
    "ServerError",
    "ServerUnreachableError",
    "UnexpectedResponseError",
    "WaitTimeoutError",
    "problem_error",
]

_URN = "urn:tightrope:problem:"
_LONGEST_EXCERPT = 200


class ClientError(Exception):
    """Base of everything that this package raises on purpose."""


class ConfigurationError(ClientError):
    """The address, the key or a file that was given cannot be used; nothing was sent."""


class ServerUnreachableError(ClientError):
    """The server did not answer, or not in time, however often it was asked."""


class UnexpectedResponseError(ClientError):
    """The answer is none that Tightrope gives: the address may lead elsewhere."""


class WaitTimeoutError(ClientError):
    """A job is not finished in the time that was allowed; it goes on.

    Attributes:
        job: As it was last seen.
    """

    def __init__(self, job: JobBase, seconds: float) -> None:
        super().__init__(
            f"{job.id} is still {job.state} after {seconds:g} s "
            f"({job.progress.done} of {job.progress.total} done); it goes on, ask again later"
        )
        self.job = job


class JobFailedError(ClientError):
    """A job ended without a result.

    Attributes:
        job: As it ended.
        problem: Why, as the server tells it.
    """

    def __init__(self, job: JobBase) -> None:
        why = job.error.detail if job.error else "the server gave no reason"
        ended = f"{job.id} has {job.state}: {why}"
        super().__init__(ended if job.final else f"{job.id} is {job.state}, not finished")
        self.job = job
        self.problem = job.error


class JobCancelledError(JobFailedError):
    """A job was cancelled; what it had found out by then is kept."""

    def __init__(self, job: JobBase) -> None:
        super().__init__(job)
        done, total = job.progress.done, job.progress.total
        self.args = (f"{job.id} was cancelled with {done} of {total} done",)


class ProblemError(ClientError):
    """The server refused a request.

    Attributes:
        status: Of the HTTP response.
        problem: Its problem document (RFC 9457).
        kind: Which kind of problem, such as `bad-network`; stable, for programs.
        parts: The parts of the request that are wrong, where they are known.
        retry_after_seconds: When the server wants to be asked again, where it says so.
    """

    def __init__(self, problem: Problem, *, asked: str, retry_after: float | None = None) -> None:
        super().__init__(f"{asked} was refused ({problem.status}): {problem.detail}")
        self.problem = problem
        self.status = problem.status
        self.kind = problem.type.removeprefix(_URN)
        self.parts: tuple[InvalidPart, ...] = tuple(problem.errors or ())
        self.retry_after_seconds = retry_after


class InvalidRequestError(ProblemError):
    """What was asked is not valid."""


class AuthenticationError(ProblemError):
    """The server does not know who asks: the key is missing, wrong, expired or revoked."""


class PermissionDeniedError(ProblemError):
    """The key may not do this."""


class NotFoundError(ProblemError):
    """There is no such resource."""


class ConflictError(ProblemError):
    """The resource's state does not allow this."""


class RateLimitedError(ProblemError):
    """The key asks for too much at once."""


class ServerError(ProblemError):
    """The server has trouble of its own."""


_CLASSES: Mapping[int, type[ProblemError]] = {
    HTTPStatus.UNAUTHORIZED: AuthenticationError,
    HTTPStatus.FORBIDDEN: PermissionDeniedError,
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.CONFLICT: ConflictError,
    HTTPStatus.TOO_MANY_REQUESTS: RateLimitedError,
}


def problem_error(response: httpx.Response, retry_after: float | None = None) -> ProblemError:
    """Return the exception for a response of status 400 or above.

    Args:
        response: Its body has been read.
        retry_after: When to ask again, in seconds.
    """
    status = response.status_code
    fallback = ServerError if status >= HTTPStatus.INTERNAL_SERVER_ERROR else InvalidRequestError
    kind = _CLASSES.get(status, fallback)
    asked = f"{response.request.method} {response.request.url.copy_with(query=None)}"
    return kind(_problem_of(response), asked=asked, retry_after=retry_after)


def _problem_of(response: httpx.Response) -> Problem:
    """Return the problem document; of what a proxy says in its place, the first words."""
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        words = " ".join(response.text.split())[:_LONGEST_EXCERPT]
        phrase = response.reason_phrase or f"status {response.status_code}"
        detail = f"{phrase}; something in front of the server answered" + (words and f": {words}")
        problem = Problem(
            type="about:blank", title=phrase, status=response.status_code, detail=detail
        )
    return problem
