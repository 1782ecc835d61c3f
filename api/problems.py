"""Problem documents (RFC 9457): every error leaves the service as one.

One table says which error is which problem. It is keyed by the names of the classes, since the
errors of the mathematics reach this process only as names: from the process that inspects files,
and from jobs that failed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from markupsafe import Markup
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from api.dashboard.frame import framed
from api.headers import SECURITY_HEADERS
from api.schemas.problem import InvalidPart, Problem
from store.errors import StoreError
from worker.inspector import RejectedFileError

__all__ = [
    "MEDIA_TYPE",
    "PROBLEMS",
    "ApiError",
    "ProblemKind",
    "answer",
    "install",
    "problem_of",
    "problem_response",
    "problems",
]

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
_INTERNAL = "InternalError"
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_RETRY_AFTER = {"Retry-After": "5"}
_HEADERS: Mapping[int, Mapping[str, str]] = {
    401: {"WWW-Authenticate": 'Bearer realm="tightrope"'},
    429: {"Retry-After": "30"},
}


@dataclass(frozen=True)
class ProblemKind:
    """What all problems of one kind have in common."""

    status: int
    slug: str
    title: str


_BAD_NETWORK = ProblemKind(422, "bad-network", "The network cannot be used")
_BAD_INPUT = ProblemKind(422, "bad-input", "The input cannot be used")

PROBLEMS: Mapping[str, ProblemKind] = {
    # what the mathematics refuses
    "TightropeError": ProblemKind(500, "internal", "Internal error"),
    "InvalidInputError": _BAD_INPUT,
    "ShapeError": ProblemKind(422, "shape", "Shapes do not fit"),
    "BoundsError": _BAD_INPUT,
    "SpecificationError": ProblemKind(422, "specification", "The specification cannot be used"),
    "DataError": ProblemKind(422, "bad-dataset", "The data set cannot be used"),
    "ModelImportError": _BAD_NETWORK,
    "UnsupportedOperatorError": ProblemKind(
        422, "unsupported-operator", "The network uses an operator that is not supported"
    ),
    "UnsupportedMethodError": ProblemKind(
        422, "unsupported-method", "A method cannot handle this network"
    ),
    "ModelTooLargeError": ProblemKind(
        422, "too-large-for-method", "The network is too large for a method"
    ),
    "EncodingStoppedError": ProblemKind(422, "encoding-stopped", "A method ran out of time"),
    "LiftingStoppedError": ProblemKind(422, "lifting-stopped", "A method ran out of time"),
    "StoppedError": ProblemKind(422, "stopped", "A method ran out of time"),
    "SolverUnavailableError": ProblemKind(503, "solver-unavailable", "A solver is not available"),
    "SolverFailedError": ProblemKind(500, "solver-failed", "A solver failed"),
    "MemoryLimitError": ProblemKind(
        422, "memory", "A method does not fit into the workers' memory"
    ),
    # how training fails
    "UntrainableError": ProblemKind(422, "untrainable", "This cannot be trained"),
    "DivergedError": ProblemKind(422, "diverged", "Training diverged"),
    "CheckpointError": ProblemKind(422, "checkpoint", "A checkpoint cannot be used"),
    "TrainingError": ProblemKind(500, "training-failed", "Training failed"),
    # who may do what
    "AuthenticationError": ProblemKind(401, "unauthenticated", "A key is needed"),
    "ForbiddenError": ProblemKind(403, "forbidden", "The key does not allow this"),
    "CrossSiteError": ProblemKind(403, "cross-site", "The request came from another site"),
    "HostError": ProblemKind(421, "host", "The service is not known by this name"),
    "RateLimitError": ProblemKind(429, "rate-limit", "Too many requests"),
    "QuotaError": ProblemKind(429, "quota", "There is too much already"),
    # what the store refuses
    "StoreError": ProblemKind(500, "internal", "Internal error"),
    "NotFoundError": ProblemKind(404, "not-found", "There is no such resource"),
    "ConflictError": ProblemKind(409, "conflict", "The resource's state does not allow this"),
    "IdempotencyMismatchError": ProblemKind(
        422, "idempotency-key-reused", "The Idempotency-Key belongs to another request"
    ),
    "StoreFullError": ProblemKind(507, "disk-full", "The server's disk is full"),
    "SettingsError": ProblemKind(500, "internal", "Internal error"),
    "LeaseLostError": ProblemKind(500, "internal", "Internal error"),
    "RejectedFileError": _BAD_INPUT,
    # what the service itself refuses
    "ResourceLimitError": ProblemKind(422, "too-demanding", "Reading the file broke a limit"),
    "ValidationError": ProblemKind(422, "validation", "The request is not valid"),
    "MalformedBodyError": ProblemKind(400, "malformed-body", "The body cannot be read"),
    "MediaTypeError": ProblemKind(415, "media-type", "The media type is not supported"),
    "TooLargeError": ProblemKind(413, "too-large", "The body is too large"),
    "InspectorUnavailableError": ProblemKind(
        503, "unavailable", "A part of the service does not answer"
    ),
    "UnavailableError": ProblemKind(503, "unavailable", "A part of the service does not answer"),
    # how jobs fail
    "MemoryError": ProblemKind(507, "out-of-memory", "The worker ran out of memory"),
    "EngineDiedError": ProblemKind(500, "engine-died", "The process that computes died"),
    "RemoteError": ProblemKind(500, "internal", "Internal error"),
    "WorkerLostError": ProblemKind(500, "worker-lost", "The job's workers died"),
    _INTERNAL: ProblemKind(500, "internal", "Internal error"),
}


class ApiError(Exception):
    """A request that the service refuses.

    Args:
        name: A key of `PROBLEMS`.
        detail: What was wrong, where, and what to do.
        errors: The parts of the request that are wrong, where they are known.
        headers: Of the answer.
    """

    def __init__(
        self,
        name: str,
        detail: str,
        errors: Iterable[InvalidPart] = (),
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.name = name
        self.errors = tuple(errors)
        self.headers = headers


def problem_of(
    name: str,
    detail: str,
    *,
    instance: str | None = None,
    errors: Iterable[InvalidPart] = (),
) -> Problem:
    """Return the problem document of an error.

    Args:
        name: Of the error's class; one that is not in the table is an internal error.
        detail: For this occurrence.
        instance: Path of the request or resource.
        errors: The parts of the request that are wrong.
    """
    kind = PROBLEMS.get(name, PROBLEMS[_INTERNAL])
    return Problem(
        type=f"urn:tightrope:problem:{kind.slug}",
        title=kind.title,
        status=kind.status,
        detail=detail,
        instance=instance,
        errors=list(errors) or None,
    )


def problem_response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """Return the document as an HTTP response."""
    return JSONResponse(
        problem.model_dump(mode="json", exclude_none=True),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers={**SECURITY_HEADERS, **_HEADERS.get(problem.status, {}), **(headers or {})},
    )


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of a route's error responses; 500 and 503 are everyone's."""
    documented: dict[int | str, dict[str, Any]] = {}
    for status in sorted({*statuses, 500, 503}):
        kind = next((kind for kind in PROBLEMS.values() if kind.status == status), None)
        title = HTTPStatus(status).phrase if kind is None else kind.title
        slug = "about:blank" if kind is None else f"urn:tightrope:problem:{kind.slug}"
        example = {"type": slug, "title": title, "status": status, "detail": f"{title}: …"}
        schema = {"$ref": "#/components/schemas/Problem"}
        documented[status] = {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": schema, "example": example}},
        }
    return documented


def install(app: FastAPI) -> None:
    """Make every error of an application a problem document."""
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(StoreError, _store_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(DBAPIError, _database_error)
    app.add_exception_handler(Exception, _unexpected_error)


def _api_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, ApiError):
        raise error
    problem = problem_of(error.name, str(error), instance=request.url.path, errors=error.errors)
    if problem.status == HTTPStatus.UNAUTHORIZED and _is_shown(request):
        # A link may fill a form in; what a form sends is not part of the address.
        query = request.url.query
        target = quote(request.url.path + (f"?{query}" if query else ""), safe="/")
        return RedirectResponse(f"/login?next={target}", status_code=303, headers=SECURITY_HEADERS)
    return answer(request, problem, error.headers)


def answer(
    request: Request, problem: Problem, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a problem as whoever asks reads it: a page for people, a document for programs."""
    if not _is_shown(request) or request.url.path.startswith("/v1/"):
        return problem_response(problem, headers)
    return framed(
        request,
        "error.html",
        {"problem": problem},
        login=Markup(),
        status=problem.status,
        headers={**SECURITY_HEADERS, **_HEADERS.get(problem.status, {}), **(headers or {})},
    )


def _is_shown(request: Request) -> bool:
    """Return whether a browser asks for a page to show to a person, or sends a form of one."""
    form = request.method == "POST" and not request.url.path.startswith("/v1/")
    asks = request.method == "GET" or form
    return asks and request.headers.get("accept", "").startswith("text/html")


def _store_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, RejectedFileError):
        name = type(error).__name__
        return answer(request, problem_of(name, str(error), instance=request.url.path))
    parts = [InvalidPart(location=part["node"], message=_refused(part)) for part in error.parts]
    problem = problem_of(error.kind, str(error), instance=request.url.path, errors=parts)
    return answer(request, problem)


def _refused(part: Mapping[str, str]) -> str:
    reason = f": {part['reason']}" if part["reason"] else ""
    return f"operator {part['operator']} is not supported{reason}"


def _http_error(request: Request, error: Exception) -> Response:
    """Answer for what the framework refuses: an unknown path, a method, a broken body."""
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == HTTPStatus.BAD_REQUEST:
        detail = f"{error.detail}; send JSON in UTF-8"
        return answer(request, problem_of("MalformedBodyError", detail, instance=request.url.path))
    problem = Problem(
        type="about:blank",
        title=HTTPStatus(error.status_code).phrase,
        status=error.status_code,
        detail=_framework_detail(request, error),
        instance=request.url.path,
    )
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_allowed_methods(request))
    return answer(request, problem, headers)


def _framework_detail(request: Request, error: HTTPException) -> str:
    if error.status_code == HTTPStatus.NOT_FOUND:
        return f"nothing is served at {request.url.path}; /docs lists what is"
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = ", ".join(_allowed_methods(request))
        return f"{request.method} is not allowed at {request.url.path}, only {allowed}"
    return str(error.detail)


def _allowed_methods(request: Request) -> list[str]:
    """Return every method of a path; the framework itself names those of one route only."""
    routes = request.app.router.routes
    scope = {key: request.scope[key] for key in ("type", "path", "root_path", "headers")}
    return [
        method
        for method in _METHODS
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in routes)
    ]


def _validation_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    parts = [
        InvalidPart(
            location=".".join(str(step) for step in part["loc"]),
            message=str(part["msg"]),
        )
        for part in error.errors()
    ]
    listed = "; ".join(f"{part.location}: {part.message}" for part in parts)
    return answer(
        request, problem_of("ValidationError", listed, instance=request.url.path, errors=parts)
    )


def _database_error(request: Request, error: Exception) -> Response:
    logger.error("the database failed: %s", error)
    if "disk is full" in str(error):
        detail = "the server's disk is full, nothing was stored; free some space and try again"
        return answer(request, problem_of("StoreFullError", detail, instance=request.url.path))
    if isinstance(error, IntegrityError):
        detail = "something this request refers to changed at the same moment; try again"
        return answer(request, problem_of("ConflictError", detail, instance=request.url.path))
    if not isinstance(error, OperationalError):
        return _unexpected_error(request, error)
    detail = "the database does not answer; try again in a few seconds"
    return answer(
        request, problem_of("UnavailableError", detail, instance=request.url.path), _RETRY_AFTER
    )


def _unexpected_error(request: Request, error: Exception) -> Response:
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    detail = "the service met an error of its own; its log has the details"
    return answer(request, problem_of(_INTERNAL, detail, instance=request.url.path))
