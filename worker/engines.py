"""What computes, for each kind of job; loaded once, since it takes seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from worker.certifying import CertificationEngine, CertificationHandler
from worker.comparing import ComparisonHandler, TightnessEngine
from worker.workplace import Handler, Workplace

__all__ = ["Engines", "handlers"]


@dataclass(frozen=True)
class Engines:
    """What computes.

    Attributes:
        certify: Answers for inputs, one after the other.
        measure: How tight the relaxation of each layer is.
    """

    certify: CertificationEngine
    measure: TightnessEngine


_HANDLERS: Mapping[str, Callable[[Workplace, Engines], Handler]] = {
    "certification": lambda place, engines: CertificationHandler(place, engines.certify),
    "comparison": lambda place, engines: ComparisonHandler(place, engines.certify, engines.measure),
}


def handlers(place: Workplace, engines: Engines) -> dict[str, Handler]:
    """Return what a worker does with each kind of job."""
    return {kind: make(place, engines) for kind, make in _HANDLERS.items()}
