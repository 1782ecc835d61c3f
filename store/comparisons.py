"""Comparisons: networks beside a baseline on the same inputs, and their answers as they come."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from store.answers import add_done, answer_values, insert_once, select_answers
from store.certifications import fingerprint
from store.chunks import Claim, hold
from store.events import note_items
from store.job_parts import JobParts
from store.job_rows import add_job, finish_job
from store.known import known_answers, question_of
from store.reuse import reuse_comparison, reuse_tightness
from store.states import JobState, Origin
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
        priority: From -10 to 10; the highest goes first.
    """

    network_ids: Sequence[str]
    dataset_id: str
    settings: Mapping[str, Any]
    indices: Sequence[int]
    queue: str
    version: str
    reuse: bool = True
    origin: Origin | None = None
    priority: int = 0


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

    def add_items(self, claim: Claim, items: Sequence[Mapping[str, Any]]) -> None:
        """Store answers of the claim's network, each unless its input has one.

        Raises:
            LeaseLostError: The claim is no longer its worker's; nothing was stored.
        """
        with self._database.write() as session:
            hold(session, claim)
            _store(session, claim.job_id, claim.position, items)

    def add_item(
        self, comparison_id: str, owner: str, *, position: int, item: Mapping[str, Any]
    ) -> None:
        """Store the answer of one network, for the worker that has the whole comparison.

        Raises:
            LeaseLostError: The job is no longer that worker's; nothing was stored.
        """
        self.add_items(Claim(comparison_id, KIND, "", owner, position=position), [item])

    def set_layers(self, claim: Claim, layers: Sequence[Mapping[str, Any]] | None) -> None:
        """Store how tight the layers of the claim's network are; None if that is not known.

        Raises:
            LeaseLostError: The claim is no longer its worker's; nothing was stored.
        """
        with self._database.write() as session:
            hold(session, claim)
            row = session.get_one(ComparedNetworkRow, (claim.job_id, claim.position))
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
            for entry in row.networks:
                reuse_tightness(session, entry)
                _take_known(session, row, entry, new.indices)
        session.flush()
        session.refresh(row)
        session.refresh(row.job)
        return row

    def _asks_about(self, network_id: str) -> ColumnElement[bool]:
        return ComparisonRow.networks.any(network_id=network_id)


def _new_row(session: Session, new: NewComparison) -> ComparisonRow:
    networks = [get_upload(session, NETWORKS, network_id) for network_id in new.network_ids]
    dataset = get_upload(session, DATASETS, new.dataset_id)
    wholes = [
        fingerprint(network.sha256, dataset.sha256, new.settings, new.version)
        for network in networks
    ]
    total = len(new.indices) * len(networks)
    job = add_job(
        session,
        kind=KIND,
        queue=new.queue,
        total=total,
        origin=new.origin,
        priority=new.priority,
    )
    row = ComparisonRow(
        id=job.id,
        dataset_id=dataset.id,
        settings=dict(new.settings),
        fingerprint=hashlib.sha256("\0".join(wholes).encode()).hexdigest(),
    )
    session.add(row)
    session.flush()
    session.add_all(
        ComparedNetworkRow(
            comparison_id=job.id,
            position=position,
            network_id=network.id,
            fingerprint=whole,
            question=question_of(network.sha256, dataset.sha256, new.settings, new.version),
        )
        for position, (network, whole) in enumerate(zip(networks, wholes, strict=True))
    )
    session.flush()
    session.refresh(row)
    return row


def _store(
    session: Session, job_id: str, position: int, items: Sequence[Mapping[str, Any]]
) -> None:
    """Store answers of a network inside a transaction that may, and tell of those that are new."""
    key = {"comparison_id": job_id, "position": position}
    new = insert_once(session, ComparedItemRow, [{**key, **answer_values(item)} for item in items])
    if new:
        verdicts = {item["index"]: item["verdict"] for item in items}
        add_done(session, job_id, len(new))
        pairs = [(index, verdicts[index]) for index in new]
        note_items(session, job_id, pairs, position=position)


def _take_known(
    session: Session, row: ComparisonRow, entry: ComparedNetworkRow, indices: Sequence[int]
) -> None:
    """Store the answers of a network for the inputs that some earlier job has answered."""
    known = known_answers(session, entry.question or "", row.settings["methods"], indices)
    _store(session, row.id, entry.position, [known[index].payload for index in sorted(known)])
