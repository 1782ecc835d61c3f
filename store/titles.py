"""Jobs with what they are about, for lists of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from store.job_tables import JobRow
from store.tables import (
    CertificationRow,
    ComparedNetworkRow,
    ComparisonRow,
    NetworkRow,
    TrainingRow,
)

__all__ = ["JobLine", "job_lines"]

_Titles = dict[str, tuple[str, float | None]]


@dataclass(frozen=True)
class JobLine:
    """A job in a list.

    Attributes:
        job: The job.
        title: What it is about.
        epsilon: Radius that it asks about.
    """

    job: JobRow
    title: str
    epsilon: float | None


def job_lines(session: Session, jobs: Iterable[JobRow]) -> Iterator[JobLine]:
    """Yield jobs with what they are about; one query for each kind."""
    found = list(jobs)
    ids = [job.id for job in found]
    titles: dict[str, tuple[str, float | None]] = {}
    for read in (_certification_titles, _comparison_titles, _training_titles):
        titles.update(read(session, ids))
    for job in found:
        yield JobLine(job, *titles.get(job.id, (job.kind, None)))


def _certification_titles(session: Session, ids: Sequence[str]) -> _Titles:
    epsilon = CertificationRow.settings["epsilon"].as_float()
    query = (
        select(CertificationRow.id, NetworkRow.name, epsilon)
        .join(NetworkRow, NetworkRow.id == CertificationRow.network_id)
        .where(CertificationRow.id.in_(ids))
    )
    return {row[0]: (row[1], row[2]) for row in session.execute(query)}


def _comparison_titles(session: Session, ids: Sequence[str]) -> _Titles:
    epsilon = ComparisonRow.settings["epsilon"].as_float()
    query = (
        select(ComparisonRow.id, NetworkRow.name, epsilon)
        .join(ComparedNetworkRow, ComparedNetworkRow.comparison_id == ComparisonRow.id)
        .join(NetworkRow, NetworkRow.id == ComparedNetworkRow.network_id)
        .where(ComparisonRow.id.in_(ids))
        .order_by(ComparisonRow.id, ComparedNetworkRow.position)
    )
    names: dict[str, list[str]] = {}
    radii: dict[str, float | None] = {}
    for identifier, name, radius in session.execute(query):
        names.setdefault(identifier, []).append(name)
        radii[identifier] = radius
    return {one: (" against ".join(reversed(names[one])), radii[one]) for one in names}


def _training_titles(session: Session, ids: Sequence[str]) -> _Titles:
    settings = TrainingRow.settings
    query = (
        select(
            TrainingRow.id,
            settings["name"].as_string(),
            settings["architecture"].as_string(),
            NetworkRow.name,
            settings["method"].as_string(),
            settings["epsilon"].as_float(),
        )
        .outerjoin(NetworkRow, NetworkRow.id == TrainingRow.network_id)
        .where(TrainingRow.id.in_(ids))
    )
    return {
        identifier: (name or f"{network or architecture} by {method}", epsilon)
        for identifier, name, architecture, network, method, epsilon in session.execute(query)
    }
