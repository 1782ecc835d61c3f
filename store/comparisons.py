"""Comparisons: networks beside a baseline on the same inputs, and their answers as they come."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from store.answers import answer_values, count_done, insert_once, select_answers
from store.certifications import fingerprint
from store.events import note_items
from store.job_parts import JobParts
from store.jobs import JobState, Origin, add_job, finish_job, hold_job
from store.reuse import note_taken, reuse_comparison, reuse_parts
from store.tables import ComparedItemRow, ComparedNetworkRow, ComparisonRow
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
        origin: Where the request came from.
    """

    network_ids: Sequence[str]
    dataset_id: str
    settings: Mapping[str, Any]
    indices: Sequence[int]
    queue: str
    version: str
    reuse: bool = True
    origin: Origin | None = None


class Comparisons(JobParts[ComparisonRow, NewComparison]):
    """All comparisons.

    A new one takes over an earlier, equal comparison whole, and has succeeded then. Otherwise it
    takes over the answers of certifications that asked the same of one of the networks.

    Args:
        database: Where the rows are.
    """

    _kind = KIND
    _table = ComparisonRow

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
        own = (
            ComparedItemRow.comparison_id == comparison_id,
            ComparedItemRow.position == position,
        )
        query = select_answers(ComparedItemRow, *own, limit=limit, after=after, verdict=verdict)
        with self._database.read() as session:
            self._find(session, comparison_id)
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
            new = insert_once(session, ComparedItemRow, {**key, **answer_values(item)})
            count_done(session, comparison_id, ComparedItemRow.comparison_id == comparison_id)
            if new:
                answer = (item["index"], item["verdict"])
                note_items(session, comparison_id, [answer], position=position)

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
            self._find(session, comparison_id).result = dict(result)

    def _add(self, session: Session, new: NewComparison) -> ComparisonRow:
        row = _new_row(session, new)
        if new.reuse and not reuse_comparison(session, row):
            reuse_parts(session, row)
            count_done(session, row.id, ComparedItemRow.comparison_id == row.id)
            note_taken(session, row)
        session.flush()
        session.refresh(row)
        return row

    def _asks_about(self, network_id: str) -> ColumnElement[bool]:
        return ComparisonRow.networks.any(network_id=network_id)


def _new_row(session: Session, new: NewComparison) -> ComparisonRow:
    networks = [get_upload(session, NETWORKS, network_id) for network_id in new.network_ids]
    dataset = get_upload(session, DATASETS, new.dataset_id)
    questions = [
        fingerprint(network.sha256, dataset.sha256, new.settings, new.version)
        for network in networks
    ]
    total = len(new.indices) * len(networks)
    job = add_job(session, kind=KIND, queue=new.queue, total=total, origin=new.origin)
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
