"""Projects: what keeps the networks, data and jobs of one team from those of another."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import ColumnElement, or_, select

from store.access_tables import ProjectRow
from store.database import Database
from store.errors import ConflictError, NotFoundError
from store.identifiers import new_identifier
from store.tenancy import DEFAULT_PROJECT

__all__ = ["Projects"]


class Projects:
    """All projects; `default` is always there.

    Args:
        database: Where the rows are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str) -> ProjectRow:
        """Make a project.

        Raises:
            ConflictError: There is one of that name.
        """
        row = ProjectRow(id=new_identifier("prj"), name=name, created_at=datetime.now(UTC))
        with self._database.write() as session:
            same = session.scalar(select(ProjectRow.id).where(_called(name)))
            if same is not None:
                raise ConflictError(f"there is a project {name!r} already, with the id {same}")
            session.add(row)
        return row

    def find(self, name: str) -> ProjectRow:
        """Return the project with this name or id.

        Raises:
            NotFoundError: There is none.
        """
        with self._database.read() as session:
            row = session.scalar(select(ProjectRow).where(_called(name)))
        if row is None:
            raise NotFoundError("project", name)
        return row

    def page(self, *, limit: int, before: str | None = None) -> list[ProjectRow]:
        """Return at most `limit`, newest first and `default` last, from after the id `before`."""
        is_default = ProjectRow.id == DEFAULT_PROJECT
        query = select(ProjectRow).order_by(is_default, ProjectRow.id.desc()).limit(limit)
        if before is not None:
            query = query.where(or_(ProjectRow.id < before, is_default))
        with self._database.read() as session:
            return list(session.scalars(query))


def _called(name: str) -> ColumnElement[bool]:
    return or_(ProjectRow.id == name, ProjectRow.name == name)
