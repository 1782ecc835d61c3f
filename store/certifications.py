"""Certifications: what was asked, and the answers as they come."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from store.answers import answer_values, count_done, insert_once, select_answers
from store.events import note_items
from store.job_parts import JobParts
from store.jobs import JobState, Origin, add_job, finish_job, hold_job
from store.reuse import reuse_certification
from store.tables import CertificationRow, ItemRow
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
        origin: Where the request came from.
    """

    network_id: str
    dataset_id: str
    settings: Mapping[str, Any]
    indices: Sequence[int]
    queue: str
    version: str
    reuse: bool = True
    origin: Origin | None = None


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


class Certifications(JobParts[CertificationRow, NewCertification]):
    """All certifications; with an earlier answer at hand a new one has succeeded already.

    Args:
        database: Where the rows are.
    """

    _kind = KIND
    _table = CertificationRow

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
        own = ItemRow.certification_id == certification_id
        query = select_answers(ItemRow, own, limit=limit, after=after, verdict=verdict)
        with self._database.read() as session:
            self._find(session, certification_id)
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
            new = insert_once(session, ItemRow, {**key, **answer_values(item)})
            count_done(session, certification_id, ItemRow.certification_id == certification_id)
            if new:
                note_items(session, certification_id, [(item["index"], item["verdict"])])

    def succeed(self, certification_id: str, owner: str, summary: Mapping[str, Any]) -> None:
        """Store the summary and end the job.

        Raises:
            LeaseLostError: The job is no longer that worker's.
        """
        with self._database.write() as session:
            finish_job(session, certification_id, owner, JobState.SUCCEEDED)
            self._find(session, certification_id).summary = dict(summary)

    def _add(self, session: Session, new: NewCertification) -> CertificationRow:
        network = get_upload(session, NETWORKS, new.network_id)
        dataset = get_upload(session, DATASETS, new.dataset_id)
        job = add_job(
            session, kind=KIND, queue=new.queue, total=len(new.indices), origin=new.origin
        )
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
        if new.reuse:
            reuse_certification(session, row)
        return row

    def _asks_about(self, network_id: str) -> ColumnElement[bool]:
        return CertificationRow.network_id == network_id
