"""Whose work is done next: projects take turns, then priority decides, then age."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from store.job_tables import ChunkRow, JobRow, TurnRow
from store.states import JobState

__all__ = ["busy_workers", "fairest", "is_waiting", "note_turn", "one_at_a_time"]

_CLAIM_LOCK = 7_146_273_906
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_LIVE = (JobState.QUEUED.value, JobState.RUNNING.value)


def one_at_a_time(session: Session) -> None:
    """Let others that take work wait until this transaction has ended: it looks, then takes."""
    if session.get_bind().dialect.name == "postgresql":  # SQLite has one writer anyway
        session.execute(select(func.pg_advisory_xact_lock(_CLAIM_LOCK)))


def busy_workers(session: Session) -> Counter[str]:
    """Return how many workers each project has at the moment."""
    chunks = (
        select(JobRow.project_id, func.count())
        .join(ChunkRow, ChunkRow.job_id == JobRow.id)
        .where(ChunkRow.state == "running")
        .group_by(JobRow.project_id)
    )
    whole = (
        select(JobRow.project_id, func.count())
        .where(JobRow.state == JobState.RUNNING, JobRow.owner.is_not(None))
        .group_by(JobRow.project_id)
    )
    busy: Counter[str] = Counter()
    for query in (chunks, whole):
        for project, number in session.execute(query):
            busy[project] += number
    return busy


def fairest(session: Session, queues: Sequence[str], busy: Mapping[str, int]) -> str | None:
    """Return the id of the job whose turn it is, or None where no work is waiting.

    The project with the fewest workers goes first, among equals the one that was served longest
    ago. Of its jobs the one of the highest priority goes first, then the oldest.

    Args:
        session: That takes the job.
        queues: Whose jobs the worker takes.
        busy: Workers by project.
    """
    projects = set(session.scalars(select(JobRow.project_id).where(*is_waiting(queues)).distinct()))
    if not projects:
        return None
    turns = select(TurnRow.project_id, TurnRow.served_at).where(TurnRow.project_id.in_(projects))
    served = {row.project_id: row.served_at for row in session.execute(turns)}
    chosen = min(projects, key=lambda one: (busy.get(one, 0), served.get(one, _NEVER), one))
    return _first_job(session, queues, chosen)


def note_turn(session: Session, project_id: str, now: datetime) -> None:
    """Note that a project has been served."""
    session.merge(TurnRow(project_id=project_id, served_at=now))


def is_waiting(queues: Sequence[str]) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions on jobs that have work for a worker of these queues."""
    return (
        JobRow.queue.in_(queues),
        JobRow.ready.is_(True),
        JobRow.state.in_(_LIVE),
        JobRow.cancel_requested.is_(False),
    )


def _first_job(session: Session, queues: Sequence[str], project_id: str) -> str | None:
    """Return the first job of a project; one look into an index for each queue and figure."""
    found: list[tuple[int, str]] = []
    for queue in queues:
        waiting = (*is_waiting([queue]), JobRow.project_id == project_id)
        highest = session.scalar(select(func.max(JobRow.priority)).where(*waiting))
        if highest is not None:
            oldest = select(func.min(JobRow.id)).where(*waiting, JobRow.priority == highest)
            found.append((-highest, session.scalars(oldest).one() or ""))
    return min(found)[1] if found else None
