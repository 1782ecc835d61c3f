"""What a certification says of itself while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["CertifyStage", "StageHook", "ignore_stages", "timed_stage"]


@dataclass(frozen=True)
class CertifyStage:
    """A stage that has come to its end, whether by itself or because its time was up.

    Attributes:
        name: `attack`, or that of a method.
        indices: Positions in the data set of the inputs that it was about: several for the attack
            and for propagation, which take inputs together, else one.
        seconds: Wall time that it took.
    """

    name: str
    indices: tuple[int, ...]
    seconds: float


StageHook = Callable[[CertifyStage], None]


def ignore_stages(stage: CertifyStage) -> None:
    """Tell nobody."""


@contextmanager
def timed_stage(hook: StageHook, name: str, indices: Sequence[int]) -> Iterator[None]:
    """Tell the hook after the block, unless that raised.

    Args:
        hook: Told once.
        name: Of the stage.
        indices: Inputs that the block is about.
    """
    began = time.perf_counter()
    yield
    hook(CertifyStage(name, tuple(indices), time.perf_counter() - began))
