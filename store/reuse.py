"""Answers taken over from earlier jobs that asked the same."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import insert, literal, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from store.jobs import JobState, get_job
from store.tables import (
    CertificationRow,
    ComparedItemRow,
    ComparisonRow,
    ItemRow,
    JobRow,
)

__all__ = ["reuse_certification", "reuse_comparison", "reuse_parts"]

Answered = TypeVar("Answered", CertificationRow, ComparisonRow)
_Columns = tuple[InstrumentedAttribute[Any], ...]

_ANSWER: _Columns = (ItemRow.index, ItemRow.verdict, ItemRow.payload)
_COMPARED: _Columns = (
    ComparedItemRow.position,
    ComparedItemRow.index,
    ComparedItemRow.verdict,
    ComparedItemRow.payload,
)


def reuse_certification(session: Session, row: CertificationRow) -> None:
    """Take over the answers of a certification that asked the same, where there is one."""
    earlier = _answered(session, CertificationRow, row.fingerprint)
    if earlier is None:
        return
    columns = (*_ANSWER, ItemRow.input)
    items = select(literal(row.id), *columns).where(ItemRow.certification_id == earlier.id)
    names = ["certification_id", *(column.key for column in columns)]
    session.execute(insert(ItemRow).from_select(names, items))
    row.summary = earlier.summary
    _succeed(session, row.id)


def reuse_comparison(session: Session, row: ComparisonRow) -> bool:
    """Take over a comparison that asked the same; return whether there was one."""
    earlier = _answered(session, ComparisonRow, row.fingerprint)
    if earlier is None:
        return False
    items = select(literal(row.id), *_COMPARED).where(ComparedItemRow.comparison_id == earlier.id)
    names = ["comparison_id", *(column.key for column in _COMPARED)]
    session.execute(insert(ComparedItemRow).from_select(names, items))
    for own, other in zip(row.networks, earlier.networks, strict=True):
        own.tightness = other.tightness
    row.result = None if earlier.result is None else _renamed(earlier.result, row)
    _succeed(session, row.id)
    return True


def reuse_parts(session: Session, row: ComparisonRow) -> None:
    """Take over the answers of certifications that asked the same of single networks."""
    for entry in row.networks:
        earlier = _answered(session, CertificationRow, entry.fingerprint)
        if earlier is None:
            continue
        items = select(literal(row.id), literal(entry.position), *_ANSWER).where(
            ItemRow.certification_id == earlier.id
        )
        names = ["comparison_id", "position", *(column.key for column in _ANSWER)]
        session.execute(insert(ComparedItemRow).from_select(names, items))


def _answered(session: Session, table: type[Answered], fingerprint: str) -> Answered | None:
    """Return the latest row with this fingerprint whose job has succeeded."""
    return session.scalar(
        select(table)
        .join(table.job)
        .where(table.fingerprint == fingerprint, JobRow.state == JobState.SUCCEEDED)
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


def _succeed(session: Session, job_id: str) -> None:
    """End a job at once: its answers are there."""
    job = get_job(session, job_id)
    now = datetime.now(UTC)
    job.state, job.cached, job.done = JobState.SUCCEEDED.value, True, job.total
    job.started_at = job.finished_at = now
