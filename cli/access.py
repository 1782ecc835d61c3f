"""`tightrope keys` and `tightrope projects`: who may use a service, in its database itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from cli.console import result_console
from store.access_tables import ApiKeyRow, ProjectRow
from store.audit import AuditLog, Deed
from store.database import Database
from store.errors import ConflictError, NotFoundError
from store.keys import KeyLimits, Keys, NewKey, Scope, is_usable
from store.migrate import migrate
from store.projects import Projects
from store.settings import get_settings
from store.tenancy import DEFAULT_PROJECT, Tenant

__all__ = ["KeyArguments", "Place", "create_key", "create_project", "list_keys", "list_projects",
           "revoke_key"]  # fmt: skip

_ACTOR = "command line"
_PAGE = 500
_ID_DIGITS = 26


@dataclass(frozen=True)
class Place:
    """Where to work, and how to tell.

    Attributes:
        data_dir: Folder of a service without a database server.
        as_json: Print JSON in place of text.
    """

    data_dir: Path
    as_json: bool


@dataclass(frozen=True)
class KeyArguments:
    """A key to make.

    Attributes:
        name: For people.
        project: Id or name.
        scopes: What it may do.
        days: How long it is good for; None for ever.
        limits: Where they differ from the settings'.
    """

    name: str
    project: str
    scopes: Sequence[str]
    days: int | None
    limits: KeyLimits


def create_key(place: Place, arguments: KeyArguments) -> int:
    """Make a key and print it, this once; return the exit status."""
    with _opened(place) as database:
        project = Projects(database).find(arguments.project)
        days = None if arguments.days is None else timedelta(days=arguments.days)
        made = Keys(database).create(
            NewKey(
                name=arguments.name,
                project_id=project.id,
                scopes=[Scope(name) for name in arguments.scopes],
                expires_at=None if days is None else datetime.now(UTC) + days,
                limits=arguments.limits,
            )
        )
        _record(database, "create_key", made.row.id, project.id)
    if place.as_json:
        click.echo(json.dumps({**_key(made.row), "key": made.token}, indent=2))
    else:
        click.echo(made.token)
        click.echo(
            f"key {made.row.id} of project {project.name}; it is shown this once and kept nowhere",
            err=True,
        )
    return 0


def list_keys(place: Place, project: str | None) -> int:
    """Print the keys of one project or of all; return the exit status."""
    with _opened(place) as database:
        if project is None:
            rows = list(_all_keys(Keys(database)))
        else:
            tenant = Tenant(Projects(database).find(project).id)
            rows = list(_all_keys(Keys(database.of(tenant))))
    if place.as_json:
        click.echo(json.dumps([_key(row) for row in rows], indent=2))
        return 0
    now = datetime.now(UTC)
    columns = ("Key", "Name", "Project", "Scopes", "Expires", "Last used", "State")
    lines = (
        (
            row.id,
            row.name,
            row.project.name,
            ", ".join(row.scopes),
            _moment(row.expires_at),
            _moment(row.last_used_at),
            _state(row, now),
        )
        for row in rows
    )
    _print_table(columns, lines)
    return 0


def revoke_key(place: Place, named: str) -> int:
    """Make a key worthless; return the exit status.

    Args:
        place: Where.
        named: Its id, or the key itself, as somebody may have found it.
    """
    with _opened(place) as database:
        row = Keys(database).revoke(_key_id(named))
        _record(database, "revoke_key", row.id, row.project_id)
    if place.as_json:
        click.echo(json.dumps(_key(row), indent=2))
    else:
        click.echo(f"key {row.id} ({row.name}) is worth nothing from now on")
    return 0


def create_project(place: Place, name: str) -> int:
    """Make a project; return the exit status."""
    with _opened(place) as database:
        row = Projects(database).create(name)
        _record(database, "create_project", row.id, row.id)
    click.echo(json.dumps(_project(row), indent=2) if place.as_json else row.id)
    return 0


def list_projects(place: Place) -> int:
    """Print all projects; return the exit status."""
    with _opened(place) as database:
        rows = list(_all_projects(Projects(database)))
    if place.as_json:
        click.echo(json.dumps([_project(row) for row in rows], indent=2))
    else:
        lines = ((row.id, row.name, _moment(row.created_at)) for row in rows)
        _print_table(("Project", "Name", "Made"), lines)
    return 0


@contextmanager
def _opened(place: Place) -> Iterator[Database]:
    """Open the database; in a folder of its own it is made and brought up to date.

    Raises:
        click.UsageError: What was named is not there, or is there already.
    """
    settings = get_settings().model_copy(update={"data_dir": place.data_dir.resolve()})
    database = Database(settings.database)
    try:
        if settings.database_url is None:
            migrate(database)
        yield database
    except (NotFoundError, ConflictError) as error:
        raise click.UsageError(str(error)) from error
    finally:
        database.close()


def _all_keys(keys: Keys) -> Iterator[ApiKeyRow]:
    rows = keys.page(limit=_PAGE)
    while rows:
        yield from rows
        rows = keys.page(limit=_PAGE, before=rows[-1].id)


def _all_projects(projects: Projects) -> Iterator[ProjectRow]:
    before = None
    while before != DEFAULT_PROJECT:  # which comes last
        rows = projects.page(limit=_PAGE, before=before)
        yield from rows
        before = rows[-1].id


def _key_id(named: str) -> str:
    """Return the id that is meant; of a whole key, the secret is dropped at once."""
    digits = named.removeprefix("key_").removeprefix("trk_")[:_ID_DIGITS]
    return f"key_{digits}"


def _record(database: Database, action: str, target: str, project_id: str) -> None:
    AuditLog(database).add(Deed(action, _ACTOR, target=target, project_id=project_id))


def _key(row: ApiKeyRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "project_id": row.project_id,
        "scopes": row.scopes,
        "limits": {**asdict(KeyLimits()), **row.limits},
        "created_at": row.created_at.isoformat(),
        "created_by": row.created_by,
        "expires_at": _iso(row.expires_at),
        "revoked_at": _iso(row.revoked_at),
        "last_used_at": _iso(row.last_used_at),
    }


def _project(row: ProjectRow) -> dict[str, Any]:
    return {"id": row.id, "name": row.name, "created_at": row.created_at.isoformat()}


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _moment(moment: datetime | None) -> str:
    return "–" if moment is None else f"{moment:%Y-%m-%d %H:%M}"


def _state(row: ApiKeyRow, now: datetime) -> str:
    if row.revoked_at is not None:
        return "revoked"
    return "usable" if is_usable(row, now) else "expired"


def _print_table(columns: Sequence[str], lines: Iterator[Sequence[str]]) -> None:
    table = Table(*columns, box=None, pad_edge=False)
    for line in lines:
        table.add_row(*line)
    result_console(None).print(table)
