"""Counterexamples to show: as pictures, or as the values that change most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from reports.numbers import finite
from reports.page import number
from reports.pictures import Pictures, image_layout, pictures

__all__ = ["Change", "Example", "example"]

_MAX_CHANGES = 8


@dataclass(frozen=True)
class Change:
    """One input value of a counterexample that is no image."""

    position: int
    before: str
    after: str
    change: str


@dataclass(frozen=True)
class Example:
    """A counterexample to show: as pictures, or as the values that change most."""

    index: object
    label: object
    answer: object
    changed: int
    pictures: Pictures | None
    changes: Sequence[Change]


def example(
    item: Mapping[str, Any],
    original: ArrayLike,
    *,
    input_shape: Sequence[int] | None = None,
    valid_range: Sequence[float] | None = None,
) -> Example:
    """Return one counterexample beside the input it comes from.

    Args:
        item: As a certification reports it, with a `counterexample`.
        original: The raw input, of the network's input shape.
        input_shape: The network's input shape, where `original` is flat.
        valid_range: Shown as black and white; None takes the range of the values.
    """
    found = item["counterexample"]
    raw = np.asarray(original, dtype=np.float64)
    layout = image_layout(tuple(input_shape) if input_shape else raw.shape)
    limits = (float(valid_range[0]), float(valid_range[1])) if valid_range else None
    after = np.array([finite(value) or 0.0 for value in found["x"]])
    before = raw.ravel()
    change = after - before
    largest = np.argsort(-np.abs(change), kind="stable")[:_MAX_CHANGES]
    return Example(
        index=item.get("index"),
        label=item.get("label"),
        answer=_answer(found.get("y") or ()),
        changed=int(np.count_nonzero(change)),
        pictures=None if layout is None else pictures(before, after, layout, valid_range=limits),
        changes=[
            Change(int(i), number(before[i]), number(after[i]), number(change[i], 3))
            for i in largest
        ],
    )


def _answer(outputs: Sequence[object]) -> int | None:
    """Return the class that outputs stand for; None where they are not all numbers."""
    known = [finite(value) for value in outputs]
    if not known or None in known:
        return None
    return int(np.argmax(np.array(known, dtype=np.float64)))
