"""Whose rows a session sees and makes: projects are kept apart here, and nowhere else.

A session of a tenant adds to every query of a table the condition that the row belongs to the
tenant's project, and gives every new row that project. Where a table has no `project_id`, its rows
belong to whatever their foreign key leads to, primary key first: items to their certification,
whose id is that of a job, which has a project.

Nothing above the store has to remember any of this, and nothing can go around it by mistake: what
belongs to another project is not there. Sessions without a tenant are for workers and operators,
see everything, and have to say whose a new row is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from sqlalchemy import Column, ColumnElement, Table, event, exists, inspect
from sqlalchemy.orm import (
    LoaderCriteriaOption,
    ORMExecuteState,
    Session,
    UOWTransaction,
    with_loader_criteria,
)

from store import access_tables, tables  # noqa: F401 (what relationships name has to be known)
from store.columns import Base
from store.errors import StoreError
from store.job_tables import JobRow

__all__ = [
    "ALL_PROJECTS",
    "DEFAULT_PROJECT",
    "SHARED",
    "Tenant",
    "TenantSession",
    "project_of",
    "tenant_of",
]

DEFAULT_PROJECT = "default"
SHARED = frozenset({"counters", "projects", "workers"})
"""Tables whose rows belong to nobody."""
ALL_PROJECTS = {"tightrope_all_projects": True}
"""Execution options of the few queries that have to see every project."""

_INFO = "tightrope_tenant"
_OWNER = "project_id"


@dataclass(frozen=True)
class Tenant:
    """On whose behalf a session works.

    Attributes:
        project_id: What it sees and where it adds.
        key_id: Who asks; None where nobody was asked for a key.
        queued_jobs: How many jobs of this key may be queued at once; None for any number.
    """

    project_id: str = DEFAULT_PROJECT
    key_id: str | None = None
    queued_jobs: int | None = None

    def session_info(self) -> dict[Any, Any]:
        """Return what makes a session this tenant's."""
        return {_INFO: self}


class TenantSession(Session):
    """A session that keeps to its tenant's project, if it has a tenant."""


def tenant_of(session: Session) -> Tenant | None:
    """Return on whose behalf a session works; None for nobody in particular."""
    found = session.info.get(_INFO)
    return found if isinstance(found, Tenant) else None


def project_of(session: Session) -> str:
    """Return the project that a session works in.

    Raises:
        StoreError: It works in none.
    """
    tenant = tenant_of(session)
    if tenant is None:
        raise StoreError("this session belongs to no project; open it with Database.of(Tenant(…))")
    return tenant.project_id


@event.listens_for(TenantSession, "do_orm_execute")
def _keep_to_project(state: ORMExecuteState) -> None:
    """Add the tenant's condition to a statement before it is run."""
    tenant = tenant_of(state.session)
    reads_rows = state.is_select and not state.is_column_load and not state.is_relationship_load
    if tenant is None or not (reads_rows or state.is_update or state.is_delete):
        return
    if state.execution_options.get("tightrope_all_projects"):
        return
    # A statement that selects no table's columns, such as a bare count, may still name any table.
    named = state.all_mappers or Base.registry.mappers
    mapped: list[type[Base]] = [mapper.class_ for mapper in named]
    options = (_option(table, tenant.project_id) for table in mapped)
    state.statement = state.statement.options(*(one for one in options if one is not None))


@event.listens_for(TenantSession, "before_flush")
def _give_project(session: Session, _context: UOWTransaction, _instances: object) -> None:
    """Give new rows the tenant's project; nothing is added to another one."""
    tenant = tenant_of(session)
    for row in session.new:
        if not hasattr(row, _OWNER):
            continue
        if getattr(row, _OWNER) is None:
            setattr(row, _OWNER, project_of(session))
        if tenant is not None and getattr(row, _OWNER) != tenant.project_id:
            raise StoreError(
                f"a row of project {getattr(row, _OWNER)} was to be added by {tenant.project_id}"
            )
        if tenant is not None and isinstance(row, JobRow):
            row.key_id = tenant.key_id


@lru_cache(maxsize=4096)
def _option(table: type[Base], project_id: str) -> LoaderCriteriaOption | None:
    """Return the condition on a table's rows, as an option of statements."""
    condition = _condition(table, project_id)
    if condition is None:
        return None
    return with_loader_criteria(table, condition, include_aliases=True)


def _condition(table: type[Base], project_id: str) -> ColumnElement[bool] | None:
    """Return the condition that a row belongs to a project; None for what belongs to nobody.

    Raises:
        StoreError: Nothing says whose the rows are.
    """
    if table.__tablename__ in SHARED:
        return None
    if hasattr(table, _OWNER):
        own: ColumnElement[bool] = getattr(table, _OWNER) == project_id
        return own
    attribute, target = _leads_to(table)
    # Under a name of its own: the statement may have the owner's table as well.
    owner = target.table.alias()
    return exists().where(
        owner.c[target.name] == getattr(table, attribute), owner.c[_OWNER] == project_id
    )


@cache
def _leads_to(table: type[Base]) -> tuple[str, Column[Any]]:
    """Return the attribute whose foreign key leads to a table with projects, and where it leads."""
    mapper = inspect(table)
    # Primary keys first: what a row is a part of, before what it merely mentions.
    for column in sorted(mapper.columns, key=lambda column: not column.primary_key):
        for target in _targets(column):
            if isinstance(target.table, Table) and _OWNER in target.table.c:
                return mapper.get_property_by_column(column).key, target
    raise StoreError(
        f"nothing says to which project a row of {table.__tablename__} belongs; give it a "
        "project_id or a foreign key to what has one, or name it in store.tenancy.SHARED"
    )


def _targets(column: ColumnElement[Any]) -> Iterator[Column[Any]]:
    """Yield what a column refers to, then what that refers to, and so on."""
    for key in column.foreign_keys:
        yield key.column
        yield from _targets(key.column)
