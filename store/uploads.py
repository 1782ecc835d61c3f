"""Networks and data sets: a row with a name, a file by its hash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from sqlalchemy import select
from sqlalchemy.orm import InstrumentedAttribute, Session

from store.blobs import BlobStore, IncomingBlob
from store.contents import is_kept
from store.database import Database
from store.errors import ConflictError, NotFoundError
from store.idempotency import Replay, find_replay, forget, remember
from store.identifiers import is_identifier, new_identifier
from store.tables import (
    CertificationRow,
    ComparedNetworkRow,
    ComparisonRow,
    DatasetRow,
    NetworkRow,
    TrainingRow,
)

__all__ = ["DATASETS", "NETWORKS", "UploadKind", "UploadRow", "Uploads", "get_upload"]

UploadRow = NetworkRow | DatasetRow


@dataclass(frozen=True)
class UploadKind:
    """What tells networks from data sets.

    Attributes:
        label: For people.
        prefix: Of identifiers.
        row: The table.
        suffix: Of a downloaded file.
    """

    label: str
    prefix: str
    row: type[NetworkRow] | type[DatasetRow]
    suffix: str


NETWORKS = UploadKind("network", "net", NetworkRow, ".onnx")
DATASETS = UploadKind("data set", "dat", DatasetRow, ".npz")


@dataclass(frozen=True)
class _User:
    """A kind of resource that refers to uploads: its word, its id and the column that refers."""

    label: str
    id: InstrumentedAttribute[str]
    refers: InstrumentedAttribute[Any]


_USERS: Mapping[str, Sequence[_User]] = {
    NETWORKS.prefix: (
        _User("certification", CertificationRow.id, CertificationRow.network_id),
        _User("comparison", ComparedNetworkRow.comparison_id, ComparedNetworkRow.network_id),
        _User("training", TrainingRow.id, TrainingRow.network_id),
    ),
    DATASETS.prefix: (
        _User("certification", CertificationRow.id, CertificationRow.dataset_id),
        _User("comparison", ComparisonRow.id, ComparisonRow.dataset_id),
        _User("training", TrainingRow.id, TrainingRow.dataset_id),
        _User("training", TrainingRow.id, TrainingRow.validation_id),
    ),
}


def get_upload(session: Session, kind: UploadKind, identifier: str) -> UploadRow:
    """Return one network or data set.

    Raises:
        NotFoundError: There is none with that id.
    """
    row = session.get(kind.row, identifier) if is_identifier(identifier) else None
    if row is None:
        raise NotFoundError(kind.label, identifier)
    return cast("UploadRow", row)


class Uploads:
    """All networks, or all data sets.

    Args:
        database: Where the rows are.
        blobs: Where the files are.
        kind: Which of the two.
    """

    def __init__(self, database: Database, blobs: BlobStore, kind: UploadKind) -> None:
        self._database = database
        self._blobs = blobs
        self.kind = kind

    def add(
        self,
        incoming: IncomingBlob,
        *,
        name: str,
        details: Mapping[str, Any],
        replay: Replay | None = None,
    ) -> tuple[UploadRow, bool]:
        """Store a received file that inspection has accepted.

        Returns:
            The row, and whether it is new: the same content under the same name is stored once.

        Raises:
            StoreFullError: The disk is full; nothing is left behind.
            IdempotencyMismatchError: The key was used for another file.
        """
        table = self.kind.row
        with self._blobs.lock(), self._database.write() as session:
            found = session.scalar(
                select(table).where(table.sha256 == incoming.sha256, table.name == name)
            )
            known = None if replay is None else find_replay(session, replay)
            if found is not None:
                same = cast("UploadRow", found)
                same.details = dict(details)
                if replay is not None and known is None:
                    remember(session, replay, same.id)
                return same, False
            row = table(
                id=new_identifier(self.kind.prefix),
                name=name,
                sha256=incoming.sha256,
                size_bytes=incoming.size_bytes,
                created_at=datetime.now(UTC),
                details=dict(details),
            )
            session.add(row)
            if replay is not None:
                remember(session, replay, row.id)
            session.flush()
            incoming.keep()
            return row, True

    def details_of(self, sha256: str) -> Mapping[str, Any] | None:
        """Return what inspection found in the same content before, or None."""
        table = self.kind.row
        with self._database.read() as session:
            return session.scalar(select(table.details).where(table.sha256 == sha256).limit(1))

    def get(self, identifier: str) -> UploadRow:
        """Return one.

        Raises:
            NotFoundError: There is none with that id.
        """
        with self._database.read() as session:
            return get_upload(session, self.kind, identifier)

    def page(
        self, *, limit: int, before: str | None = None, sha256: str | None = None
    ) -> list[UploadRow]:
        """Return at most `limit`, newest first.

        Args:
            limit: At most so many.
            before: Only those older than this id.
            sha256: Only those of this content, in lower-case hexadecimal.
        """
        table = self.kind.row
        query = select(table).order_by(table.id.desc()).limit(limit)
        if before is not None:
            query = query.where(table.id < before)
        if sha256 is not None:
            query = query.where(table.sha256 == sha256)
        with self._database.read() as session:
            return [cast("UploadRow", row) for row in session.scalars(query)]

    def path(self, row: UploadRow) -> Path:
        """Return where the file is.

        Raises:
            NotFoundError: It is missing.
        """
        return self._blobs.path(row.sha256)

    def delete(self, identifier: str) -> None:
        """Remove one, and its file unless another resource has the same content.

        Raises:
            NotFoundError: There is none with that id.
            ConflictError: A job refers to it.
        """
        with self._blobs.lock():
            with self._database.write() as session:
                row = get_upload(session, self.kind, identifier)
                self._refuse_if_used(session, row)
                forget(session, identifier)
                session.delete(row)
                session.flush()
                kept = is_kept(session, row.sha256)
            if not kept:
                self._blobs.delete(row.sha256)

    def _refuse_if_used(self, session: Session, row: UploadRow) -> None:
        for user in _USERS[self.kind.prefix]:
            found = session.scalar(select(user.id).where(user.refers == row.id).limit(1))
            if found is not None:
                raise ConflictError(
                    f"{self.kind.label} {row.id} is used by {user.label} {found}; "
                    f"delete the {user.label}s that use it first"
                )
