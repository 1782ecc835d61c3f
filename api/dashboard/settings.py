"""How the service is set up: who asks, workers and their solvers, versions, limits, keys."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Query, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from api.authentication import Principal, keys_needed
from api.dashboard.fields import Field, Filled, Form, fill, initial_texts
from api.dashboard.posting import PostedForm, refusal_of, texts_in
from api.dashboard.texts import Kind
from api.dashboard.visiting import Visit, VisitDependency
from api.principal import PrincipalDependency, Scope, needs, needs_form
from api.problems import ApiError
from api.routes.access import (
    create_key,
    create_project,
    get_key,
    list_keys,
    list_projects,
    revoke_key,
)
from api.schemas.access import KeyCreate, KeyPublic, ProjectCreate, ProjectPublic, ScopeName
from api.services import InstallationDependency, Services
from reports.page import MISSING, duration, whole
from store.errors import StoreError
from store.job_tables import WorkerRow
from store.workers import Workers

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

_LISTED = 200
_PACKAGES = ("tightrope", "fastapi", "uvicorn", "pydantic", "sqlalchemy", "celery", "redis")
_LICENCES = {
    "full": ("verified", "full licence"),
    "open": ("verified", "free software"),
    "restricted": ("unknown", "restricted licence"),
    "unavailable": ("falsified", "cannot be used"),
}

_LIMITS = {
    "requests_per_minute": "requests of a key in a minute",
    "request_burst": "requests of a key at once",
    "queued_jobs": "queued jobs of a key",
    "upload_bytes": "largest upload",
    "inputs_per_job": "inputs of a job",
    "max_upload_bytes": "largest upload",
    "max_body_bytes": "largest request",
    "inspection_seconds": "time to read an upload",
    "max_training_parameters": "parameters of a training",
    "max_training_inputs": "inputs of a training",
    "max_training_epochs": "epochs of a training",
    "login_seconds": "length of a login",
    "lease_seconds": "silence after which a worker is dead",
}
_OF_SERVICE = (
    "max_upload_bytes", "max_body_bytes", "inspection_seconds", "inputs_per_job", "queued_jobs",
    "requests_per_minute", "request_burst", "max_training_parameters", "max_training_inputs",
    "max_training_epochs", "login_seconds", "lease_seconds",
)  # fmt: skip

KEY = Form(
    "key",
    KeyCreate,
    (
        Field("name", "Name", Kind.TEXT, hint="For people: who or what uses it."),
        Field(
            "scopes",
            "What it may do",
            Kind.SEVERAL,
            choices=[(name, name) for name in get_args(ScopeName)],
        ),
        Field(
            "valid_days", "Good for", Kind.COUNT, unit="days", initial=90,
            hint="Empty for as long as nobody revokes it.",
        ),
        Field("project_id", "Project", Kind.CHOICE, hint="What it opens."),
    ),
)  # fmt: skip
PROJECT = Form(
    "project", ProjectCreate, (Field("name", "Name", Kind.TEXT, hint="Of a team or a product."),)
)

ProjectName = Annotated[str | None, Query(max_length=100)]


@dataclass(frozen=True)
class SolverView:
    """A solver of a worker; its licence as the class of a badge, and in words."""

    name: str
    version: str
    licence: tuple[str, str]
    note: str


@dataclass(frozen=True)
class WorkerView:
    """A worker in a table; without solvers it has not looked for them yet, or says why not."""

    row: WorkerRow
    solvers: Sequence[SolverView]
    versions: Mapping[str, str]
    failure: str


@router.get("/settings", response_class=HTMLResponse, dependencies=[needs(Scope.READ)])
def show_settings(
    visit: VisitDependency, installed: InstallationDependency, project: ProjectName = None
) -> HTMLResponse:
    """Return the page."""
    return _page(visit, installed, project=project)


@router.post("/settings/keys", name="create_key", dependencies=[needs_form(Scope.ADMIN)])
def make_key(
    visit: VisitDependency, installed: InstallationDependency, form: PostedForm
) -> Response:
    """Make a key and show it, this once."""
    filled, status = fill(KEY, texts_in(KEY, form)), 422
    if filled.create is not None:
        answer = Response()
        try:
            made = create_key(filled.create, answer, visit.principal, installed)
        except (ApiError, StoreError) as error:
            status, problems = refusal_of(KEY, error)
            filled = Filled(filled.texts, problems)
        else:
            page = visit.show("key.html", status=201, made=made)
            page.headers.update(answer.headers)
            return page
    return _page(visit, installed, key=filled, status=status)


@router.get(
    "/settings/keys/{key_id}/revoke",
    response_class=HTMLResponse,
    dependencies=[needs(Scope.ADMIN)],
)
def ask_to_revoke(
    visit: VisitDependency, key_id: str, installed: InstallationDependency
) -> HTMLResponse:
    """Return the page that asks again."""
    key = get_key(key_id, visit.principal, installed)
    return visit.show("revoke.html", key=key, own=key.id == visit.principal.key_id)


@router.post(
    "/settings/keys/{key_id}/revoke", name="revoke_key", dependencies=[needs_form(Scope.ADMIN)]
)
def revoke(
    key_id: str, installed: InstallationDependency, principal: PrincipalDependency
) -> RedirectResponse:
    """Make a key worthless at once."""
    key = revoke_key(key_id, principal, installed)
    return RedirectResponse(f"/settings?project={key.project_id}#keys", status_code=303)


@router.post("/settings/projects", name="create_project", dependencies=[needs_form(Scope.ADMIN)])
def make_project(
    visit: VisitDependency, installed: InstallationDependency, form: PostedForm
) -> Response:
    """Make a project."""
    visit.principal.require(Scope.ADMIN, installation=True)
    filled, status = fill(PROJECT, texts_in(PROJECT, form)), 422
    if filled.create is not None:
        try:
            made = create_project(filled.create, Response(), installed)
        except (ApiError, StoreError) as error:
            status, problems = refusal_of(PROJECT, error)
            filled = Filled(filled.texts, problems)
        else:
            return RedirectResponse(f"/settings?project={made.id}#keys", status_code=303)
    return _page(visit, installed, project_form=filled, status=status)


def _page(
    visit: Visit,
    installed: Services,
    *,
    project: str | None = None,
    key: Filled[KeyCreate] | None = None,
    project_form: Filled[ProjectCreate] | None = None,
    status: int = 200,
) -> HTMLResponse:
    settings = visit.services.settings
    living = Workers(visit.services.database).living(seconds=settings.lease_seconds)
    administers = Scope.ADMIN in visit.principal.scopes
    operates = administers and visit.principal.of_installation
    projects = list_projects(installed, limit=_LISTED).items if operates else []
    shown = project or visit.principal.project_id
    return visit.show(
        "settings.html",
        status=status,
        asks=visit.principal,
        own_limits=_limits(asdict(visit.principal.limits)),
        keys_needed=keys_needed(installed),
        workers=[_worker(row) for row in living],
        versions=dict(_versions()),
        service=_limits({name: getattr(settings, name) for name in _OF_SERVICE}),
        administers=administers,
        operates=operates,
        keys=_keys(visit.principal, installed, project) if administers else [],
        project=shown,
        projects=projects,
        key=key or _fresh_key(shown),
        project_form=project_form or Filled(initial_texts(PROJECT, {}), {}),
        key_form=KEY,
        key_fields=_for_projects(projects, operates),
        new_project_form=PROJECT,
        now=datetime.now(UTC),
    )


def _keys(principal: Principal, installed: Services, project: str | None) -> list[KeyPublic]:
    return list_keys(principal, installed, project=project, limit=_LISTED).items


def _fresh_key(project: str) -> Filled[KeyCreate]:
    return Filled(initial_texts(KEY, {"project_id": [project]}), {})


def _for_projects(projects: Sequence[ProjectPublic], operates: bool) -> list[Field]:
    """Return the fields of a key; only operators choose the project that it opens."""
    *fields, last = KEY.fields
    if not operates:
        return fields
    choices = [(project.id, project.name) for project in projects]
    return [*fields, Field(last.name, last.label, last.kind, last.hint, choices=choices)]


def _worker(row: WorkerRow) -> WorkerView:
    facts = row.facts or {}
    versions = facts.get("versions", {})
    solvers = [
        SolverView(
            one["name"],
            versions.get(one["package"], MISSING),
            _LICENCES.get(one["licence"], ("unknown", one["licence"])),
            one["note"],
        )
        for one in facts.get("solvers", [])
    ]
    waiting = "" if row.facts else "it has not looked for them yet"
    return WorkerView(row, solvers, versions, facts.get("failure", waiting))


def _versions() -> Iterator[tuple[str, str]]:
    yield "python", platform.python_version()
    for name in _PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def _limits(limits: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return limits as names and values with their units."""
    return [
        (_LIMITS[name], "no limit" if value is None else _amount(name, value))
        for name, value in limits.items()
    ]


def _amount(name: str, value: float) -> str:
    if name.endswith("_bytes"):
        return f"{whole(value / 2**20)} MiB"
    if name.endswith("_seconds"):
        return duration(value)
    return whole(value)
