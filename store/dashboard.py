"""What pages show, each with as many queries for a thousand jobs as for one.

Lists read columns and not whole rows: settings may name a hundred thousand inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, case, func, select
from sqlalchemy.orm import Session

from store.certified import Certified, certified_of, certified_query
from store.database import Database
from store.errors import NotFoundError
from store.job_rows import get_job
from store.job_tables import JobRow
from store.payloads import without_example
from store.states import FINAL_STATES, JobState
from store.tables import CertificationRow, ItemProofRow, ItemRow, NetworkRow
from store.titles import JobLine, job_lines
from store.trainings import KIND as TRAINING
from store.uploads import NETWORKS, UploadRow, get_upload
from store.workers import Workers

__all__ = ["Answer", "Dashboard", "NetworkLine", "Overview", "QueueLine"]

_LIVE = tuple(state.value for state in JobState if state not in FINAL_STATES)
_TREND = 12


@dataclass(frozen=True)
class NetworkLine:
    """A network in a list.

    Attributes:
        network: The network.
        history: Its latest certifications that have succeeded, newest first.
    """

    network: NetworkRow
    history: Sequence[Certified]


@dataclass(frozen=True)
class QueueLine:
    """What waits for the workers of a queue.

    Attributes:
        name: Of the queue.
        workers: How many take it.
        running, queued: Jobs.
        inputs: That these jobs have not answered yet; a comparison asks every network about each.
    """

    name: str
    workers: int
    running: int
    queued: int
    inputs: int


@dataclass(frozen=True)
class Overview:
    """How everything is at this moment.

    Attributes:
        live: Jobs that are queued or running, the oldest first.
        recent: Jobs that are finished, the newest first.
        workers: How many workers there are.
        queues: Those that somebody takes or waits in, by name.
        networks: Those that were certified last, the latest first.
    """

    live: Sequence[JobLine]
    recent: Sequence[JobLine]
    workers: int
    queues: Sequence[QueueLine]
    networks: Sequence[NetworkLine]


@dataclass(frozen=True)
class Answer:
    """The answer for one input.

    Attributes:
        item: As reports print it.
        input: The input itself, flat, where it is kept.
        proof_bytes: Size of its proof; None where there is none.
        before, after: The inputs that are answered beside it, by index.
    """

    item: Mapping[str, Any]
    input: Sequence[float] | None
    proof_bytes: int | None
    before: int | None
    after: int | None


class Dashboard:
    """Reads for pages.

    Args:
        database: As the one who asks sees it.
        alive_seconds: A worker that was silent for longer is taken for dead.
    """

    def __init__(self, database: Database, *, alive_seconds: float) -> None:
        self._database = database
        self._alive_seconds = alive_seconds

    def overview(self, *, limit: int) -> Overview:
        """Return at most `limit` of each list."""
        live = select(JobRow).where(JobRow.state.in_(_LIVE)).order_by(JobRow.id).limit(limit)
        ended = select(JobRow).where(JobRow.state.in_(FINAL_STATES))
        with self._database.read() as session:
            running = list(session.scalars(live))
            finished = list(session.scalars(ended.order_by(JobRow.id.desc()).limit(limit)))
            lines = {line.job.id: line for line in job_lines(session, [*running, *finished])}
            waiting = _waiting(session)
            networks = _certified_last(session, limit)
        living = Workers(self._database).living(seconds=self._alive_seconds)
        return Overview(
            live=[lines[job.id] for job in running],
            recent=[lines[job.id] for job in finished],
            workers=len(living),
            queues=_queues(waiting, [row.queues.split(",") for row in living]),
            networks=networks,
        )

    def job(self, job_id: str) -> JobLine:
        """Return one job.

        Raises:
            NotFoundError: There is none with that id.
        """
        with self._database.read() as session:
            (line,) = job_lines(session, [get_job(session, job_id)])
            return line

    def networks(self, *, limit: int, before: str | None) -> list[NetworkLine]:
        """Return networks, the newest first, older than the one with the id `before`."""
        query = select(NetworkRow).order_by(NetworkRow.id.desc()).limit(limit)
        if before is not None:
            query = query.where(NetworkRow.id < before)
        with self._database.read() as session:
            return _with_history(session, list(session.scalars(query)))

    def network(self, network_id: str, *, limit: int) -> tuple[UploadRow, list[Certified]]:
        """Return a network and its latest certifications, the newest first.

        Raises:
            NotFoundError: There is none with that id.
        """
        with self._database.read() as session:
            network = get_upload(session, NETWORKS, network_id)
            query = certified_query(CertificationRow.network_id == network_id)
            found = session.execute(query.order_by(CertificationRow.id.desc()).limit(limit))
            return network, [certified_of(row) for row in found]

    def certifications(self, *, limit: int, before: str | None) -> list[tuple[Certified, str]]:
        """Return certifications with the names of their networks, the newest first."""
        older = [] if before is None else [CertificationRow.id < before]
        query = certified_query(*older).join(
            NetworkRow, NetworkRow.id == CertificationRow.network_id
        )
        query = query.add_columns(NetworkRow.name.label("network"))
        with self._database.read() as session:
            found = session.execute(query.order_by(CertificationRow.id.desc()).limit(limit))
            return [(certified_of(row), row.network) for row in found]

    def items(
        self, certification_id: str, indices: Sequence[int] | None = None
    ) -> list[dict[str, Any]]:
        """Return the answers of a certification.

        Their counterexamples are left out: a picture has thousands of values, and lists show none.

        Args:
            certification_id: Whose.
            indices: Of the inputs, in this order, those without an answer left out; without them,
                all in the order of the data set.
        """
        payload = without_example(ItemRow, self._database.dialect)
        query = select(payload).where(ItemRow.certification_id == certification_id)
        if indices is not None:
            query = query.where(ItemRow.index.in_(indices))
        with self._database.read() as session:
            found = list(session.scalars(query.order_by(ItemRow.index)))
        if indices is None:
            return found
        places = {index: place for place, index in enumerate(indices)}
        return sorted(found, key=lambda item: places[item["index"]])

    def answer(self, certification_id: str, index: int) -> Answer:
        """Return the answer for an input.

        Raises:
            NotFoundError: It has none.
        """
        own = ItemRow.certification_id == certification_id
        size = select(func.length(ItemProofRow.content)).where(
            ItemProofRow.certification_id == certification_id, ItemProofRow.index == index
        )
        before = select(func.max(ItemRow.index)).where(own, ItemRow.index < index)
        after = select(func.min(ItemRow.index)).where(own, ItemRow.index > index)
        with self._database.read() as session:
            row = session.scalar(select(ItemRow).where(own, ItemRow.index == index))
            if row is None:
                raise NotFoundError("answer for input", str(index))
            return Answer(
                item=row.payload,
                input=row.input,
                proof_bytes=session.scalar(size),
                before=session.scalar(before),
                after=session.scalar(after),
            )


def _waiting(session: Session) -> list[Row[Any]]:
    """Return the live jobs of each queue by state, and the inputs that they have not answered."""
    left = JobRow.total - JobRow.done - JobRow.parked
    # What is left of a training are its steps.
    inputs = func.sum(case((JobRow.kind == TRAINING, 0), else_=left))
    query = (
        select(
            JobRow.queue, JobRow.state, func.count(JobRow.id).label("jobs"), inputs.label("inputs")
        )
        .where(JobRow.state.in_(_LIVE))
        .group_by(JobRow.queue, JobRow.state)
    )
    return list(session.execute(query))


def _queues(waiting: Sequence[Row[Any]], taken: Sequence[Sequence[str]]) -> list[QueueLine]:
    """Return what waits in each queue, beside the workers that take it."""
    names = {row.queue for row in waiting}.union(*taken)
    jobs = {(row.queue, row.state): row.jobs for row in waiting}
    return [
        QueueLine(
            name,
            workers=sum(name in queues for queues in taken),
            running=jobs.get((name, JobState.RUNNING), 0),
            queued=jobs.get((name, JobState.QUEUED), 0),
            inputs=sum(row.inputs for row in waiting if row.queue == name),
        )
        for name in sorted(names)
    ]


def _certified_last(session: Session, limit: int) -> list[NetworkLine]:
    """Return the networks that were certified last, with their history."""
    latest = func.max(CertificationRow.id)
    query = (
        select(CertificationRow.network_id)
        .where(CertificationRow.summary.is_not(None))
        .group_by(CertificationRow.network_id)
        .order_by(latest.desc())
        .limit(limit)
    )
    order = list(session.scalars(query))
    rows = session.scalars(select(NetworkRow).where(NetworkRow.id.in_(order)))
    by_id = {row.id: row for row in rows}
    return _with_history(session, [by_id[one] for one in order if one in by_id])


def _with_history(session: Session, networks: Sequence[NetworkRow]) -> list[NetworkLine]:
    """Return networks with their latest certifications."""
    age = func.row_number().over(
        partition_by=CertificationRow.network_id, order_by=CertificationRow.id.desc()
    )
    # Whose networks these are was asked already: conditions of a project do not reach a subquery.
    ranked = (
        certified_query(
            CertificationRow.network_id.in_([row.id for row in networks]),
            CertificationRow.summary.is_not(None),
        )
        .add_columns(age.label("age"))
        .subquery()
    )
    history: dict[str, list[Certified]] = {row.id: [] for row in networks}
    for row in session.execute(select(ranked).where(ranked.c.age <= _TREND).order_by("age")):
        history[row.network_id].append(certified_of(row))
    return [NetworkLine(row, history[row.id]) for row in networks]
