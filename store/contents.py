"""Which rows keep a file: contents are stored once, however many rows name them."""

from __future__ import annotations

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from store.tables import ArtifactRow, DatasetRow, NetworkRow
from store.tenancy import ALL_PROJECTS

__all__ = ["is_kept"]

_KEEPERS = (NetworkRow, DatasetRow, ArtifactRow)


def is_kept(session: Session, sha256: str) -> bool:
    """Return whether any row names this content, of any project; if none does, its file may go."""
    return any(
        session.scalar(
            select(exists().where(table.sha256 == sha256)), execution_options=ALL_PROJECTS
        )
        for table in _KEEPERS
    )
