"""Lines of lists, as templates write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from api.views import seconds_left
from reports.html import VERDICTS
from reports.page import MISSING, duration, norm_text, number, percent
from reports.summary import best_certified, verdict_counts
from store.certified import Certified
from store.dashboard import NetworkLine
from store.job_tables import JobRow
from store.tables import NetworkRow
from store.titles import JobLine

__all__ = ["CertifiedView", "JobView", "NetworkView", "certified_view", "job_view", "network_view"]

_PATHS = {
    "certification": "/certifications/{}",
    "comparison": "/comparisons/{}",
    "training": "/trainings/{}",
}
# Sides of the drawing of a trend.
_TREND = (96.0, 26.0)
_EDGE = 3.0


@dataclass(frozen=True)
class JobView:
    """A job in a table.

    Attributes:
        stopping: It was asked to stop, and goes on until it has.
    """

    id: str
    kind: str
    title: str
    epsilon: str
    state: str
    done: int
    total: int
    parked: int
    stopping: bool
    left: str
    took: str
    path: str
    at: datetime
    failure: str


@dataclass(frozen=True)
class CertifiedView:
    """A certification in a table."""

    id: str
    dataset: str
    epsilon: str
    norm: str
    state: str
    done: int
    total: int
    at: datetime
    clean: str
    empirical: str
    certified: str
    gap: str
    verdicts: Mapping[str, int]


@dataclass(frozen=True)
class Trend:
    """Certified accuracies of the same question, the oldest first, as a small drawing."""

    points: str
    end: tuple[float, float]
    text: str
    change: float


@dataclass(frozen=True)
class NetworkView:
    """A network in a table, with its latest certification."""

    network: NetworkRow
    latest: CertifiedView | None
    verdicts: Mapping[str, int]
    trend: Trend | None


def job_view(line: JobLine) -> JobView:
    """Return a job as a line."""
    job = line.job
    final = job.finished_at is not None
    left = seconds_left(job)
    return JobView(
        id=job.id,
        kind=job.kind,
        title=line.title,
        epsilon=number(line.epsilon),
        state=job.state,
        done=job.done,
        total=job.total,
        parked=job.parked,
        stopping=job.cancel_requested and not final,
        left="" if left is None else f"about {_roughly(left)} left",
        took=_took(job),
        path=_PATHS[job.kind].format(job.id),
        at=job.finished_at or job.created_at,
        failure="" if job.error is None else str(job.error["message"]),
    )


def _roughly(seconds: float) -> str:
    """Return a time that is guessed, without digits that promise more."""
    if seconds < 100:
        return f"{max(1, round(seconds))}\u202fs"
    if seconds < 100 * 60:
        return f"{round(seconds / 60)}\u202fmin"
    return f"{round(seconds / 3600)}\u202fh"


def _took(job: JobRow) -> str:
    """Return how long a job was worked on; a dash where that is not over or never began."""
    if job.started_at is None or job.finished_at is None:
        return MISSING
    return duration((job.finished_at - job.started_at).total_seconds())


def certified_view(row: Certified) -> CertifiedView:
    """Return a certification as a line."""
    summary = row.summary
    return CertifiedView(
        id=row.id,
        dataset=row.dataset,
        epsilon=number(row.epsilon),
        norm=norm_text(row.norm),
        state=row.state,
        done=row.done,
        total=row.total,
        at=row.finished_at or row.created_at,
        clean=MISSING if summary is None else percent(summary["clean_accuracy"]),
        empirical=MISSING if summary is None else percent(summary["empirical_accuracy"]),
        certified=MISSING if summary is None else percent(best_certified(summary)),
        gap=MISSING if summary is None else percent(summary["certified_gap"]),
        verdicts=dict.fromkeys(VERDICTS, 0) if summary is None else verdict_counts(summary),
    )


def network_view(line: NetworkLine) -> NetworkView:
    """Return a network as a line."""
    latest = certified_view(line.history[0]) if line.history else None
    return NetworkView(
        network=line.network,
        latest=latest,
        verdicts=dict.fromkeys(VERDICTS, 0) if latest is None else latest.verdicts,
        trend=_trend(line.history),
    )


def _trend(history: Sequence[Certified]) -> Trend | None:
    """Return how the answer to the latest question changed; None where it was asked once."""
    if not history:
        return None
    same = [row for row in history if _question(row) == _question(history[0])]
    shares = [best_certified(row.summary or {"certified_accuracy": {}}) for row in reversed(same)]
    known = [share for share in shares if share is not None]
    if len(known) < 2:
        return None
    width, height = _TREND[0] - 2 * _EDGE, _TREND[1] - 2 * _EDGE
    places = [
        (round(_EDGE + place * width / (len(known) - 1), 1), round(_EDGE + (1 - y) * height, 1))
        for place, y in enumerate(known)
    ]
    change = 100 * (known[-1] - known[-2])
    sign = "+" if change > 0 else "\u2212" if change < 0 else "±"
    return Trend(
        points=" ".join(f"{x:g},{y:g}" for x, y in places),
        end=places[-1],
        text=f"{sign}{abs(change):.1f} points since the one before",
        change=change,
    )


def _question(row: Certified) -> tuple[object, ...]:
    return row.dataset, row.epsilon, row.norm, row.total
