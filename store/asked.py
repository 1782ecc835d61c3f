"""What lists say of every question about certified networks: what was asked, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, SQLColumnExpression, select

from store.job_tables import JobRow
from store.tables import CertificationRow, ComparisonRow, DatasetRow

__all__ = ["AskedLine", "asked_query"]


@dataclass(frozen=True)
class AskedLine:
    """A certification or a comparison in a list."""

    id: str
    dataset: str
    epsilon: float | None
    norm: str | None
    state: str
    done: int
    total: int
    created_at: datetime
    finished_at: datetime | None


def asked_query(
    table: type[CertificationRow | ComparisonRow], *columns: SQLColumnExpression[Any]
) -> Select[Any]:
    """Return the query of what `AskedLine` tells, and of further columns, by their names."""
    return (
        select(
            table.id,
            DatasetRow.name.label("dataset"),
            table.settings["epsilon"].as_float().label("epsilon"),
            table.settings["norm"].as_string().label("norm"),
            JobRow.state,
            JobRow.done,
            JobRow.total,
            JobRow.created_at,
            JobRow.finished_at,
            *columns,
        )
        .join(JobRow, JobRow.id == table.id)
        .join(DatasetRow, DatasetRow.id == table.dataset_id)
    )
