"""What one process counts, until it is added to the figures of all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from store.counters import Counters
from store.figures import counted, timed
from worker.certifying import CertificationWork
from worker.engines import Engines
from worker.logs import current_job, request_logged
from worker.tracing import Tracing
from worker.training import ArmOutcome, TrainingWork

__all__ = ["Meters", "observed"]

_DONE = "done"


class Meters:
    """Counts and times of one process; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, float] = {}

    def count(self, name: str, **labels: str) -> None:
        """Count one occurrence."""
        self._add(counted(name, **labels))

    def time(self, name: str, seconds: float, **labels: str) -> None:
        """Note how long something took."""
        self._add(timed(name, seconds, **labels))

    def flush(self, counters: Counters) -> None:
        """Add what has come together to the figures of all processes.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: The database does not answer; it is kept for later.
        """
        with self._lock:
            increments, self._waiting = self._waiting, {}
        try:
            counters.add(increments)
        except BaseException:
            self._add(increments.items())
            raise

    def _add(self, increments: Iterable[tuple[str, float]]) -> None:
        with self._lock:
            for name, value in increments:
                self._waiting[name] = self._waiting.get(name, 0.0) + value


def observed(
    engines: Engines,
    meters: Meters,
    tracing: Tracing,
    context_of: Callable[[str], Mapping[str, Any]],
) -> Engines:
    """Return engines whose work is counted, timed and traced.

    Args:
        engines: What computes.
        meters: Of this process.
        tracing: Of this process.
        context_of: Returns what the request for a job brought along: `request_id`, `traceparent`.
    """
    watch = _Watch(meters, tracing, context_of)

    def certify(
        work: CertificationWork, cancelled: Callable[[], bool]
    ) -> Iterator[Mapping[str, Any]]:
        with watch.piece("certify", inputs=len(work.indices)):
            for item in engines.certify(work, cancelled):
                watch.item(item)
                yield item

    def measure(
        work: CertificationWork, cancelled: Callable[[], bool]
    ) -> Sequence[Mapping[str, Any]] | None:
        with watch.piece("measure", inputs=len(work.indices)):
            return engines.measure(work, cancelled)

    def train(
        work: TrainingWork,
        cancelled: Callable[[], bool],
        progress: Callable[[Mapping[str, Any]], None],
    ) -> ArmOutcome:
        with watch.piece("train", arm=work.arm):
            return engines.train(work, cancelled, progress)

    return Engines(certify=certify, measure=measure, train=train)


class _Watch:
    """Notes pieces of work and answers."""

    def __init__(
        self, meters: Meters, tracing: Tracing, context_of: Callable[[str], Mapping[str, Any]]
    ) -> None:
        self._meters = meters
        self._tracing = tracing
        self._context_of = context_of

    @contextmanager
    def piece(self, work: str, **attributes: int | str) -> Iterator[None]:
        """Time a piece of work, and count it where it fails."""
        job_id = current_job()
        context = self._context_of(job_id)
        parent = context.get("traceparent")
        began = time.perf_counter()
        try:
            with (
                request_logged(context.get("request_id")),
                self._tracing.span(work, parent=parent, job=job_id, **attributes),
            ):
                yield
        except Exception as error:
            name = type(error).__name__
            self._meters.count("tightrope_engine_failures_total", work=work, error=name)
            raise
        finally:
            seconds = time.perf_counter() - began
            self._meters.time("tightrope_chunk_duration_seconds", seconds, work=work)

    def item(self, item: Mapping[str, Any]) -> None:
        """Count an answer, with the methods that led to it."""
        self._meters.count("tightrope_verdicts_total", verdict=item["verdict"])
        for method, seconds in item["seconds"].items():
            if seconds is not None:
                self._meters.time("tightrope_method_duration_seconds", seconds, method=method)
                self._tracing.past_span(method, seconds, index=item["index"])
        for method, status in item.get("status", {}).items():
            if status != _DONE:
                labels = {"method": method, "status": status}
                self._meters.count("tightrope_solver_fallbacks_total", **labels)
