"""Certifications: what was asked, and the answers as they come."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from store.answers import add_done, answer_values, insert_once, select_answers
from store.chunks import Claim, hold
from store.errors import NotFoundError
from store.events import note_items
from store.job_parts import JobParts
from store.job_rows import add_job, finish_job, noted_update
from store.known import known_answers, question_of
from store.reuse import reuse_certification
from store.states import JobState, Origin
from store.tables import CertificationRow, ItemProofRow, ItemRow
from store.uploads import DATASETS, NETWORKS, get_upload

__all__ = ["Certifications", "NewCertification", "SumUp", "fingerprint"]

KIND = "certification"

SumUp = Callable[[Sequence[Mapping[str, Any]], Sequence[str]], Mapping[str, Any]]
"""Makes the summary of answers, given as reports print them, by the methods named second."""


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
        priority: From -10 to 10; the highest goes first.
        sum_up: With it, a request all answers of which are known, input by input, has succeeded
            from the start; without it a worker ends it.
    """

    network_id: str
    dataset_id: str
    settings: Mapping[str, Any]
    indices: Sequence[int]
    queue: str
    version: str
    reuse: bool = True
    origin: Origin | None = None
    priority: int = 0
    sum_up: SumUp | None = None


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

    def proof(self, certification_id: str, index: int) -> bytes:
        """Return the proof of an input.

        Raises:
            NotFoundError: There is no such certification, or no proof of that input.
        """
        with self._database.read() as session:
            self._find(session, certification_id)
            row = session.get(ItemProofRow, (certification_id, index))
            if row is None:
                raise NotFoundError("proof of input", str(index))
            return row.content

    def counterexample(self, certification_id: str, index: int) -> dict[str, Any]:
        """Return the counterexample to an input, `x` and `y` as flat lists.

        Raises:
            NotFoundError: There is no such certification, or no counterexample to that input.
        """
        with self._database.read() as session:
            self._find(session, certification_id)
            row = session.get(ItemRow, (certification_id, index))
            found: dict[str, Any] = (row.payload.get("counterexample") if row else None) or {}
            if not found:
                raise NotFoundError("counterexample to input", str(index))
            return found

    def finished_indices(self, certification_id: str) -> frozenset[int]:
        """Return the inputs that have their answer."""
        query = select(ItemRow.index).where(ItemRow.certification_id == certification_id)
        with self._database.read() as session:
            return frozenset(session.scalars(query))

    def add_items(self, claim: Claim, items: Sequence[Mapping[str, Any]]) -> None:
        """Store answers, each unless its input has one.

        Args:
            claim: What the worker that computed them has taken.
            items: With `index` and `verdict`, as reports print them; `input`, the raw input as a
                flat list, and `proof_file`, a proof in base64, may come with one and are kept
                apart.

        Raises:
            LeaseLostError: The claim is no longer that worker's; nothing was stored.
        """
        with self._database.write() as session:
            hold(session, claim)
            _store(session, claim.job_id, items)

    def add_item(self, certification_id: str, owner: str, item: Mapping[str, Any]) -> None:
        """Store the answer for one input, for the worker that has the whole certification.

        Raises:
            LeaseLostError: The job is no longer that worker's; nothing was stored.
        """
        self.add_items(Claim(certification_id, KIND, "", owner), [item])

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
            session,
            kind=KIND,
            queue=new.queue,
            total=len(new.indices),
            origin=new.origin,
            priority=new.priority,
        )
        row = CertificationRow(
            id=job.id,
            network_id=network.id,
            dataset_id=dataset.id,
            settings=dict(new.settings),
            fingerprint=fingerprint(network.sha256, dataset.sha256, new.settings, new.version),
            question=question_of(network.sha256, dataset.sha256, new.settings, new.version),
        )
        session.add(row)
        session.flush()
        session.refresh(row)
        if new.reuse and not reuse_certification(session, row):
            # Answers that are taken one by one leave their proofs behind.
            if new.settings.get("proof_timeout_seconds") is None:
                _take_known(session, row, new)
            session.refresh(row.job)
        return row

    def _asks_about(self, network_id: str) -> ColumnElement[bool]:
        return CertificationRow.network_id == network_id


def _store(session: Session, job_id: str, items: Sequence[Mapping[str, Any]]) -> None:
    """Store answers inside a transaction that may, and tell of those that are new."""
    rows = [
        {"certification_id": job_id, "input": item.get("input"), **answer_values(item)}
        for item in items
    ]
    new = insert_once(session, ItemRow, rows)
    if new:
        verdicts = {item["index"]: item["verdict"] for item in items}
        add_done(session, job_id, len(new))
        note_items(session, job_id, [(index, verdicts[index]) for index in new])
        proofs = {item["index"]: item["proof_file"] for item in items if item.get("proof_file")}
        session.add_all(
            ItemProofRow(certification_id=job_id, index=index, content=b64decode(proofs[index]))
            for index in new
            if index in proofs
        )


def _take_known(session: Session, row: CertificationRow, new: NewCertification) -> None:
    """Store the answers for the inputs that some earlier job has answered; end with the last."""
    methods = row.settings["methods"]
    known = known_answers(session, row.question or "", methods, new.indices)
    found = [known[index] for index in sorted(known)]
    _store(session, row.id, [{**answer.payload, "input": answer.input} for answer in found])
    if new.sum_up is not None and len(found) == len(new.indices):
        row.summary = dict(new.sum_up([answer.payload for answer in found], methods))
        now = datetime.now(UTC)
        noted_update(
            session,
            row.id,
            state=JobState.SUCCEEDED,
            cached=True,
            ready=False,
            started_at=now,
            finished_at=now,
        )
