"""Certifications as lists and histories show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, select

from store.job_tables import JobRow
from store.tables import CertificationRow, DatasetRow

__all__ = ["Certified", "certified_of", "certified_query"]


@dataclass(frozen=True)
class Certified:
    """A certification in the history of a network; `summary` is None until it has succeeded."""

    id: str
    network_id: str
    dataset: str
    epsilon: float | None
    norm: str | None
    state: str
    done: int
    total: int
    created_at: datetime
    finished_at: datetime | None
    summary: Mapping[str, Any] | None


def certified_query(*conditions: ColumnElement[bool]) -> Select[Any]:
    """Return the query of what `Certified` tells."""
    return (
        select(
            CertificationRow.id,
            CertificationRow.network_id,
            DatasetRow.name.label("dataset"),
            CertificationRow.settings["epsilon"].as_float().label("epsilon"),
            CertificationRow.settings["norm"].as_string().label("norm"),
            JobRow.state,
            JobRow.done,
            JobRow.total,
            JobRow.created_at,
            JobRow.finished_at,
            CertificationRow.summary,
        )
        .join(JobRow, JobRow.id == CertificationRow.id)
        .join(DatasetRow, DatasetRow.id == CertificationRow.dataset_id)
        .where(*conditions)
    )


def certified_of(row: Row[Any]) -> Certified:
    """Return a row of that query."""
    values = row._mapping
    return Certified(**{name: values[name] for name in Certified.__dataclass_fields__})
