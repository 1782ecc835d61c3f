"""Certifications: what was asked, and the answers as they come."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from store.answers import answer_values, insert_once
from store.database import Database
from store.errors import NotFoundError
from store.idempotency import Replay, find_replay, remember
from store.identifiers import is_identifier
from store.job_parts import delete_with_job, newest_first
from store.jobs import (
    JobState,
    add_job,
    finish_job,
    guarded_update,
    hold_job,
)
from store.reuse import reuse_certification
from store.tables import CertificationRow, ItemRow, JobRow
from store.uploads import DATASETS, NETWORKS, get_upload

__all__ = ["Certifications", "NewCertification", "fingerprint"]

KIND = "certification"


@dataclass(frozen=True)
class NewCertification:
    """A request for a certification, checked.

    Attributes:
        network_id, dataset_id: What to certify on what.
        settings: How, with every default filled in.
        indices: Which inputs; their number is the job's total.
        queue: Where workers look for it.
        version: Of the software; another version may answer differently.
        reuse: Whether an earlier answer to the same question will do.
    """

    network_id: str
    dataset_id: str
    settings: Mapping[str, Any]
    indices: Sequence[int]
    queue: str
    version: str
    reuse: bool = True


def fingerprint(
    network_sha256: str, dataset_sha256: str, settings: Mapping[str, Any], version: str
) -> str:
    """Return a hash that is equal for questions that have the same answer."""
    text = json.dumps(
        [network_sha256, dataset_sha256, settings, version],
        sort_keys=True,
        separators=(",", ":"),
        allow_nan=False,
    )
    return hashlib.sha256(text.encode()).hexdigest()


class Certifications:
    """All certifications.

    Args:
        database: Where the rows are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, new: NewCertification, *, replay: Replay | None = None
    ) -> tuple[CertificationRow, bool]:
        """Store a request; with an earlier answer at hand the job has succeeded already.

        Args:
            new: The request.
            replay: Its Idempotency-Key, where it has one.

        Returns:
            The row, and whether it is new: a replayed request gives what it gave before.

        Raises:
            NotFoundError: There is no such network or data set.
            IdempotencyMismatchError: The key was used for another request.
        """
        with self._database.write() as session:
            if replay is not None and (known := find_replay(session, replay)) is not None:
                return get_certification(session, known), False
            row = _new_row(session, new)
            if new.reuse:
                reuse_certification(session, row)
            if replay is not None:
                remember(session, replay, row.id)
            session.flush()
            return row, True

    def get(self, certification_id: str) -> CertificationRow:
        """Return one.

        Raises:
            NotFoundError: There is none with that id.
        """
        with self._database.read() as session:
            return get_certification(session, certification_id)

    def page(
        self,
        *,
        limit: int,
        before: str | None = None,
        state: str | None = None,
        network_id: str | None = None,
    ) -> list[CertificationRow]:
        """Return at most `limit`, newest first, older than `before`, that pass the filters."""
        wanted = [] if network_id is None else [CertificationRow.network_id == network_id]
        query = newest_first(CertificationRow, *wanted, limit=limit, before=before, state=state)
        with self._database.read() as session:
            return list(session.scalars(query))

    def items(
        self,
        certification_id: str,
        *,
        limit: int | None = None,
        after: int = -1,
        verdict: str | None = None,
    ) -> list[dict[str, Any]]:
        """Return items in the order of the data set, those beyond the index `after`.

        Raises:
            NotFoundError: There is no such certification.
        """
        query = (
            select(ItemRow.payload)
            .where(ItemRow.certification_id == certification_id, ItemRow.index > after)
            .order_by(ItemRow.index)
            .limit(limit)
        )
        if verdict is not None:
            query = query.where(ItemRow.verdict == verdict)
        with self._database.read() as session:
            get_certification(session, certification_id)
            return list(session.scalars(query))

    def inputs(self, certification_id: str) -> dict[int, list[float]]:
        """Return the raw inputs that are kept, by index."""
        query = select(ItemRow.index, ItemRow.input).where(
            ItemRow.certification_id == certification_id, ItemRow.input.is_not(None)
        )
        with self._database.read() as session:
            return {index: list(values or ()) for index, values in session.execute(query)}

    def finished_indices(self, certification_id: str) -> frozenset[int]:
        """Return the inputs that have their answer."""
        query = select(ItemRow.index).where(ItemRow.certification_id == certification_id)
        with self._database.read() as session:
            return frozenset(session.scalars(query))

    def add_item(self, certification_id: str, owner: str, item: Mapping[str, Any]) -> None:
        """Store the answer for one input, unless it has one.

        Args:
            certification_id: Whose answer.
            owner: The worker that computed it.
            item: With `index` and `verdict`, as reports print it; `input`, the raw input as a
                flat list, may come with it and is kept apart.

        Raises:
            LeaseLostError: The job is no longer that worker's; nothing was stored.
        """
        with self._database.write() as session:
            hold_job(session, certification_id, owner)
            key = {"certification_id": certification_id, "input": item.get("input")}
            insert_once(session, ItemRow, {**key, **answer_values(item)})
            done = session.scalar(
                select(func.count()).where(ItemRow.certification_id == certification_id)
            )
            guarded_update(session, JobRow.id == certification_id, done=done)

    def succeed(self, certification_id: str, owner: str, summary: Mapping[str, Any]) -> None:
        """Store the summary and end the job.

        Raises:
            LeaseLostError: The job is no longer that worker's.
        """
        with self._database.write() as session:
            finish_job(session, certification_id, owner, JobState.SUCCEEDED)
            get_certification(session, certification_id).summary = dict(summary)

    def delete(self, certification_id: str) -> None:
        """Remove one with its job and items.

        Raises:
            NotFoundError: There is none with that id.
            ConflictError: It is queued or running.
        """
        with self._database.write() as session:
            delete_with_job(session, get_certification(session, certification_id))


def get_certification(session: Session, certification_id: str) -> CertificationRow:
    """Return one certification with its job, network and data set.

    Raises:
        NotFoundError: There is none with that id.
    """
    known = is_identifier(certification_id)
    row = session.get(CertificationRow, certification_id) if known else None
    if row is None:
        raise NotFoundError(KIND, certification_id)
    return row


def _new_row(session: Session, new: NewCertification) -> CertificationRow:
    network = get_upload(session, NETWORKS, new.network_id)
    dataset = get_upload(session, DATASETS, new.dataset_id)
    job = add_job(session, kind=KIND, queue=new.queue, total=len(new.indices))
    row = CertificationRow(
        id=job.id,
        network_id=network.id,
        dataset_id=dataset.id,
        settings=dict(new.settings),
        fingerprint=fingerprint(network.sha256, dataset.sha256, new.settings, new.version),
    )
    session.add(row)
    session.flush()
    session.refresh(row)
    return row
