"""How many inputs the next chunk of a job has, from what earlier ones cost.

A chunk should take seconds: shorter, and taking it costs more than it should; longer, and other
jobs wait, a dead worker takes more along, and at the end of a job one worker computes alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["BATCH", "LONGEST_SECONDS", "SOLVED_BY_INPUT", "Cost", "chunk_size", "grain_of"]

BATCH = 16
"""Inputs that the engine attacks and bounds together; chunks of bounds are multiples of it."""

SOLVED_BY_INPUT = frozenset({"lp", "optc2v", "sdp", "exact"})
"""Methods that take one input after the other, so that batches bring nothing."""

LONGEST_SECONDS = 10.0
"""A chunk that takes longer hands back the inputs that it has not begun."""

_WANTED_SECONDS = 5.0
_MOST_BY_INPUT = 32
_GROWTH = 8


@dataclass(frozen=True)
class Cost:
    """What a chunk came to.

    Attributes:
        inputs: That it answered.
        seconds: That its worker needed.
    """

    inputs: int
    seconds: float


def grain_of(methods: Iterable[str]) -> int:
    """Return how many inputs are computed together by these methods."""
    return BATCH if SOLVED_BY_INPUT.isdisjoint(methods) else 1


def chunk_size(costs: Sequence[Cost], *, grain: int, left: int, workers: int) -> int:
    """Return how many inputs to take.

    Args:
        costs: Of the last chunks of the same network.
        grain: Inputs that are computed together.
        left: Inputs that nobody has taken yet; at least 1.
        workers: That compute at the moment, this one included; at least 1.
    """
    inputs = sum(cost.inputs for cost in costs)
    if inputs == 0:
        return min(grain, left)
    each = sum(cost.seconds for cost in costs) / inputs
    wanted = _WANTED_SECONDS / max(each, 1e-6)
    # One cheap chunk says little of the next, and hard inputs are rare: grow step by step.
    grown = _GROWTH * max(cost.inputs for cost in costs)
    # What is left is halved among the workers again and again, so that all end at the same time;
    # who is alone ends when it ends.
    share = left if workers == 1 else math.ceil(left / (2 * workers))
    most = _MOST_BY_INPUT if grain == 1 else left
    size = int(min(wanted, grown, share, most))
    return min(max(grain, size // grain * grain), left)
