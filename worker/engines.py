"""What computes, for each kind of job; loaded once, since it takes seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from worker.certifying import CertificationHandler
from worker.comparing import ComparisonHandler
from worker.training import TrainingHandler
from worker.work import Engines
from worker.workplace import ChunkHandler, Handler, Workplace

__all__ = ["chunk_handlers", "handlers"]


_CHUNKED: Mapping[str, Callable[[Workplace, Engines], ChunkHandler]] = {
    "certification": lambda place, engines: CertificationHandler(place, engines.certify),
    "comparison": lambda place, engines: ComparisonHandler(place, engines.certify, engines.measure),
}
_WHOLE: Mapping[str, Callable[[Workplace, Engines], Handler]] = {
    **_CHUNKED,
    "training": lambda place, engines: TrainingHandler(place, engines.train),
}


def handlers(place: Workplace, engines: Engines) -> dict[str, Handler]:
    """Return what a worker does with whole jobs of each kind."""
    return {kind: make(place, engines) for kind, make in _WHOLE.items()}


def chunk_handlers(place: Workplace, engines: Engines) -> dict[str, ChunkHandler]:
    """Return what a worker does with chunks of jobs of each kind."""
    return {kind: make(place, engines) for kind, make in _CHUNKED.items()}
