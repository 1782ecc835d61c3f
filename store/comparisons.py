"""Comparisons: networks beside a baseline on the same inputs, and their answers as they come."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from store.answers import answer_values, insert_once
from store.certifications import fingerprint
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
from store.reuse import reuse_comparison, reuse_parts
from store.tables import (
    ComparedItemRow,
    ComparedNetworkRow,
    ComparisonRow,
    JobRow,
)
from store.uploads import DATASETS, NETWORKS, get_upload

__all__ = ["KIND", "Comparisons", "NewComparison"]

KIND = "comparison"


@dataclass(frozen=True)
class NewComparison:
    """A request for a comparison, checked.

    Attributes:
        network_ids: The baseline, then the candidates.
        dataset_id: On what.
        settings: How, with every default filled in: exactly those of a certification, so that
            answers of certifications can be taken over.
        indices: Which inputs; their number times that of the networks is the job's total.
        queue: Where workers look for it.
        version: Of the software; another version may answer differently.
        reuse: Whether earlier answers to the same questions will do.
    """

    network_ids: Sequence[str]
    dataset_id: str
    settings: Mapping[str, Any]
    indices: Sequence[int]
    queue: str
    version: str
    reuse: bool = True


class Comparisons:
    """All comparisons.

    Args:
        database: Where the rows are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, new: NewComparison, *, replay: Replay | None = None
    ) -> tuple[ComparisonRow, bool]:
        """Store a request, with the answers that are known already.

        An earlier, equal comparison is taken over whole: the job has succeeded then. Otherwise
        the answers of certifications that asked the same of one of the networks are.

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
                return get_comparison(session, known), False
            row = _new_row(session, new)
            if new.reuse and not reuse_comparison(session, row):
                reuse_parts(session, row)
                _count_done(session, row.id)
            if replay is not None:
                remember(session, replay, row.id)
            session.flush()
            session.refresh(row)
            return row, True

    def get(self, comparison_id: str) -> ComparisonRow:
        """Return one.

        Raises:
            NotFoundError: There is none with that id.
        """
        with self._database.read() as session:
            return get_comparison(session, comparison_id)

    def page(
        self,
        *,
        limit: int,
        before: str | None = None,
        state: str | None = None,
        network_id: str | None = None,
    ) -> list[ComparisonRow]:
        """Return at most `limit`, newest first, older than `before`, that pass the filters."""
        wanted = [] if network_id is None else [ComparisonRow.networks.any(network_id=network_id)]
        query = newest_first(ComparisonRow, *wanted, limit=limit, before=before, state=state)
        with self._database.read() as session:
            return list(session.scalars(query).unique())

    def items(
        self,
        comparison_id: str,
        position: int,
        *,
        limit: int | None = None,
        after: int = -1,
        verdict: str | None = None,
    ) -> list[dict[str, Any]]:
        """Return the answers of one network in the order of the data set.

        Args:
            comparison_id: Whose.
            position: Of the network; 0 is the baseline.
            limit: At most so many.
            after: Only those beyond this index.
            verdict: Only these.

        Raises:
            NotFoundError: There is no such comparison.
        """
        query = (
            select(ComparedItemRow.payload)
            .where(
                ComparedItemRow.comparison_id == comparison_id,
                ComparedItemRow.position == position,
                ComparedItemRow.index > after,
            )
            .order_by(ComparedItemRow.index)
            .limit(limit)
        )
        if verdict is not None:
            query = query.where(ComparedItemRow.verdict == verdict)
        with self._database.read() as session:
            get_comparison(session, comparison_id)
            return list(session.scalars(query))

    def finished_indices(self, comparison_id: str, position: int) -> frozenset[int]:
        """Return the inputs for which one network has its answer."""
        query = select(ComparedItemRow.index).where(
            ComparedItemRow.comparison_id == comparison_id, ComparedItemRow.position == position
        )
        with self._database.read() as session:
            return frozenset(session.scalars(query))

    def add_item(
        self, comparison_id: str, owner: str, *, position: int, item: Mapping[str, Any]
    ) -> None:
        """Store the answer of one network for one input, unless it has one.

        Raises:
            LeaseLostError: The job is no longer that worker's; nothing was stored.
        """
        with self._database.write() as session:
            hold_job(session, comparison_id, owner)
            key = {"comparison_id": comparison_id, "position": position}
            insert_once(session, ComparedItemRow, {**key, **answer_values(item)})
            _count_done(session, comparison_id)

    def set_layers(
        self,
        comparison_id: str,
        owner: str,
        *,
        position: int,
        layers: Sequence[Mapping[str, Any]] | None,
    ) -> None:
        """Store how tight a network's layers are; None where that cannot be measured.

        Raises:
            LeaseLostError: The job is no longer that worker's; nothing was stored.
        """
        with self._database.write() as session:
            hold_job(session, comparison_id, owner)
            row = session.get_one(ComparedNetworkRow, (comparison_id, position))
            row.tightness = {"layers": None if layers is None else [dict(one) for one in layers]}

    def succeed(self, comparison_id: str, owner: str, result: Mapping[str, Any]) -> None:
        """Store the figures and end the job.

        Raises:
            LeaseLostError: The job is no longer that worker's.
        """
        with self._database.write() as session:
            finish_job(session, comparison_id, owner, JobState.SUCCEEDED)
            get_comparison(session, comparison_id).result = dict(result)

    def delete(self, comparison_id: str) -> None:
        """Remove one with its job and answers.

        Raises:
            NotFoundError: There is none with that id.
            ConflictError: It is queued or running.
        """
        with self._database.write() as session:
            delete_with_job(session, get_comparison(session, comparison_id))


def get_comparison(session: Session, comparison_id: str) -> ComparisonRow:
    """Return one comparison with its job, networks and data set.

    Raises:
        NotFoundError: There is none with that id.
    """
    row = session.get(ComparisonRow, comparison_id) if is_identifier(comparison_id) else None
    if row is None:
        raise NotFoundError(KIND, comparison_id)
    return row


def _new_row(session: Session, new: NewComparison) -> ComparisonRow:
    networks = [get_upload(session, NETWORKS, network_id) for network_id in new.network_ids]
    dataset = get_upload(session, DATASETS, new.dataset_id)
    questions = [
        fingerprint(network.sha256, dataset.sha256, new.settings, new.version)
        for network in networks
    ]
    total = len(new.indices) * len(networks)
    job = add_job(session, kind=KIND, queue=new.queue, total=total)
    row = ComparisonRow(
        id=job.id,
        dataset_id=dataset.id,
        settings=dict(new.settings),
        fingerprint=hashlib.sha256("\0".join(questions).encode()).hexdigest(),
    )
    session.add(row)
    session.flush()
    session.add_all(
        ComparedNetworkRow(
            comparison_id=job.id, position=position, network_id=network.id, fingerprint=question
        )
        for position, (network, question) in enumerate(zip(networks, questions, strict=True))
    )
    session.flush()
    session.refresh(row)
    return row


def _count_done(session: Session, comparison_id: str) -> None:
    done = session.scalar(
        select(func.count()).where(ComparedItemRow.comparison_id == comparison_id)
    )
    guarded_update(session, JobRow.id == comparison_id, done=done)
