"""The FastAPI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from anyio import create_task_group
from fastapi import FastAPI
from fastapi.routing import APIRoute
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from api.admitting import Admission
from api.auditing import AuditTrail
from api.caching import Caching
from api.compressing import Compression
from api.dashboard import assets, cancelling, new, overview
from api.dashboard import certifications as certification_pages
from api.dashboard import comparisons as comparison_pages
from api.dashboard import inputs as input_pages
from api.dashboard import networks as network_pages
from api.dashboard import settings as settings_pages
from api.dashboard import trainings as training_pages
from api.dashboard import uploads as upload_pages
from api.feed import Feed
from api.headers import SecurityHeaders
from api.limits import BodyLimit, NestingLimit
from api.observing import Observation
from api.problems import install, problems
from api.routes import (
    access,
    certifications,
    comparison_reports,
    comparisons,
    datasets,
    documentation,
    events,
    evidence,
    findings,
    jobs,
    login,
    networks,
    operations,
    proof_checks,
    reports,
    training_files,
    trainings,
    webhooks,
)
from api.schemas.problem import InvalidPart, Problem
from api.services import Queue, open_services
from api.shared import SharedReads
from store.events import Events
from store.settings import Settings
from worker.inspector import Inspector

__all__ = ["create_app"]

_DESCRIPTION = """
Exact certification of neural networks: within ε of each of these inputs, can the answer change?

Upload a network (ONNX) and a data set (npz), `POST` a certification, and poll it with `?wait=30`
until its state is final. `POST` a training to make a network that can be certified. Errors are
problem documents (RFC 9457); lists are paged with `limit` and `cursor`; a `POST` may carry an
`Idempotency-Key`.
"""
# Looked through in this order: what is polled comes first.
_ROUTES = (
    jobs,
    certifications,
    networks,
    datasets,
    reports,
    findings,
    evidence,
    proof_checks,
    comparison_reports,
    comparisons,
    training_files,
    trainings,
    events,
    webhooks,
    access,
    operations,
    documentation,
    login,
    assets,
    overview,
    network_pages,
    upload_pages,
    certification_pages,
    comparison_pages,
    input_pages,
    training_pages,
    cancelling,
    new,
    settings_pages,
)
_TAGS = [
    {"name": "networks", "description": "ONNX files to certify."},
    {"name": "datasets", "description": "Labelled inputs, as npz files."},
    {"name": "certifications", "description": "Questions and their answers, input by input."},
    {"name": "reports", "description": "Answers to read, keep and send on."},
    {"name": "comparisons", "description": "Networks beside a baseline, on the same inputs."},
    {"name": "trainings", "description": "Networks made so that they can be certified."},
    {"name": "jobs", "description": "Work of every kind, as it goes."},
    {"name": "events", "description": "News of jobs, as they happen."},
    {"name": "access", "description": "Keys, projects, and who did what."},
    {"name": "webhooks", "description": "Others told that a job is finished."},
    {"name": "operations", "description": "For those who run the service."},
]


def create_app(
    settings: Settings, *, inspector: Inspector | None = None, queue: Queue | None = None
) -> FastAPI:
    """Return the application; the database has to be migrated before it is used.

    Args:
        settings: Of this process.
        inspector: Looks at uploaded files, in place of a process of its own for each.
        queue: Tells workers about jobs, in place of Celery.
    """
    services = open_services(settings, inspector=inspector, queue=queue)
    feed = Feed(Events(services.database), seconds=settings.events_poll_seconds)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        services.inspector.start()
        async with create_task_group() as tasks:
            tasks.start_soon(feed.run)
            yield
            tasks.cancel_scope.cancel()
        services.close()

    app = FastAPI(
        title="Tightrope",
        version=services.version,
        summary="Can this network be made to change its mind?",
        description=_DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        openapi_tags=_TAGS,
        generate_unique_id_function=_operation_id,
        lifespan=lifespan,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.state.services = services
    app.state.feed = feed
    app.state.reads = SharedReads()
    for module in _ROUTES:
        app.include_router(module.router)
    install(app)
    app.add_middleware(Admission, services=services)
    app.add_middleware(NestingLimit)
    app.add_middleware(
        BodyLimit,
        default_bytes=settings.max_body_bytes,
        by_path=dict.fromkeys(
            ("/v1/networks", "/v1/datasets", "/networks"), settings.max_upload_bytes
        ),
    )
    app.add_middleware(AuditTrail, audit=services.audit)
    app.add_middleware(Caching)
    app.add_middleware(Compression)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(Observation, metrics=services.metrics, tracing=services.tracing)
    if settings.trusted_proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=settings.trusted_proxies)
    _describe(app)
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name


def _describe(app: FastAPI) -> None:
    """Add to the OpenAPI document what routes refer to by name: the problem document."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        schemas = document["components"]["schemas"]
        for operation in (entry for path in document["paths"].values() for entry in path.values()):
            # FastAPI adds its own form of this error wherever a path has a parameter.
            if "application/json" in operation["responses"].get("422", {}).get("content", {}):
                del operation["responses"]["422"]
            if "security" in operation:
                _describe_refusals(operation)
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        template = "#/components/schemas/{model}"
        schemas["Problem"] = Problem.model_json_schema(ref_template=template)
        schemas["Problem"].pop("$defs", None)
        schemas["InvalidPart"] = InvalidPart.model_json_schema(ref_template=template)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _describe_refusals(operation: dict[str, Any]) -> None:
    """Add what an operation answers those who may not do it."""
    refusals = {str(status): answer for status, answer in problems(401, 403, 421, 429).items()}
    operation["responses"] = {**refusals, **operation["responses"]}
