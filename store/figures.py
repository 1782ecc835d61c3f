"""What is counted and timed, for Prometheus: the names, once for all processes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

__all__ = ["BOUNDS", "FAMILIES", "Family", "Kind", "counted", "escaped", "series", "timed"]

BOUNDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0, 600.0, 3600.0)
"""Upper bounds of the buckets of every histogram, in seconds."""


class Kind(StrEnum):
    """How Prometheus reads a family."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True)
class Family:
    """A name and what it means."""

    name: str
    kind: Kind
    help: str


def _families(*families: Family) -> Mapping[str, Family]:
    return {family.name: family for family in families}


FAMILIES = _families(
    Family("tightrope_build_info", Kind.GAUGE, "Always 1; the version is a label."),
    Family("tightrope_jobs", Kind.GAUGE, "Jobs in the database, by state."),
    Family("tightrope_queue_jobs", Kind.GAUGE, "Jobs with work that no worker has."),
    Family("tightrope_queue_oldest_seconds", Kind.GAUGE, "Age of the oldest of these jobs."),
    Family("tightrope_chunks", Kind.GAUGE, "Parts of jobs that are running or were given up."),
    Family("tightrope_workers", Kind.GAUGE, "Workers alive, by queue that they take."),
    Family("tightrope_webhooks_pending", Kind.GAUGE, "Deliveries that are still to be made."),
    Family("tightrope_event_watchers", Kind.GAUGE, "Streams open and requests held, here."),
    Family("tightrope_jobs_submitted_total", Kind.COUNTER, "Jobs accepted, by kind."),
    Family("tightrope_jobs_finished_total", Kind.COUNTER, "Jobs ended, by kind and state."),
    Family("tightrope_cache_hits_total", Kind.COUNTER, "Jobs answered from what was known."),
    Family("tightrope_job_duration_seconds", Kind.HISTOGRAM, "From request to end, by kind."),
    Family("tightrope_job_wait_seconds", Kind.HISTOGRAM, "From request to first worker, by kind."),
    Family("tightrope_chunk_duration_seconds", Kind.HISTOGRAM, "One piece of work of a worker."),
    Family("tightrope_method_duration_seconds", Kind.HISTOGRAM, "One method on one input."),
    Family("tightrope_verdicts_total", Kind.COUNTER, "Answers computed, by verdict."),
    Family(
        "tightrope_solver_fallbacks_total",
        Kind.COUNTER,
        "Methods that did not run to their end on an input, by method and status.",
    ),
    Family("tightrope_engine_failures_total", Kind.COUNTER, "Pieces of work that failed."),
    Family("tightrope_webhook_attempts_total", Kind.COUNTER, "Deliveries tried, by outcome."),
    Family(
        "tightrope_http_request_duration_seconds",
        Kind.HISTOGRAM,
        "Requests answered by this process, without the time they were held on purpose.",
    ),
)


def series(name: str, **labels: str) -> str:
    """Return a name with labels as Prometheus writes them."""
    if not labels:
        return name
    text = ",".join(f'{label}="{escaped(value)}"' for label, value in labels.items())
    return f"{name}{{{text}}}"


def escaped(value: str) -> str:
    """Return the value of a label as Prometheus writes it between quotes."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def counted(name: str, **labels: str) -> Iterator[tuple[str, float]]:
    """Yield what one occurrence adds to the series of a counter.

    Raises:
        KeyError: No such family is declared.
    """
    yield series(FAMILIES[name].name, **labels), 1.0


def timed(name: str, seconds: float, **labels: str) -> Iterator[tuple[str, float]]:
    """Yield what one observation adds to the series of a histogram, whose buckets are cumulative.

    Raises:
        KeyError: No such family is declared.
    """
    buckets, total, count = _histogram(FAMILIES[name].name, tuple(labels.items()))
    for bucket in buckets[bisect_left(BOUNDS, seconds) :]:
        yield bucket, 1.0
    yield total, seconds
    yield count, 1.0


@lru_cache(maxsize=1024)
def _histogram(name: str, labels: tuple[tuple[str, str], ...]) -> tuple[tuple[str, ...], str, str]:
    """Return the series of a histogram: its buckets, its sum and its count."""
    named = dict(labels)
    bounds = [*(f"{bound:g}" for bound in BOUNDS), "+Inf"]
    buckets = tuple(series(f"{name}_bucket", **named, le=bound) for bound in bounds)
    return buckets, series(f"{name}_sum", **named), series(f"{name}_count", **named)
