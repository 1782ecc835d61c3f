"""Engines that are watched: what they answer is counted, timed and traced."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from worker.logs import current_job, request_logged
from worker.meters import Meters
from worker.tracing import Tracing
from worker.work import ArmOutcome, CertificationWork, Engines, TrainingWork

__all__ = ["observed"]

_DONE = "done"


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
