"""The resources `keys`, `projects`, `audit` and `me`: who may do what, and who did it.

Administrators are keys with the scope `admin`. Those of a project make, list and revoke the keys of
that project. Those of the project `default` run the installation: they make projects, and keys of
every project.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response

from api.answering import DirectRoute
from api.authentication import Principal, keys_needed
from api.pagination import CursorParameter, LimitParameter, newest
from api.principal import PrincipalDependency, Scope, needs
from api.problems import problems
from api.receiving import require_json
from api.schemas.access import (
    AuditEntry,
    AuditPage,
    KeyCreate,
    KeyMade,
    KeyPage,
    KeyPublic,
    Limits,
    Me,
    ProjectCreate,
    ProjectPage,
    ProjectPublic,
)
from api.services import InstallationDependency, Services
from store.access_tables import ApiKeyRow, AuditRow, ProjectRow
from store.errors import NotFoundError
from store.keys import KeyLimits, NewKey, limits_of
from store.tenancy import Tenant

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["access"], route_class=DirectRoute)

_ADMIN = needs(Scope.ADMIN)
_OPERATOR = needs(Scope.ADMIN, installation=True)
_KeyId = Annotated[str, Path(description="Of the key.")]
_Project = Annotated[
    str | None,
    Query(
        max_length=100,
        description="Id or name; null: one's own. Others take a key of `default`.",
    ),
]


@router.get("/me", summary="Who am I?", dependencies=[needs(None)], responses=problems())
def get_me(principal: PrincipalDependency, installed: InstallationDependency) -> Me:
    """Return whose key this is, and what it may do."""
    return Me(
        name=principal.name,
        key_id=principal.key_id,
        project_id=principal.project_id,
        scopes=[scope.value for scope in Scope if scope in principal.scopes],
        limits=Limits(**asdict(principal.limits)),
        keys_needed=keys_needed(installed),
    )


@router.post(
    "/keys",
    status_code=201,
    summary="Make a key",
    dependencies=[_ADMIN, Depends(require_json)],
    responses=problems(400, 404, 413, 415, 422, 507),
)
def create_key(
    create: KeyCreate,
    response: Response,
    principal: PrincipalDependency,
    installed: InstallationDependency,
) -> KeyMade:
    """Make a key and show it, this once; only a hash of it is kept."""
    if create.limits is not None:
        principal.require(Scope.ADMIN, installation=True)
    services = _of_project(installed, principal, create.project_id)
    days = None if create.valid_days is None else timedelta(days=create.valid_days)
    made = services.keys.create(
        NewKey(
            name=create.name,
            project_id=_id_of(services),
            scopes=[Scope(name) for name in create.scopes],
            expires_at=None if days is None else datetime.now(UTC) + days,
            limits=KeyLimits(**({} if create.limits is None else create.limits.model_dump())),
            created_by=principal.key_id,
        )
    )
    installed.keyring.forget()
    response.headers["Location"] = f"/v1/keys/{made.row.id}"
    response.headers["Cache-Control"] = "no-store"
    return KeyMade(key=made.token, **_key(made.row))


@router.get("/keys", summary="List keys", dependencies=[_ADMIN], responses=problems(404, 422))
def list_keys(
    principal: PrincipalDependency,
    installed: InstallationDependency,
    project: _Project = None,
    limit: LimitParameter = 100,
    cursor: CursorParameter = None,
) -> KeyPage:
    """Return the keys of a project, newest first, also those that are worth nothing any more."""
    services = _of_project(installed, principal, project)
    page, following = newest(services.keys.page, limit, cursor)
    return KeyPage(items=[KeyPublic(**_key(row)) for row in page], next_cursor=following)


@router.get("/keys/{key_id}", summary="Get a key", dependencies=[_ADMIN], responses=problems(404))
def get_key(
    key_id: _KeyId, principal: PrincipalDependency, installed: InstallationDependency
) -> KeyPublic:
    """Return what is kept of a key."""
    return KeyPublic(**_key(_reach(installed, principal).keys.get(key_id)))


@router.post(
    "/keys/{key_id}/revoke", summary="Revoke a key", dependencies=[_ADMIN], responses=problems(404)
)
def revoke_key(
    key_id: _KeyId, principal: PrincipalDependency, installed: InstallationDependency
) -> KeyPublic:
    """Make a key worthless at once, with every login that used it; twice does no harm."""
    revoked = _reach(installed, principal).keys.revoke(key_id)
    installed.keyring.forget()
    return KeyPublic(**_key(revoked))


@router.post(
    "/projects",
    status_code=201,
    summary="Make a project",
    dependencies=[_OPERATOR, Depends(require_json)],
    responses=problems(400, 409, 413, 415, 422, 507),
)
def create_project(
    create: ProjectCreate, response: Response, installed: InstallationDependency
) -> ProjectPublic:
    """Make a project; what belongs to it is seen by its own keys alone."""
    row = installed.projects.create(create.name)
    response.headers["Location"] = f"/v1/projects/{row.id}"
    return _project(row)


@router.get("/projects", summary="List projects", dependencies=[_OPERATOR], responses=problems(422))
def list_projects(
    installed: InstallationDependency, limit: LimitParameter = 100, cursor: CursorParameter = None
) -> ProjectPage:
    """Return all projects, newest first; `default`, which is always there, comes last."""
    page, following = newest(installed.projects.page, limit, cursor)
    return ProjectPage(items=[_project(row) for row in page], next_cursor=following)


@router.get(
    "/projects/{project_id}",
    summary="Get a project",
    dependencies=[_OPERATOR],
    responses=problems(404),
)
def get_project(
    project_id: Annotated[str, Path(description="Id or name of the project.")],
    installed: InstallationDependency,
) -> ProjectPublic:
    """Return one project."""
    return _project(installed.projects.find(project_id))


@router.get(
    "/audit", summary="List what was done", dependencies=[_ADMIN], responses=problems(404, 422)
)
def list_audit(
    principal: PrincipalDependency,
    installed: InstallationDependency,
    project: _Project = None,
    key: Annotated[str | None, Query(max_length=40, description="Only with this key.")] = None,
    action: Annotated[str | None, Query(max_length=60, description="Only of this name.")] = None,
    limit: LimitParameter = 100,
    cursor: CursorParameter = None,
) -> AuditPage:
    """Return who changed what in a project, when, and from where, newest first."""
    services = _of_project(installed, principal, project)
    found = partial(services.audit.page, key_id=key, action=action)
    page, following = newest(found, limit, cursor)
    return AuditPage(items=[_entry(row) for row in page], next_cursor=following)


def _of_project(installed: Services, principal: Principal, named: str | None) -> Services:
    """Return the services of the project that is asked about.

    Raises:
        NotFoundError: There is none of that name, or it is not for this one to know.
    """
    if named is None or named == principal.project_id:
        return installed.of(Tenant(principal.project_id), principal.limits)
    if not principal.of_installation:
        raise NotFoundError("project", named)
    return installed.of(Tenant(installed.projects.find(named).id), principal.limits)


def _reach(installed: Services, principal: Principal) -> Services:
    """Return the services that see as far as an administrator does."""
    if principal.of_installation:
        return installed
    return installed.of(principal.tenant, principal.limits)


def _id_of(services: Services) -> str:
    tenant = services.database.tenant
    return (tenant or Tenant()).project_id


def _key(row: ApiKeyRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "project_id": row.project_id,
        "scopes": row.scopes,
        "limits": Limits(**asdict(limits_of(row))),
        "created_at": row.created_at,
        "created_by": row.created_by,
        "expires_at": row.expires_at,
        "revoked_at": row.revoked_at,
        "last_used_at": row.last_used_at,
    }


def _project(row: ProjectRow) -> ProjectPublic:
    return ProjectPublic(id=row.id, name=row.name, created_at=row.created_at)


def _entry(row: AuditRow) -> AuditEntry:
    return AuditEntry(
        id=row.id,
        at=row.at,
        project_id=row.project_id,
        actor=row.actor,
        key_id=row.key_id,
        action=row.action,
        target=row.target,
        address=row.address,
    )
