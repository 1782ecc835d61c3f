"""The commands `keys` and `projects`; the work is in `cli.access`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from cli.options import version_option

__all__ = ["keys", "projects"]

Command = TypeVar("Command", bound=Callable[..., Any])

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_SCOPES = click.Choice(["read", "submit", "train", "admin"])
_LIMIT = click.IntRange(1, 2**31 - 1)


def _place_options(command: Command) -> Command:
    """Add what says where the database is, and how to print."""
    as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    data_dir = click.option(
        "--data-dir",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path("tightrope-data"),
        envvar="TIGHTROPE_DATA_DIR",
        show_default=True,
        show_envvar=True,
        help="Folder of the service; TIGHTROPE_DATABASE_URL names a database server.",
    )
    return data_dir(as_json(command))


@click.group(context_settings=_CONTEXT)
@version_option
def keys() -> None:
    """Make, list and revoke API keys, in the service's database itself."""


@keys.command(context_settings=_CONTEXT)
@click.option("--name", required=True, help="For people, such as `ci`.")
@click.option("--project", default="default", show_default=True, help="Id or name: what it opens.")
@click.option(
    "--scope",
    "scopes",
    type=_SCOPES,
    multiple=True,
    default=("read", "submit"),
    show_default=True,
    help="What it may do; may be given several times. `admin` may do everything in its project.",
)
@click.option(
    "--days", type=click.IntRange(1, 3650), help="How long it is good for; else for ever."
)
@click.option("--requests-per-minute", type=_LIMIT, help="In place of the service's setting.")
@click.option("--request-burst", type=_LIMIT, help="In place of the service's setting.")
@click.option("--queued-jobs", type=_LIMIT, help="In place of the service's setting.")
@click.option("--upload-bytes", type=_LIMIT, help="At most what the service takes at all.")
@click.option("--inputs-per-job", type=_LIMIT, help="In place of the service's setting.")
@_place_options
def create(
    *,
    name: str,
    project: str,
    scopes: tuple[str, ...],
    days: int | None,
    data_dir: Path,
    as_json: bool,
    **limits: int | None,
) -> int:
    """Make a key and print it: this once, for only a hash of it is kept."""
    if not name.strip() or not name.isprintable() or len(name) > 100:
        raise click.BadParameter("up to 100 printable characters", param_hint="--name")
    from cli import access as work  # noqa: PLC0415 - loads the store
    from store.keys import KeyLimits  # noqa: PLC0415 - loads the store

    arguments = work.KeyArguments(name, project, scopes, days=days, limits=KeyLimits(**limits))
    return work.create_key(work.Place(data_dir, as_json), arguments)


@keys.command("list", context_settings=_CONTEXT)
@click.option("--project", help="Id or name; else the keys of all.")
@_place_options
def list_keys(*, project: str | None, data_dir: Path, as_json: bool) -> int:
    """List keys, newest first, also those that are worth nothing any more."""
    from cli import access as work  # noqa: PLC0415 - loads the store

    return work.list_keys(work.Place(data_dir, as_json), project)


@keys.command(context_settings=_CONTEXT)
@click.argument("key")
@_place_options
def revoke(*, key: str, data_dir: Path, as_json: bool) -> int:
    """Make KEY worthless at once, and every login that used it.

    KEY is its id, or the key itself, as somebody may have found it.
    """
    from cli import access as work  # noqa: PLC0415 - loads the store

    return work.revoke_key(work.Place(data_dir, as_json), key)


@click.group(context_settings=_CONTEXT)
@version_option
def projects() -> None:
    """Make and list projects, which see nothing of each other."""


@projects.command("create", context_settings=_CONTEXT)
@click.argument("name")
@_place_options
def create_project(*, name: str, data_dir: Path, as_json: bool) -> int:
    """Make a project and print its id."""
    if not name.strip() or not name.isprintable() or len(name) > 100:
        raise click.BadParameter("up to 100 printable characters", param_hint="NAME")
    from cli import access as work  # noqa: PLC0415 - loads the store

    return work.create_project(work.Place(data_dir, as_json), name)


@projects.command("list", context_settings=_CONTEXT)
@_place_options
def list_projects(*, data_dir: Path, as_json: bool) -> int:
    """List all projects; `default` is always there."""
    from cli import access as work  # noqa: PLC0415 - loads the store

    return work.list_projects(work.Place(data_dir, as_json))
