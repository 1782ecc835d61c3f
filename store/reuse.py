"""Answers taken over from earlier jobs that asked the same."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Executable, insert, literal, select
from sqlalchemy.orm import Session

from store.events import note, note_items
from store.job_rows import get_job
from store.job_tables import JobRow
from store.states import JobState
from store.tables import (
    CertificationRow,
    ComparedItemRow,
    ComparedNetworkRow,
    ComparisonRow,
    ItemProofRow,
    ItemRow,
)

__all__ = ["reuse_certification", "reuse_comparison", "reuse_tightness"]

Answered = TypeVar("Answered", CertificationRow, ComparisonRow)


def reuse_certification(session: Session, row: CertificationRow) -> bool:
    """Take over the answers of a certification that asked the same; return whether there is one."""
    earlier = _answered(session, CertificationRow, row.fingerprint)
    if earlier is None:
        return False
    columns = (ItemRow.index, ItemRow.verdict, ItemRow.payload, ItemRow.input)
    items = select(literal(row.id), *columns).where(ItemRow.certification_id == earlier.id)
    names = ["certification_id", *(column.key for column in columns)]
    session.execute(insert(ItemRow).from_select(names, items))
    kept = select(literal(row.id), ItemProofRow.index, ItemProofRow.content)
    proofs = kept.where(ItemProofRow.certification_id == earlier.id)
    columns_of_proofs = ["certification_id", "index", "content"]
    session.execute(insert(ItemProofRow).from_select(columns_of_proofs, proofs))
    row.summary = earlier.summary
    job = _succeed(session, row.id)
    taken = select(ItemRow.index, ItemRow.verdict).where(ItemRow.certification_id == row.id)
    note_items(session, job.id, _pairs(session, taken.order_by(ItemRow.index)))
    note(session, job.id)
    return True


def reuse_comparison(session: Session, row: ComparisonRow) -> bool:
    """Take over a comparison that asked the same; return whether there was one."""
    earlier = _answered(session, ComparisonRow, row.fingerprint)
    if earlier is None:
        return False
    for own, other in zip(row.networks, earlier.networks, strict=True):
        _take(session, own, other)
    row.result = None if earlier.result is None else _renamed(earlier.result, row)
    job = _succeed(session, row.id)
    _note_taken(session, row)
    note(session, job.id)
    return True


def reuse_tightness(session: Session, entry: ComparedNetworkRow) -> None:
    """Take over how tight the layers of a network are on the same inputs, where it is known."""
    compared = _compared(session, entry.fingerprint)
    if compared is not None:
        entry.tightness = compared.tightness


def _note_taken(session: Session, row: ComparisonRow) -> None:
    """Write down which answers a new comparison has from the start."""
    for entry in row.networks:
        taken = select(ComparedItemRow.index, ComparedItemRow.verdict).where(
            ComparedItemRow.comparison_id == row.id, ComparedItemRow.position == entry.position
        )
        pairs = _pairs(session, taken.order_by(ComparedItemRow.index))
        note_items(session, row.id, pairs, position=entry.position)


def _pairs(session: Session, query: Executable) -> list[tuple[int, str]]:
    return [(row[0], row[1]) for row in session.execute(query)]


def _compared(session: Session, fingerprint: str) -> ComparedNetworkRow | None:
    """Return the latest network that was asked the same in a comparison that has succeeded."""
    return session.scalar(
        select(ComparedNetworkRow)
        .join(JobRow, JobRow.id == ComparedNetworkRow.comparison_id)
        .where(
            ComparedNetworkRow.fingerprint == fingerprint,
            JobRow.state == JobState.SUCCEEDED,
            JobRow.parked == 0,
        )
        .order_by(ComparedNetworkRow.comparison_id.desc())
        .limit(1)
    )


def _take(session: Session, entry: ComparedNetworkRow, other: ComparedNetworkRow) -> None:
    """Take over the answers and the tightness of a network of another comparison."""
    entry.tightness = other.tightness
    _copy(
        session,
        entry,
        ComparedItemRow,
        ComparedItemRow.comparison_id == other.comparison_id,
        ComparedItemRow.position == other.position,
    )


def _copy(
    session: Session,
    entry: ComparedNetworkRow,
    source: type[ItemRow] | type[ComparedItemRow],
    *conditions: ColumnElement[bool],
) -> None:
    """Copy the answers that meet all conditions to a network of a comparison."""
    key = (literal(entry.comparison_id), literal(entry.position))
    columns = (source.index, source.verdict, source.payload)
    names = ["comparison_id", "position", *(column.key for column in columns)]
    items = select(*key, *columns).where(*conditions)
    session.execute(insert(ComparedItemRow).from_select(names, items))


def _answered(session: Session, table: type[Answered], fingerprint: str) -> Answered | None:
    """Return the latest row with this fingerprint whose job has succeeded."""
    return session.scalar(
        select(table)
        .join(table.job)
        .where(
            table.fingerprint == fingerprint,
            JobRow.state == JobState.SUCCEEDED,
            JobRow.parked == 0,
        )
        .order_by(table.id.desc())
        .limit(1)
    )


def _renamed(result: Mapping[str, Any], row: ComparisonRow) -> dict[str, Any]:
    """Return figures under the names and ids that the same contents have in this request."""
    names = [{"name": entry.network.name, "network_id": entry.network_id} for entry in row.networks]
    sides = zip(result["candidates"], names[1:], strict=True)
    return {
        **result,
        "baseline": {**result["baseline"], **names[0]},
        "candidates": [{**candidate, **name} for candidate, name in sides],
    }


def _succeed(session: Session, job_id: str) -> JobRow:
    """End a job at once: its answers are there. Whoever asks writes that down."""
    job = get_job(session, job_id)
    now = datetime.now(UTC)
    job.state, job.cached, job.done = JobState.SUCCEEDED.value, True, job.total
    job.ready = False
    job.started_at = job.finished_at = now
    session.flush()
    return job
