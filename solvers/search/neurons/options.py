"""Settings of the search over neurons."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from models.errors import InvalidInputError
from solvers.search.neurons.recording import Leaf, LeafRecorder

__all__ = ["NeuronSearchOptions"]


@dataclass(frozen=True)
class NeuronSearchOptions:
    """How the search works; the defaults suit every network that was measured.

    Attributes:
        root_iterations: Most gradient steps for the root's domains.
        iterations: Most gradient steps for the domains of a round.
        candidates: Neurons per domain and score whose children are looked at before one is split.
        batch: Most domains of a round; None lets measured throughput choose.
        memory_bytes: What waiting domains may take.
        single_precision: Whether slopes and multipliers are searched in float32. Bounds are then
            computed from them in the network's own precision, so that nothing is lost but digits
            of the multipliers.
        sharpen: Whether bounds inside the network are tightened in domains: in a first tree that
            all clauses share, then where a clause can still hold, each as long as that closes more
            than splitting alone. What leaves of these trees rest on, nobody could follow from the
            splits: they are recorded as sharp.
        falsify: Whether relaxed minimisers are tried as counterexamples.
        recorder: Receives every leaf, or None; of the shared tree, those of clauses it proved.
        workers: Threads that split side by side on a processor; None for as many as torch may use,
            up to four. With one, a search goes the same way each time that it measures the same.
        splits: Nodes whose values may be split; None for all.
        start: Leaves of an earlier search over the same case, on whatever bounds: the first tree
            begins in their domains, and where they leave gaps; None for the region.

    Raises:
        InvalidInputError: A number is out of range.
    """

    root_iterations: int = 40
    iterations: int = 12
    candidates: int = 1
    batch: int | None = None
    memory_bytes: int = 1 << 30
    single_precision: bool = True
    sharpen: bool = True
    falsify: bool = True
    recorder: LeafRecorder | None = None
    workers: int | None = None
    splits: Collection[str] | None = None
    start: Sequence[Leaf] | None = None

    def __post_init__(self) -> None:
        least = {
            "root_iterations": 0,
            "iterations": 1,
            "candidates": 1,
            "memory_bytes": 1,
        }
        for name, limit in least.items():
            if getattr(self, name) < limit:
                raise InvalidInputError(
                    f"{name} is {getattr(self, name)}; give a number of {limit} or more"
                )
        for name in ("batch", "workers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidInputError(f"{name} is {value}; give a number of 1 or more, or none")
