"""Certifications as lists and histories show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, Select

from store.asked import AskedLine, asked_query
from store.tables import CertificationRow

__all__ = ["Certified", "certified_of", "certified_query"]


@dataclass(frozen=True)
class Certified(AskedLine):
    """A certification in the history of a network; `summary` is None until it has succeeded."""

    network_id: str
    summary: Mapping[str, Any] | None


def certified_query(*conditions: ColumnElement[bool]) -> Select[Any]:
    """Return the query of what `Certified` tells."""
    query = asked_query(CertificationRow, CertificationRow.network_id, CertificationRow.summary)
    return query.where(*conditions)


def certified_of(row: Row[Any]) -> Certified:
    """Return a row of that query."""
    values = row._mapping
    return Certified(**{name: values[name] for name in Certified.__dataclass_fields__})
