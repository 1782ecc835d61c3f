"""Labelled data sets: inputs, labels, and which of them belong to which part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError, ShapeError
from models.network import Network

__all__ = ["Dataset", "fit_dataset"]

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Inputs with their labels.

    Attributes:
        x: Shape `(count, *shape)`, float32, finite.
        y: Shape `(count,)`, int64, from 0.
        name: For people; usually the file's name.
        sha256: Of the files, in hexadecimal; empty for a data set built in memory.
        classes: Names of the classes, in the order of the labels; empty if there are none.
        splits: Positions of the inputs of each part, where the source has parts of its own.

    Raises:
        DataError: It is empty, counts differ, a value is not finite, a label is negative, a split
            points outside, or there are fewer names than classes.
    """

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    name: str = "dataset"
    sha256: str = ""
    classes: tuple[str, ...] = ()
    splits: Mapping[str, Indices] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.x.ndim == 0 or self.y.ndim != 1:
            raise DataError(
                f"x has shape {self.x.shape} and y {self.y.shape}; expected (count, ...) "
                "and (count,)"
            )
        if len(self.x) != len(self.y):
            raise DataError(f"x holds {len(self.x)} inputs, y {len(self.y)} labels; give as many")
        if self.x.size == 0:
            raise DataError(f"the data set is empty: x has shape {self.x.shape}")
        finite = np.isfinite(self.x).reshape(len(self.x), -1).all(axis=1)
        if not finite.all():
            raise DataError(
                f"input {int(np.argmin(finite))} holds NaN or infinite values; remove or repair it"
            )
        if (self.y < 0).any():
            index = int(np.argmax(self.y < 0))
            raise DataError(f"label {int(self.y[index])} of input {index} is negative")
        self._check_parts()

    def _check_parts(self) -> None:
        largest = int(self.y.max())
        if self.classes and largest >= len(self.classes):
            raise DataError(f"label {largest} has no name: {len(self.classes)} classes are named")
        for name, indices in self.splits.items():
            if indices.ndim != 1 or (indices < 0).any() or (indices >= len(self.x)).any():
                raise DataError(f"the split {name!r} points outside the {len(self.x)} inputs")

    def __len__(self) -> int:
        return len(self.x)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.x.shape[1:])

    def take(self, indices: Indices) -> Dataset:
        """Return the inputs at these positions, in their order; splits are left behind.

        Raises:
            DataError: There is no position.
        """
        return replace(self, x=self.x[indices], y=self.y[indices], splits={})

    def fit(self, network: Network) -> Dataset:
        """Return the data set in the shape the network takes; see `fit_dataset`."""
        return fit_dataset(self, network)


def fit_dataset(dataset: Dataset, network: Network) -> Dataset:
    """Return the data set with inputs in the network's shape and labels checked.

    Axes of size 1 come and go, and flat inputs take any shape (in row-major order), as any
    inputs become flat. Axes are never reordered.

    Raises:
        ShapeError: The inputs do not fit the network.
        DataError: A label is not one of the network's outputs.
    """
    wanted = network.input_shape
    if not _compatible(dataset.shape, wanted):
        raise ShapeError(
            f"the data set's inputs have shape {dataset.shape}, the network takes {wanted}"
            + _advice(dataset.shape, wanted)
        )
    outside = dataset.y >= network.output_size
    if outside.any():
        index = int(np.argmax(outside))
        raise DataError(
            f"label {int(dataset.y[index])} of input {index} is outside the network's "
            f"classes 0 to {network.output_size - 1}"
        )
    return replace(dataset, x=dataset.x.reshape(len(dataset), *wanted))


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _compatible(have: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    if prod(have) != prod(wanted):
        return False
    flat = min(len(_without_ones(have)), len(_without_ones(wanted))) <= 1
    return flat or _without_ones(have) == _without_ones(wanted)


def _advice(have: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """Return how to fix inputs whose channels stand on the other side."""
    core, target = _without_ones(have), _without_ones(wanted)
    if len(core) < 2 or prod(have) != prod(wanted):
        return "; give inputs with as many numbers"
    if (core[-1], *core[:-1]) == target:
        return "; the channels stand last: move them with numpy.moveaxis(x, -1, 1)"
    if (*core[1:], core[0]) == target:
        return "; the channels stand first: move them with numpy.moveaxis(x, 1, -1)"
    return "; reshape or transpose the inputs before saving them"
