"""What readers of all formats hand over: parts that are read when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError

__all__ = ["ALL", "Found", "Part", "as_inputs", "as_labels", "scaled"]

ALL = "all"
"""Name of the only part of a source that has no splits of its own."""


@dataclass(frozen=True, eq=False)
class Part:
    """The inputs and labels of one part.

    Attributes:
        x: Shape `(count, *shape)`, float32.
        y: Shape `(count,)`, int64.
        sha256: Of the content that they were read from, in hexadecimal.
    """

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    sha256: str


@dataclass(frozen=True)
class Found:
    """What a source holds.

    Attributes:
        kind: Name of the format.
        parts: Readers by the part's name: `train`, `validation` and `test` where the source has
            splits of its own, else `all`.
        classes: Names of the classes, in the order of the labels; empty if the source has none.
    """

    kind: str
    parts: Mapping[str, Callable[[], Part]]
    classes: tuple[str, ...] = ()


def scaled(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return bytes as numbers in [0, 1]."""
    return pixels.astype(np.float32) / np.float32(255)


def as_inputs(x: NDArray[Any], name: str = "x") -> NDArray[np.float32]:
    """Return an array of inputs in float32; uint8 is scaled from 0…255 to [0, 1].

    Raises:
        DataError: It holds neither bytes nor floating-point numbers.
    """
    if x.dtype == np.uint8:
        return scaled(x)
    if not np.issubdtype(x.dtype, np.floating):
        raise DataError(
            f"array {name!r} has type {x.dtype}; expected uint8 (0 to 255) or floating-point "
            "numbers"
        )
    with np.errstate(over="ignore"):  # an overflow becomes infinite, which Dataset refuses
        return x.astype(np.float32, order="C")  # a copy: the file's own bytes cannot be written


def as_labels(y: NDArray[Any], name: str = "y") -> NDArray[np.int64]:
    """Return an array of labels in int64.

    Raises:
        DataError: It holds no whole numbers, or one beyond every class.
    """
    if not np.issubdtype(y.dtype, np.integer):
        raise DataError(f"array {name!r} has type {y.dtype}; expected whole numbers (class labels)")
    if y.size and int(y.max()) > np.iinfo(np.int64).max:
        raise DataError(f"array {name!r} holds the label {int(y.max())}, which is no class label")
    return y.astype(np.int64, order="C")
