"""What the jobs of each kind that is cut into chunks have to do, as far as it is not done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from store.sizing import grain_of
from store.tables import CertificationRow, ComparedItemRow, ComparisonRow, ItemRow

__all__ = ["ITEMS", "LAYERS", "PLANS", "Piece", "answered", "grain"]

ITEMS, LAYERS = "items", "layers"


@dataclass(frozen=True)
class Piece:
    """Work on one network.

    Attributes:
        task: `items` for answers, which can be cut; `layers` for tightness, which cannot.
        position: Of the network in a comparison; 0 in a certification.
        indices: The inputs.
    """

    task: str
    position: int
    indices: list[int]


def answered(session: Session, job_id: str, kind: str, position: int) -> frozenset[int]:
    """Return the inputs for which a network of a job has its answer."""
    if kind == "certification":
        query = select(ItemRow.index).where(ItemRow.certification_id == job_id)
    else:
        query = select(ComparedItemRow.index).where(
            ComparedItemRow.comparison_id == job_id, ComparedItemRow.position == position
        )
    return frozenset(session.scalars(query))


def grain(session: Session, job_id: str, kind: str) -> int:
    """Return how many inputs of a job are computed together."""
    table = CertificationRow if kind == "certification" else ComparisonRow
    settings = session.scalars(select(table.settings).where(table.id == job_id)).one()
    return grain_of(settings["methods"])


def _certification(session: Session, job_id: str) -> list[Piece]:
    row = session.get_one(CertificationRow, job_id)
    done = answered(session, job_id, "certification", 0)
    missing = [index for index in row.settings["indices"] if index not in done]
    return [Piece(ITEMS, 0, missing)] if missing else []


def _comparison(session: Session, job_id: str) -> list[Piece]:
    row = session.get_one(ComparisonRow, job_id)
    indices, pieces = row.settings["indices"], []
    for entry in row.networks:
        done = answered(session, job_id, "comparison", entry.position)
        missing = [index for index in indices if index not in done]
        if missing:
            pieces.append(Piece(ITEMS, entry.position, missing))
    unmeasured = [entry.position for entry in row.networks if entry.tightness is None]
    return [*pieces, *(Piece(LAYERS, position, list(indices)) for position in unmeasured)]


PLANS: Mapping[str, Callable[[Session, str], list[Piece]]] = {
    "certification": _certification,
    "comparison": _comparison,
}
"""By kind of job; every other kind is one piece, and one worker's until it ends."""
